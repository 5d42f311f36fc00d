"""Puts one slice of a job's results together, beside other calls that do others."""

from __future__ import annotations

from typing import Any, cast

from functions.batch.results.assembling import IndexResults
from functions.batch.results.slicing import Slicer
from functions.handlers import wiring
from functions.settings import AssembleSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = AssembleSettings.from_env()
    slicer = Slicer(
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        index_results=cast("IndexResults", settings.index_results),
        retention_days=settings.retention_days,
    )
    slicer.assemble(event["job_id"], event["slice"])
    return {}
