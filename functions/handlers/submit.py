"""Submits one shard to its provider, once."""

from __future__ import annotations

from typing import Any

from functions.batch.sending import laps
from functions.batch.sending.submission import Submitter
from functions.handlers import provider_wiring, wiring
from functions.handlers.steps import step_of, told
from functions.settings import ProviderSettings

provider_wiring.preload()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ProviderSettings.from_env()
    submitter = Submitter(
        stack=settings.stack,
        ledger=wiring.ledger(settings.jobs_table),
        objects=wiring.objects(settings.work_bucket),
        dialect=provider_wiring.dialect(settings.provider),
        provider=provider_wiring.provider(settings),
        pauses=provider_wiring.pauses(settings),
        reserver=provider_wiring.reserver(settings),
        least_wait=settings.min_poll_seconds,
        most_wait=settings.max_poll_seconds,
    )
    step = step_of(event) or laps.first(event["delay_seconds"])
    return told("submit", event, submitter.submit(event["job_id"], event["shard_id"], step))
