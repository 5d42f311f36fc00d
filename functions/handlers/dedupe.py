"""Finds the rows that need not be sent: answered before, or asked for twice in one job."""

from __future__ import annotations

from typing import Any

from functions.batch.repeats.deduping import dedupe
from functions.handlers import wiring
from functions.settings import DedupeSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = DedupeSettings.from_env()
    dedupe(
        event["job_id"],
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        earlier=wiring.earlier_answers(settings.jobs_table),
    )
    return {}
