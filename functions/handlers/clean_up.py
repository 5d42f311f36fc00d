"""Deletes what a shard left at its provider."""

from __future__ import annotations

from typing import Any

from functions.aws.metrics import EmbeddedMetrics
from functions.batch.upkeep.cleaning import Cleaner
from functions.handlers import provider_wiring, wiring
from functions.handlers.steps import step_of, told
from functions.settings import ProviderSettings

provider_wiring.preload()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ProviderSettings.from_env()
    cleaner = Cleaner(
        stack=settings.stack,
        ledger=wiring.ledger(settings.jobs_table),
        provider=provider_wiring.provider(settings),
        alerts=wiring.alerts(settings.alert_topic),
        metrics=EmbeddedMetrics(),
    )
    return told(
        "clean_up", event, cleaner.clean_up(event["job_id"], event["shard_id"], step_of(event))
    )
