"""Asks a person whether a job may start, or go on after its canary, and leaves the workflow
waiting for the answer."""

from __future__ import annotations

from typing import Any

from functions.batch.spending.approving import Asker
from functions.handlers import wiring
from functions.settings import AskSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = AskSettings.from_env()
    asker = Asker(
        stack=settings.stack,
        ledger=wiring.ledger(settings.jobs_table),
        approvals=wiring.approvals(settings.jobs_table),
        workflows=wiring.workflows(),
        events=wiring.events(settings.event_bus),
        alerts=wiring.alerts(settings.alert_topic),
    )
    asker.ask(event["job_id"], event["token"], event.get("question", "start"))
    return {}
