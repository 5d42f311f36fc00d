"""Estimates what a job will cost, and lets it start, asks a person, or rejects it."""

from __future__ import annotations

from typing import Any

from functions.batch.spending.admission import Gate
from functions.handlers import wiring
from functions.prices.library import PriceLibrary
from functions.settings import PriceSettings


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settings = PriceSettings.from_env()
    gate = Gate(
        ledger=wiring.ledger(settings.jobs_table),
        objects=wiring.objects(settings.work_bucket),
        prices=PriceLibrary(),
        budgets=wiring.budgets(settings.jobs_table),
        approvals=wiring.approvals(settings.jobs_table),
        overrides=settings.overrides(),
        allowance=settings.output_allowance_tokens or None,
        daily_budget_usd=settings.daily(),
        monthly_budget_usd=settings.monthly(),
    )
    return {"next": gate.admit(event["job_id"], unanswered="unanswered" in event)}
