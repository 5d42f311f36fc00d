"""From an object in the inbox to a job: EventBridge, a queue, and the function that empties it."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.handlers import intake
from functions.settings import IntakeSettings
from infra.events import Alerts, DeadLetters
from infra.functions import Function, Platform

TIMEOUT = Duration.minutes(1)
VISIBILITY = Duration.minutes(6)  # AWS asks for six times the function's timeout
ATTEMPTS = 5
BATCH_SIZE = 10


class Intake(Construct):
    """An event that never becomes a job, for whatever reason, ends up in the dead letters.

    EventBridge's own failures go there too. Both kinds of message are the S3 event itself, so that
    moving them to the queue tries them again.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        inbox: s3.Bucket,
        settings: IntakeSettings,
        platform: Platform,
        alerts: Alerts,
    ) -> None:
        super().__init__(scope, id)
        self.dead_letters = DeadLetters(self, "DeadLetters", what="a dropped file", alerts=alerts)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=VISIBILITY,
            retention_period=Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letters.queue, max_receive_count=ATTEMPTS
            ),
        )
        self.function = Function(
            self,
            "Intake",
            handler=intake,
            settings=settings,
            platform=platform,
            timeout=TIMEOUT,
        ).function
        self.function.add_event_source(
            event_sources.SqsEventSource(
                self.queue, batch_size=BATCH_SIZE, report_batch_item_failures=True
            )
        )
        self._listen(inbox)

    def _listen(self, inbox: s3.Bucket) -> None:
        events.Rule(
            self,
            "ObjectCreated",
            description="Objects created in Batchdrop's inbox, to the intake queue",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [inbox.bucket_name]}},
            ),
            targets=[targets.SqsQueue(self.queue, dead_letter_queue=self.dead_letters.queue)],  # pyright: ignore[reportArgumentType]
        )
