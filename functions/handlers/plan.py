"""Looks at an upload before it is read: takes it, in ranges, or says why not."""

from __future__ import annotations

from typing import Any

from functions.batch.reading.planning import Planner
from functions.handlers import provider_wiring, wiring
from functions.settings import PlanSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = PlanSettings.from_env()
    planner = Planner(
        ledger=wiring.ledger(settings.jobs_table),
        inputs=wiring.inbox(),
        objects=wiring.objects(settings.work_bucket),
        recipes=provider_wiring.recipes(),
        dialects=provider_wiring.DIALECTS,
        split_bytes=settings.split_bytes,
        max_gz_bytes=settings.max_gz_bytes,
    )
    result = planner.plan(event["job_id"], event.get("plan", {}).get("lap", 0))
    manifest = {"bucket": settings.work_bucket, "key": result.manifest}
    return {
        "next": result.next,
        "lap": result.lap,
        "manifest": manifest,
        "dedupe": result.dedupe,
    }
