"""Harvests a shard: every row of it is finished or goes again."""

from __future__ import annotations

from typing import Any

from functions.aws.metrics import EmbeddedMetrics
from functions.batch.collecting.collector import Collector
from functions.handlers import wiring
from functions.handlers.deadline import remaining
from functions.settings import ProviderSettings

wiring.preload()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ProviderSettings.from_env()
    collector = Collector(
        ledger=wiring.ledger(settings.jobs_table),
        objects=wiring.objects(settings.work_bucket),
        dialect=wiring.dialect(settings.provider),
        provider=wiring.provider(settings),
        pauses=wiring.pauses(settings),
        reserver=wiring.reserver(settings),
        rollups=wiring.rollups(settings.jobs_table),
        metrics=EmbeddedMetrics(),
        fitting=wiring.fitting,
        max_rounds=settings.max_rounds,
    )
    collector.collect(event["job_id"], event["shard_id"], remaining(context))
    return {}
