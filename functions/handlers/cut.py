"""Cuts results that are too much for one call into slices, and begins the files they fill."""

from __future__ import annotations

from typing import Any

from functions.batch.results.cutting import Cutter
from functions.handlers import wiring
from functions.settings import CutSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = CutSettings.from_env()
    cutter = Cutter(
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        one_call=settings.assemble_bytes,
    )
    how = cutter.cut(event["job_id"])
    manifest = {"bucket": settings.work_bucket, "key": how.manifest}
    return {"next": how.next, "manifest": manifest}
