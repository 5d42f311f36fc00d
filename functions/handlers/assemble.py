"""Puts a job's results together, one line for each input row, in input order."""

from __future__ import annotations

from typing import Any, cast

from functions.batch.results.assembling import Assembler, IndexResults
from functions.handlers import wiring
from functions.settings import AssembleSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = AssembleSettings.from_env()
    assembler = Assembler(
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        index_results=cast("IndexResults", settings.index_results),
        retention_days=settings.retention_days,
    )
    assembler.assemble(event["job_id"])
    return {}
