"""A job from the dropped file to its summary. Input: `{"job_id"}`, and `failure` where the job was
given up.

A step that fails for good ends the execution, and the rescue starts another, three times. Then the
job is given up: what there is is put together and reported, so that it always ends with a summary.
Its work files are kept, which may be all that is left of paid work.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from functions.batch.model import UNANSWERED_DAYS
from functions.batch.reading.planning import WAIT_SECONDS
from infra.acknowledgments import acknowledge_wildcard, executions_of, objects_of
from infra.functions import Function
from infra.job_functions import JobFunctions
from infra.shard_workflow import ShardWorkflow
from infra.steps import ALL, TIMEOUT, acknowledge_versions, ask, discard, invoke, state_machine

FAILURE = "$.failure"
INLINE_SHARDS = 40  # at once, and at most: `functions` sends more through the Distributed Map
MANY_SHARDS = 1_000
RANGES = 100
SLICES = 100
# Raised before the execution exists, so that trying again starts no second one.
NOT_STARTED = [
    "StepFunctions.ExecutionLimitExceeded",
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.SdkClientException",
]

_DEDUPES = sfn.Condition.and_(
    sfn.Condition.is_present("$.plan.dedupe"),
    sfn.Condition.boolean_equals("$.plan.dedupe", value=True),
)


def _items(*fields: str) -> dict[str, str]:
    """A child cannot see the job around it: its whole input is one item and the job's id."""
    item = {field: sfn.JsonPath.string_at(f"$$.Map.Item.Value.{field}") for field in fields}
    return {"job_id": sfn.JsonPath.string_at("$.job_id"), **item}


