"""Notes where a job's answers lie, so that later jobs need not ask again."""

from __future__ import annotations

from typing import Any

from functions.batch.repeats.remembering import remember
from functions.handlers import wiring
from functions.settings import RememberSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = RememberSettings.from_env()
    remember(
        event["job_id"],
        ledger=wiring.ledger(settings.jobs_table),
        work=wiring.objects(settings.work_bucket),
        results=wiring.objects(settings.results_bucket),
        earlier=wiring.earlier_answers(settings.jobs_table),
        retention_days=settings.retention_days,
    )
    return {}
