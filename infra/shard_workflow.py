"""One shard at its provider: submit, wait, poll, collect, clean up.

Input: `{"job_id", "shard_id", "delay_seconds"}`. The ledger, not the output, says what became of
the shard: an execution that gives up is set aside, and the job's next round takes its rows up.
"""

from __future__ import annotations

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.functions import Function
from infra.provider_functions import ProviderFunctions
from infra.steps import ALL, acknowledge_versions, discard, invoke, state_machine

STEP = "$.step"  # a step's decision, and its counters, which come back to it on the next lap
NEXT = f"{STEP}.next"


class ShardWorkflow(Construct):
    def __init__(self, scope: Construct, id: str, *, functions: ProviderFunctions) -> None:
        super().__init__(scope, id)
        self._functions = functions
        self.provider = functions.provider
        self._set_aside = discard(self, "Set aside")
        self.state_machine = state_machine(
            self,
            self._submission(),
            comment=f"A shard of a Batchdrop job, as one batch of {self.provider.label}",
        )
        acknowledge_versions(self, *functions.all)

    def _submission(self) -> sfn.IChainable:
        submit = self._invoke("Submit", self._functions.submit)
        collection = self._collection()
        decide = sfn.Choice(self, "Submitted?")
        decide.when(sfn.Condition.string_equals(NEXT, "wait"), self._polling(collection))
        decide.when(sfn.Condition.string_equals(NEXT, "collect"), collection)
        decide.otherwise(self._wait("Wait to submit").next(submit))
        return submit.next(decide)

    def _polling(self, collection: sfn.IChainable) -> sfn.IChainable:
        wait = self._wait("Wait")
        decide = sfn.Choice(self, "Ended?")
        decide.when(sfn.Condition.string_equals(NEXT, "collect"), collection)
        decide.otherwise(wait)
        return wait.next(self._invoke("Poll", self._functions.poll)).next(decide)

    def _collection(self) -> sfn.IChainable:
        collect = self._invoke("Collect", self._functions.collect, result_path=sfn.JsonPath.DISCARD)
        clean_up = self._invoke("Clean up", self._functions.clean_up)
        decide = sfn.Choice(self, "Cleaned?")
        # A call of Collect that handed over needs no choice of its own, of which every shard would
        # pay the transition.
        decide.when(sfn.Condition.string_equals(NEXT, "collect"), collect)
        decide.when(
            sfn.Condition.string_equals(NEXT, "again"),
            self._wait("Wait to clean up").next(clean_up),
        )
        decide.otherwise(discard(self, "Done"))
        return collect.next(clean_up).next(decide)

    def _invoke(
        self, name: str, function: Function, *, result_path: str = STEP
    ) -> sfn.TaskStateBase:
        state = invoke(self, name, function, result_path=result_path)
        return state.add_catch(self._set_aside, errors=ALL, result_path=sfn.JsonPath.DISCARD)

    def _wait(self, name: str) -> sfn.Wait:
        return sfn.Wait(self, name, time=sfn.WaitTime.seconds_path(f"{STEP}.wait_seconds"))
