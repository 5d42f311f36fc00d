"""Ends a job: its status for good, summary.json, and the event."""

from __future__ import annotations

from typing import Any

import msgspec

from functions.aws.metrics import EmbeddedMetrics
from functions.batch.results.reporting import Failure, Reporter
from functions.handlers import wiring
from functions.settings import ReportSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ReportSettings.from_env()
    reporter = Reporter(
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        events=wiring.events(settings.event_bus),
        budgets=wiring.budgets(settings.jobs_table),
        metrics=EmbeddedMetrics(),
    )
    failure = msgspec.convert(event.get("failure"), Failure | None)
    return {"status": reporter.report(event["job_id"], failure)}
