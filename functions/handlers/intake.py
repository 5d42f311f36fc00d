"""Turns upload events from the queue into jobs, one for each."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,  # pyright: ignore[reportUnknownVariableType]
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from functions.aws.clients import client
from functions.aws.outside import JobWorkflow
from functions.batch.reading.intake import Upload, take_in
from functions.handlers import wiring
from functions.settings import IntakeSettings

_processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(
        event=event, record_handler=_take, processor=_processor, context=context
    )


def _take(record: SQSRecord) -> str | None:
    """EventBridge delivers keys as they are: unlike S3's own notifications, not URL-encoded."""
    settings = IntakeSettings.from_env()
    detail = record.json_body["detail"]
    found = detail["object"]
    upload = Upload(
        bucket=detail["bucket"]["name"],
        key=found["key"],
        size=found.get("size", 0),
        sequencer=found.get("sequencer") or record.json_body["id"],
        etag=found.get("etag"),
        version_id=found.get("version-id"),
    )
    return take_in(
        upload,
        ledger=wiring.ledger(settings.jobs_table),
        workflows=JobWorkflow(client("stepfunctions"), settings.state_machine_arn),
        retention_days=settings.retention_days,
    )
