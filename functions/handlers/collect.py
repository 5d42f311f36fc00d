"""Harvests a shard: every row of it is finished or goes again."""

from __future__ import annotations

from typing import Any

from functions.aws.metrics import EmbeddedMetrics
from functions.batch.collecting.collector import Collector
from functions.handlers import provider_wiring, wiring
from functions.handlers.deadline import remaining
from functions.settings import ProviderSettings

provider_wiring.preload()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ProviderSettings.from_env()
    collector = Collector(
        ledger=wiring.ledger(settings.jobs_table),
        objects=wiring.objects(settings.work_bucket),
        dialect=provider_wiring.dialect(settings.provider),
        provider=provider_wiring.provider(settings),
        pauses=provider_wiring.pauses(settings),
        reserver=provider_wiring.reserver(settings),
        rollups=wiring.rollups(settings.jobs_table),
        metrics=EmbeddedMetrics(),
        fitting=provider_wiring.fitting,
        max_rounds=settings.max_rounds,
    )
    collector.collect(event["job_id"], event["shard_id"], remaining(context))
    return {}
