"""Looks at an upload before it is read: takes it, in ranges, or says why not."""

from __future__ import annotations

from typing import Any

from functions.batch.planning import plan
from functions.handlers import wiring
from functions.settings import PlanSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = PlanSettings.from_env()
    result = plan(
        event["job_id"],
        ledger=wiring.ledger(settings.jobs_table),
        inputs=wiring.inbox(),
        objects=wiring.objects(settings.work_bucket),
        split_bytes=settings.split_bytes,
    )
    manifest = {"bucket": settings.work_bucket, "key": result.manifest}
    return {"next": result.next, "manifest": manifest}
