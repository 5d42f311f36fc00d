"""Looks once a day for what is left at a provider, and deletes what nobody else will."""

from __future__ import annotations

from typing import Any

import msgspec
from aws_lambda_powertools import Logger

from functions.aws.metrics import EmbeddedMetrics
from functions.batch.upkeep.tidying import Janitor
from functions.handlers import provider_wiring, wiring
from functions.settings import ProviderSettings

_logger = Logger()

provider_wiring.preload()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ProviderSettings.from_env()
    janitor = Janitor(
        stack=settings.stack,
        name=settings.provider,
        ledger=wiring.ledger(settings.jobs_table),
        provider=provider_wiring.provider(settings),
        alerts=wiring.alerts(settings.alert_topic),
        metrics=EmbeddedMetrics(),
    )
    done: dict[str, Any] = msgspec.to_builtins(janitor.tidy())
    _logger.info("tidy", extra=done)
    return done
