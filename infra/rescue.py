"""Watches over the job workflow: an execution that ends before its job does is taken up again."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda_destinations as destinations
from constructs import Construct

from functions.handlers import rescue
from functions.settings import RescueSettings
from infra.events import Alerts, DeadLetters
from infra.functions import Function, Platform
from infra.job_workflow import JobWorkflow

ENDS = ["ABORTED", "FAILED", "TIMED_OUT"]


class Rescue(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        workflow: JobWorkflow,
        settings: RescueSettings,
        platform: Platform,
        alerts: Alerts,
    ) -> None:
        super().__init__(scope, id)
        dead_letters = DeadLetters(self, "DeadLetters", what="an ended execution", alerts=alerts)
        function = Function(
            self,
            "Rescue",
            handler=rescue,
            settings=settings,
            platform=platform,
            timeout=Duration.minutes(1),
        )
        self.function = function.function
        self.function.configure_async_invoke(
            on_failure=destinations.SqsDestination(dead_letters.queue),  # pyright: ignore[reportArgumentType]
            retry_attempts=2,
        )
        events.Rule(
            self,
            "ExecutionEnded",
            description="Job executions that ended before their job did",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [workflow.state_machine.state_machine_arn],
                    "status": ENDS,
                },
            ),
            targets=[targets.LambdaFunction(self.function, dead_letter_queue=dead_letters.queue)],  # pyright: ignore[reportArgumentType]
        )
