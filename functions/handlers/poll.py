"""Asks the provider how a batch is doing."""

from __future__ import annotations

from typing import Any

from functions.batch.sending.polling import Poller
from functions.batch.sending.waits import STUCK_DEFAULT, STUCK_SECONDS
from functions.handlers import provider_wiring, wiring
from functions.handlers.steps import first_step, step_of, told
from functions.settings import ProviderSettings

provider_wiring.preload()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = ProviderSettings.from_env()
    poller = Poller(
        stack=settings.stack,
        ledger=wiring.ledger(settings.jobs_table),
        provider=provider_wiring.provider(settings),
        pauses=provider_wiring.pauses(settings),
        reserver=provider_wiring.reserver(settings),
        least_wait=settings.min_poll_seconds,
        most_wait=settings.max_poll_seconds,
        stuck_after=STUCK_SECONDS.get(settings.provider, STUCK_DEFAULT),
    )
    step = step_of(event) or first_step()
    return told("poll", event, poller.poll(event["job_id"], event["shard_id"], step))
