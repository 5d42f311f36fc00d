"""Reads one range of an input and sorts its rows into sources that batches are made of."""

from __future__ import annotations

from typing import Any

from functions.batch.reading.range_input import RangeOfInput
from functions.batch.reading.sharding import shard_range
from functions.handlers import provider_wiring, wiring
from functions.handlers.deadline import remaining
from functions.settings import ShardSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ShardSettings.from_env()
    ledger = wiring.ledger(settings.jobs_table)
    shard_range(
        ledger.job(event["job_id"]),
        RangeOfInput(number=event["range"], start=event["start"], end=event["end"]),
        ledger=ledger,
        inputs=wiring.inbox(),
        objects=wiring.objects(settings.work_bucket),
        dialects=provider_wiring.DIALECTS,
        recipes=provider_wiring.recipes(),
        caps=provider_wiring.caps(settings),
        remaining=remaining(context),
        max_unzipped_bytes=settings.max_unzipped_bytes,
    )
    return {}
