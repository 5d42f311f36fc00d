"""Looks at each provider once a day for what is left there."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from infra.events import Alerts, DeadLetters
from infra.provider_functions import ProviderFunctions


class Janitor(Construct):
    def __init__(
        self, scope: Construct, id: str, *, functions: Sequence[ProviderFunctions], alerts: Alerts
    ) -> None:
        super().__init__(scope, id)
        dead_letters = DeadLetters(self, "DeadLetters", what="the daily look", alerts=alerts)
        events.Rule(
            self,
            "Daily",
            description="Batchdrop's janitor: what is left at the providers",
            schedule=events.Schedule.rate(Duration.days(1)),
            targets=[
                targets.LambdaFunction(
                    each.tidy.function,  # pyright: ignore[reportArgumentType]
                    dead_letter_queue=dead_letters.queue,
                    retry_attempts=2,
                )
                for each in functions
            ],
        )
