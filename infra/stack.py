"""The deployment: introduces the constructs to each other and says who may do what."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, Stack
from constructs import Construct

from functions.handlers import command
from functions.settings import CommandSettings, IntakeSettings, RescueSettings
from infra.config import Config
from infra.events import Alerts, Bus, DeadLetters
from infra.functions import Function, Platform
from infra.intake import Intake
from infra.janitor import Janitor
from infra.job_functions import JobFunctions
from infra.job_workflow import JobWorkflow
from infra.ledger import Ledger
from infra.provider_functions import ProviderFunctions
from infra.providers import providers
from infra.rescue import Rescue
from infra.secrets import Secrets
from infra.shard_workflow import ShardWorkflow
from infra.storage import Storage


class BatchdropStack(Stack):
    def __init__(self, scope: Construct, config: Config) -> None:
        super().__init__(
            scope, config.stack_name, description="Batchdrop: files in, LLM batches out"
        )
        self._config = config
        self._platform = Platform(config)
        self.alerts = Alerts(self, "Alerts", email=config.alert_email)
        self.bus = Bus(self, "Events")
        self.ledger = Ledger(self, "Ledger")
        self.secrets = Secrets(self, "Secrets")
        self.storage = Storage(self, "Storage", retention_days=config.retention_days)
        self.shard_functions = [
            ProviderFunctions(
                self,
                provider.label,
                provider=provider,
                platform=self._platform,
                ledger=self.ledger,
                storage=self.storage,
                secrets=self.secrets,
                alerts=self.alerts,
            )
            for provider in providers(config)
        ]
        self.job_functions = JobFunctions(
            self,
            "Job",
            platform=self._platform,
            ledger=self.ledger,
            storage=self.storage,
            bus=self.bus,
            alerts=self.alerts,
        )
        self.job_workflow = self._workflows()
        self.intake = self._intake()
        self._commands()
        self._rescue()
        Janitor(
            self,
            "Janitor",
            functions=self.shard_functions,
            alerts=self.alerts,
            service=config.stack_name,
        )
        self._grant_job_functions()
        self._grant_shard_functions()
        self._outputs()

    def _workflows(self) -> JobWorkflow:
        return JobWorkflow(
            self,
            "JobWorkflow",
            functions=self.job_functions,
            shard_workflows=[
                ShardWorkflow(self, f"{functions.provider.label}Workflow", functions=functions)
                for functions in self.shard_functions
            ],
            work=self.storage.work.bucket,
        )

    def _intake(self) -> Intake:
        intake = Intake(
            self,
            "Intake",
            inbox=self.storage.inbox.bucket,
            platform=self._platform,
            alerts=self.alerts,
            settings=IntakeSettings(
                jobs_table=self.ledger.table.table_name,
                state_machine_arn=self.job_workflow.state_machine.state_machine_arn,
                retention_days=self._config.retention_days,
            ),
        )
        self.job_workflow.state_machine.grants.start_execution(intake.function)
        self.ledger.grant(intake.function, "GetItem", "PutItem", "UpdateItem")
        return intake

    def _rescue(self) -> None:
        rescue = Rescue(
            self,
            "Rescue",
            workflow=self.job_workflow,
            settings=RescueSettings(
                jobs_table=self.ledger.table.table_name,
                state_machine_arn=self.job_workflow.state_machine.state_machine_arn,
                alert_topic=self.alerts.topic.topic_arn,
            ),
            platform=self._platform,
            alerts=self.alerts,
        )
        self.job_workflow.state_machine.grants.start_execution(rescue.function)
        self.ledger.grant(rescue.function, "GetItem", "UpdateItem")
        self.alerts.grant_publish(rescue.function)

    def _commands(self) -> None:
        function = Function(
            self,
            "Command",
            handler=command,
            settings=CommandSettings(jobs_table=self.ledger.table.table_name),
            platform=self._platform,
            timeout=Duration.minutes(1),
        )
        self.ledger.grant(function.function, "GetItem", "UpdateItem")
        self.job_workflow.grant_wake(function)
        self.bus.deliver_commands(
            to=function,
            dead_letters=DeadLetters(
                self, "CommandDeadLetters", what="a command", alerts=self.alerts
            ),
        )

    def _grant_job_functions(self) -> None:
        inbox, work, results = self.storage.inbox, self.storage.work, self.storage.results

        plan = self.job_functions.plan.function
        inbox.grant_read_versions(plan)
        work.grant_read(plan)
        work.grant_write(plan)
        self.ledger.grant(plan, "GetItem", "UpdateItem")

        shard = self.job_functions.shard.function
        inbox.grant_read_versions(shard)
        work.grant_read(shard)
        work.grant_write(shard)
        self.ledger.grant(shard, "GetItem", "UpdateItem")

        dedupe = self.job_functions.dedupe.function
        work.grant_read(dedupe)
        work.grant_write(dedupe)
        results.grant_read(dedupe)
        self.ledger.grant(dedupe, "GetItem", "BatchGetItem")

        price = self.job_functions.price.function
        work.grant_read(price)
        work.grant_write(price)
        self.ledger.grant(price, "GetItem", "PutItem", "UpdateItem")

        ask = self.job_functions.ask.function
        self.ledger.grant(ask, "GetItem", "UpdateItem")
        self.bus.grant_put(ask)
        self.alerts.grant_publish(ask)
        self.job_workflow.grant_wake(self.job_functions.ask)

        reconcile = self.job_functions.reconcile.function
        work.grant_read(reconcile)
        work.grant_write(reconcile)
        self.ledger.grant(reconcile, "GetItem", "PutItem", "UpdateItem", "Query")
        self.bus.grant_put(reconcile)

        assemble = self.job_functions.assemble.function
        work.grant_read(assemble)
        work.grant_write(assemble)
        results.grant_write(assemble)
        self.ledger.grant(assemble, "GetItem", "UpdateItem", "Query", "BatchWriteItem")

        cut = self.job_functions.cut.function
        work.grant_read(cut)
        work.grant_write(cut)
        results.grant_write(cut)
        results.grant_abandon(cut)
        self.ledger.grant(cut, "GetItem", "UpdateItem")

        piece = self.job_functions.slice.function
        work.grant_read(piece)
        work.grant_write(piece)
        results.grant_write(piece)
        self.ledger.grant(piece, "PutItem")

        join = self.job_functions.join.function
        work.grant_read(join)
        work.grant_write(join)
        results.grant_read(join)
        results.grant_write(join)
        self.ledger.grant(join, "GetItem", "UpdateItem", "PutItem")
        remember = self.job_functions.remember.function
        work.grant_read(remember)
        results.grant_read(remember)
        self.ledger.grant(remember, "GetItem", "BatchWriteItem")

        report = self.job_functions.report.function
        work.grant_read(report)
        results.grant_read(report)
        results.grant_write(report)
        results.grant_abandon(report)
        self.ledger.grant(report, "GetItem", "PutItem", "UpdateItem", "Query")
        self.bus.grant_put(report)

        sweep = self.job_functions.sweep.function
        work.grant_delete(sweep)
        self.ledger.grant(sweep, "GetItem")

    def _grant_shard_functions(self) -> None:
        work = self.storage.work
        for functions in self.shard_functions:
            for step in (*functions.all, functions.tidy):
                self.secrets.grant_read(step.function, provider=functions.provider.name)
                self.ledger.grant(step.function, "GetItem", "PutItem", "UpdateItem", "Query")
                if step is not functions.clean_up:  # the others delete leases or notes
                    self.ledger.grant(step.function, "DeleteItem")
                self.alerts.grant_publish(step.function)
            work.grant_read(functions.submit.function)
            work.grant_write_heads(functions.submit.function)
            work.grant_read(functions.collect.function)
            work.grant_write(functions.collect.function)

    def _outputs(self) -> None:
        outputs = {
            "InboxBucket": self.storage.inbox.bucket.bucket_name,
            "ResultsBucket": self.storage.results.bucket.bucket_name,
            "JobsTable": self.ledger.table.table_name,
            "StateMachineArn": self.job_workflow.state_machine.state_machine_arn,
            "IntakeDeadLetterQueueUrl": self.intake.dead_letters.queue.queue_url,
            "EventBusName": self.bus.bus.event_bus_name,
            "OpenAISecretArn": self.secrets.arn("openai"),
            "AnthropicSecretArn": self.secrets.arn("anthropic"),
            "VertexSecretArn": self.secrets.arn("vertex"),
        }
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