class JobWorkflow(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        functions: JobFunctions,
        shard_workflows: Sequence[ShardWorkflow],
        work: s3.Bucket,
    ) -> None:
        super().__init__(scope, id)
        self._functions = functions
        self._shard_workflows = shard_workflows
        self._work = work
        self._broken_off = sfn.Fail(
            self,
            "Broken off",
            error="JobBrokenOff",
            cause="A step failed as often as it is tried. Another execution takes the job up.",
        )
        self._report = self._reporting()
        self.state_machine = state_machine(
            self, self._beginning(), comment="A Batchdrop job, from a dropped file to its summary"
        )
        acknowledge_versions(self, *functions.all)
        self._acknowledge_wildcards()

    def grant_wake(self, to: Function) -> None:
        """By a policy of its own: a function waits for its role's policy, and would so wait for
        the workflow that it is a step of."""
        role = to.function.role
        assert role is not None
        iam.Policy(
            self,
            f"{to.node.id}MayWake",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    actions=["states:SendTaskSuccess"],
                    resources=[self.state_machine.state_machine_arn],
                )
            ],
        )

    def _beginning(self) -> sfn.IChainable:
        """A job that was given up comes with its failure."""
        what_there_is = invoke(
            self,
            "Assemble what there is",
            self._functions.assemble,
            result_path=sfn.JsonPath.DISCARD,
        )
        what_there_is.add_catch(self._report, errors=ALL, result_path=FAILURE)
        given_up = self._cutting(
            " of what there is",
            what_there_is.next(self._report),
            then=self._report,
            on_failure=self._report,
        )
        decide = sfn.Choice(self, "Given up?")
        decide.when(sfn.Condition.is_present(FAILURE), given_up)
        return decide.otherwise(self._planning())

    def _planning(self) -> sfn.IChainable:
        plan = self._step("Plan", self._functions.plan, result_path="$.plan")
        wait = sfn.Wait(
            self,
            "Wait for a recipe",
            time=sfn.WaitTime.duration(Duration.seconds(WAIT_SECONDS)),
        )
        decide = sfn.Choice(self, "Accepted?")
        decide.when(sfn.Condition.string_equals("$.plan.next", "shard"), self._sharding())
        decide.when(sfn.Condition.string_equals("$.plan.next", "wait"), wait.next(plan))
        decide.otherwise(self._report)
        return plan.next(decide)

    def _sharding(self) -> sfn.IChainable:
        ranges = self._distributed_map(
            "Shard ranges",
            manifest="$.plan.manifest.key",
            items=_items("range", "start", "end"),
            at_once=RANGES,
        )
        ranges.item_processor(
            invoke(self, "Shard", self._functions.shard, result_path=sfn.JsonPath.DISCARD).next(
                discard(self, "Sharded")
            )
        )
        price = self._step("Price", self._functions.price, result_path="$.price")
        find = self._step(
            "Find rows not to send", self._functions.dedupe, result_path=sfn.JsonPath.DISCARD
        )
        decide = sfn.Choice(self, "Any not to send?").when(_DEDUPES, find.next(price))
        self._admission(price, ranges)
        return ranges.next(decide.otherwise(price))

    def _admission(self, price: sfn.TaskStateBase, ranges: sfn.DistributedMap) -> None:
        """Whoever was asked and answered, or did not, comes back to the price: it decides. Where a
        call of Shard handed over, the ranges are gone through again: those that were read to their
        end are not read again."""
        waiting = ask(
            self,
            "Ask for approval",
            self._functions.ask,
            payload={"job_id": sfn.JsonPath.string_at("$.job_id")},
            days=UNANSWERED_DAYS,
        )
        waiting.add_catch(price, errors=TIMEOUT, result_path="$.unanswered")
        waiting.add_catch(self._broken_off, errors=ALL, result_path=FAILURE)
        start = sfn.Pass(
            self,
            "Start rounds",
            result=sfn.Result.from_object({"number": 0}),
            result_path="$.round",
        )
        decide = sfn.Choice(self, "May it start?")
        decided = "$.price.next"
        decide.when(sfn.Condition.string_equals(decided, "start"), start.next(self._rounds()))
        decide.when(sfn.Condition.string_equals(decided, "ask"), waiting.next(price))
        decide.when(sfn.Condition.string_equals(decided, "shard"), ranges)
        decide.otherwise(self._report)
        price.next(decide)

    def _rounds(self) -> sfn.IChainable:
        reconcile = self._step("Reconcile", self._functions.reconcile, result_path="$.round")
        remembering = self._remembering()
        assemble = self._step("Assemble", self._functions.assemble, result_path="$.assembled").next(
            remembering
        )
        waiting = ask(
            self,
            "Ask about the canary",
            self._functions.ask,
            payload={"job_id": sfn.JsonPath.string_at("$.job_id"), "question": "canary"},
            days=UNANSWERED_DAYS,
        )
        waiting.add_catch(reconcile, errors=TIMEOUT, result_path="$.canary_unanswered")
        waiting.add_catch(self._broken_off, errors=ALL, result_path=FAILURE)
        decide = sfn.Choice(self, "Rows remain?")
        run = "$.round.run"
        decide.when(sfn.Condition.string_equals(run, "ask"), waiting.next(reconcile))
        decide.when(sfn.Condition.string_equals(run, "inline"), self._few().next(reconcile))
        decide.when(sfn.Condition.string_equals(run, "distributed"), self._many().next(reconcile))
        cutting = self._cutting("", assemble, then=remembering, on_failure=self._broken_off)
        decide.when(sfn.Condition.string_equals(run, "slices"), cutting)
        decide.otherwise(assemble)
        return reconcile.next(decide)

    def _cutting(
        self,
        suffix: str,
        in_one_call: sfn.IChainable,
        *,
        then: sfn.IChainable,
        on_failure: sfn.IChainable,
    ) -> sfn.IChainable:
        """Results that are too much for one call, in slices side by side."""
        cut = invoke(self, f"Cut{suffix}", self._functions.cut, result_path="$.cut")
        join = invoke(
            self, f"Join slices{suffix}", self._functions.join, result_path=sfn.JsonPath.DISCARD
        )
        slices = self._distributed_map(
            f"Assemble slices{suffix}",
            manifest="$.cut.manifest.key",
            items=_items("slice"),
            at_once=SLICES,
            on_failure=on_failure,
        )
        slices.item_processor(
            invoke(
                self,
                f"Assemble slice{suffix}",
                self._functions.slice,
                result_path=sfn.JsonPath.DISCARD,
            ).next(discard(self, f"Slice assembled{suffix}"))
        )
        for state in (cut, join):
            state.add_catch(on_failure, errors=ALL, result_path=FAILURE)
        decide = sfn.Choice(self, f"In slices?{suffix}")
        decide.when(
            sfn.Condition.string_equals("$.cut.next", "slices"), slices.next(join).next(then)
        )
        return cut.next(decide.otherwise(in_one_call))

    def _remembering(self) -> sfn.IChainable:
        """What fails here costs later jobs money, and this one nothing."""
        remember = invoke(
            self,
            "Remember answers",
            self._functions.remember,
            result_path=sfn.JsonPath.DISCARD,
        )
        remember.add_catch(self._report, errors=ALL, result_path="$.forgotten")
        decide = sfn.Choice(self, "Any to remember?")
        return decide.when(_DEDUPES, remember.next(self._report)).otherwise(self._report)

    def _few(self) -> sfn.Map:
        """Without a Map Run, of which an account may hold 1,000 open, and a job waits for hours."""
        few = sfn.Map(
            self,
            "Run shards",
            items_path="$.round.shards",
            item_selector=self._shard_items(),
            max_concurrency=INLINE_SHARDS,
            result_path=sfn.JsonPath.DISCARD,
        )
        few.item_processor(self._run_shard(suffix=""))
        few.add_catch(self._broken_off, errors=ALL, result_path=FAILURE)
        return few

    def _many(self) -> sfn.DistributedMap:
        many = self._distributed_map(
            "Run many shards",
            manifest="$.round.manifest.key",
            items=self._shard_items(),
            at_once=MANY_SHARDS,
            tolerated_failure_percentage=100,
        )
        many.item_processor(self._run_shard(suffix=" (of many)"))
        return many

    def _shard_items(self) -> dict[str, str]:
        return _items("provider", "shard_id", "delay_seconds", "name")

    def _run_shard(self, *, suffix: str) -> sfn.IChainable:
        """What became of a shard is read from the ledger, so that its failure ends nothing here."""
        set_aside = discard(self, f"Set aside{suffix}")
        done = discard(self, f"Shard done{suffix}")
        which = sfn.Choice(self, f"Which provider?{suffix}")
        for workflow in self._shard_workflows:
            run = tasks.StepFunctionsStartExecution(
                self,
                f"Run {workflow.provider.label} shard{suffix}",
                state_machine=workflow.state_machine,
                integration_pattern=sfn.IntegrationPattern.RUN_JOB,
                name=sfn.JsonPath.string_at("$.name"),
                input=sfn.TaskInput.from_object(
                    {
                        field: sfn.JsonPath.string_at(f"$.{field}")
                        for field in ("job_id", "shard_id", "delay_seconds")
                    }
                ),
                result_path=sfn.JsonPath.DISCARD,
            )
            run.add_retry(
                errors=NOT_STARTED,
                interval=Duration.seconds(5),
                backoff_rate=2,
                max_attempts=10,
                max_delay=Duration.minutes(2),
                jitter_strategy=sfn.JitterType.FULL,
            )
            run.add_catch(set_aside, errors=ALL, result_path=sfn.JsonPath.DISCARD)
            which.when(
                sfn.Condition.string_equals("$.provider", workflow.provider.name), run.next(done)
            )
        return which.otherwise(set_aside)

    def _reporting(self) -> sfn.IChainable:
        report = invoke(self, "Report", self._functions.report, result_path="$.report")
        report.add_catch(
            sfn.Fail(
                self,
                "Report failed",
                error="ReportFailed",
                cause="The job has no summary; its ledger item and work files are kept.",
            ),
            errors=ALL,
            result_path="$.unreported",
        )
        sweep = invoke(
            self, "Delete work files", self._functions.sweep, result_path=sfn.JsonPath.DISCARD
        )
        sweep.add_catch(
            sfn.Succeed(self, "Leave work files to the lifecycle"),
            errors=ALL,
            result_path="$.unswept",
        )
        decide = sfn.Choice(self, "Stopped by a failure?")
        decide.when(
            sfn.Condition.is_present(FAILURE), sfn.Succeed(self, "Keep work files")
        ).otherwise(sweep)
        return report.next(decide)

    def _step(self, name: str, function: Function, *, result_path: str) -> sfn.TaskStateBase:
        state = invoke(self, name, function, result_path=result_path)
        return state.add_catch(self._broken_off, errors=ALL, result_path=FAILURE)

    def _distributed_map(
        self,
        name: str,
        *,
        manifest: str,
        items: dict[str, str],
        at_once: int,
        tolerated_failure_percentage: int | None = None,
        on_failure: sfn.IChainable | None = None,
    ) -> sfn.DistributedMap:
        state = sfn.DistributedMap(
            self,
            name,
            item_reader=sfn.S3JsonItemReader(
                bucket=self._work, key=sfn.JsonPath.string_at(manifest)
            ),
            item_selector=items,
            map_execution_type=sfn.StateMachineType.STANDARD,
            max_concurrency=at_once,
            tolerated_failure_percentage=tolerated_failure_percentage,
            result_path=sfn.JsonPath.DISCARD,
        )
        state.add_retry(
            errors=["States.ItemReaderFailed"], interval=Duration.seconds(5), max_attempts=5
        )
        state.add_catch(on_failure or self._broken_off, errors=ALL, result_path=FAILURE)
        return state

    def _acknowledge_wildcards(self) -> None:
        acknowledge_wildcard(
            self,
            objects_of(self._work),
            reason="A manifest's key begins with the job's id, which no policy can know.",
        )
        for workflow in self._shard_workflows:
            acknowledge_wildcard(
                self,
                f"{executions_of(workflow.state_machine)}*",
                reason="Waiting for a shard needs its execution, which exists only once started.",
            )
        for suffix in (":*", "/*:*"):
            acknowledge_wildcard(
                self,
                f"{executions_of(self.state_machine)}{suffix}",
                reason="A Distributed Map's children are executions of this very machine.",
            )
