"""Deletes the work files of a job that has ended."""

from __future__ import annotations

from typing import Any

from functions.batch.upkeep.sweeping import sweep
from functions.handlers import wiring
from functions.settings import SweepSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = SweepSettings.from_env()
    sweep(
        event["job_id"],
        ledger=wiring.ledger(settings.jobs_table),
        objects=wiring.objects(settings.work_bucket),
    )
    return {}
