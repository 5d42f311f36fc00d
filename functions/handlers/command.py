"""Takes commands from the event bus: Cancel, Approve or Refuse Job, Resume Provider."""

from __future__ import annotations

from typing import Any

from functions.batch.upkeep.commands import obey
from functions.handlers import wiring
from functions.settings import CommandSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = CommandSettings.from_env()
    done = obey(
        event["detail-type"],
        event["detail"],
        event.get("time", ""),
        ledger=wiring.ledger(settings.jobs_table),
        approvals=wiring.approvals(settings.jobs_table),
        workflows=wiring.workflows(),
    )
    return {"done": done}
