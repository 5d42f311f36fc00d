"""A deployment of one twin provider whose answers cost something, for tests of money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from functions.batch.model import Job
from functions.batch.money import JobLimits
from functions.batch.pricing import Rates
from tests.support.driver import World
from tests.support.ledger_twins import MemoryLedger
from tests.support.lines import jsonl
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.twin_provider import TwinDialect, TwinProvider

MODEL = "openai/m"
LIST_INPUT, LIST_OUTPUT = 2.0, 10.0


class RecipeLedger(MemoryLedger):
    """Every job comes with these limits, as from its recipe."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: JobLimits | None = None

    def create_job(self, job: Job) -> bool:
        job.limits = self.limits
        return super().create_job(job)


class PricedWorld(World):
    """`twin` keeps the books; `limits` are those of a recipe."""

    def __init__(self, **more: Any) -> None:
        self.twin = TwinProvider("openai")
        self.recipe_ledger = RecipeLedger()
        super().__init__(
            dialects=(TwinDialect("openai"),),
            providers={"openai": lambda: self.twin},
            ledger=self.recipe_ledger,
            prices=MemoryPrices({MODEL: rates_of(LIST_INPUT, LIST_OUTPUT)}),
            on_wait=lambda _: self.twin.tick(),
            **more,
        )

    def price(self, rates: Rates | None) -> None:
        self.prices.table.pop(MODEL, None)
        if rates is not None:
            self.prices.table[MODEL] = rates

    def limit(self, **limits: str) -> None:
        amounts = {name: Decimal(amount) for name, amount in limits.items()}
        self.recipe_ledger.limits = JobLimits(**amounts)

    def submit(self, texts: list[str], key: str = "in/a.jsonl") -> str:
        return self.drop(key, jsonl([row(text) for text in texts]))

    def charged(self) -> int:
        """Picodollars by the twin's own books, at batch prices."""
        books = self.twin.tokens
        return books["input"] * 1_000_000 + books["output"] * 5_000_000


def row(text: str, model: str = "m") -> dict[str, Any]:
    return {"twin": "openai", "model": model, "text": text, "custom_id": text}
