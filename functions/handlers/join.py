"""Joins the slices of a job's results to the files that people get."""

from __future__ import annotations

from typing import Any

from functions.batch.results.slicing import Joiner
from functions.handlers import wiring
from functions.settings import AssembleSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = AssembleSettings.from_env()
    joiner = Joiner(
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        retention_days=settings.retention_days,
    )
    joiner.join(event["job_id"])
    return {}
