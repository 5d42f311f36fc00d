"""Looks at each provider once a day for what is left there, and raises an alarm while there is."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from functions.aws.metrics import LEFT, NAMESPACE
from infra.events import Alerts, DeadLetters
from infra.provider_functions import ProviderFunctions

LOOK = Duration.days(1)


class Janitor(Construct):
    """`service` is what the functions call themselves in their metrics: the stack's name."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        functions: Sequence[ProviderFunctions],
        alerts: Alerts,
        service: str,
    ) -> None:
        super().__init__(scope, id)
        dead_letters = DeadLetters(self, "DeadLetters", what="the daily look", alerts=alerts)
        events.Rule(
            self,
            "Daily",
            description="Batchdrop's janitor: what is left at the providers",
            schedule=events.Schedule.rate(LOOK),
            targets=[
                targets.LambdaFunction(
                    each.tidy.function,  # pyright: ignore[reportArgumentType]
                    dead_letter_queue=dead_letters.queue,
                    retry_attempts=2,
                )
                for each in functions
            ],
        )
        for each in functions:
            self._watch(each.provider.name, each.provider.label, alerts=alerts, service=service)

    def _watch(self, provider: str, label: str, *, alerts: Alerts, service: str) -> None:
        """Two days, of which one is enough: while each daily look finds something left, the alarm
        stays, whatever hour it comes at."""
        alarm = cloudwatch.Alarm(
            self,
            f"{label}FilesLeft",
            alarm_description=f"Batchdrop could not delete files at {label}. The summaries name "
            "them in provider_files.left_items; they are tried again every day.",
            metric=cloudwatch.Metric(
                namespace=NAMESPACE,
                metric_name=LEFT,
                dimensions_map={"service": service, "provider": provider},
                statistic="Sum",
                period=LOOK,
            ),
            threshold=0,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=2,
            datapoints_to_alarm=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(alerts.topic))  # pyright: ignore[reportArgumentType]
