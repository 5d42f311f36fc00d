"""Opens the next round: packs what has no answer yet into shards."""

from __future__ import annotations

from typing import Any

import msgspec

from functions.batch.sending.reconcile import open_round
from functions.handlers import provider_wiring, wiring
from functions.settings import ReconcileSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ReconcileSettings.from_env()
    opened = open_round(
        event["job_id"],
        event["round"]["number"] + 1,
        ledger=wiring.ledger(settings.jobs_table),
        objects=wiring.objects(settings.work_bucket),
        events=wiring.events(settings.event_bus),
        limits_of=provider_wiring.limits_of(settings),
        approvals=wiring.approvals(settings.jobs_table),
        unanswered="canary_unanswered" in event,
        one_call=settings.assemble_bytes,
    )
    manifest = {"bucket": settings.work_bucket, "key": opened.manifest}
    return {**msgspec.to_builtins(opened), "manifest": manifest}
