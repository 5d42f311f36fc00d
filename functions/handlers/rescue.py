"""Takes up a job whose execution was aborted, failed or timed out."""

from __future__ import annotations

import json
from typing import Any

from functions.aws.clients import client
from functions.aws.outside import JobWorkflow
from functions.batch.upkeep.rescuing import rescue
from functions.handlers import wiring
from functions.settings import RescueSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = RescueSettings.from_env()
    detail = event["detail"]
    done = rescue(
        json.loads(detail["input"])["job_id"],
        detail["name"],
        detail["status"],
        ledger=wiring.ledger(settings.jobs_table),
        workflows=JobWorkflow(client("stepfunctions"), settings.state_machine_arn),
        alerts=wiring.alerts(settings.alert_topic),
    )
    return {"done": done}
