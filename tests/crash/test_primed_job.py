"""A job whose first row goes before the others is killed at each call of a port: the row goes alone
and once, the others follow once, and no plan is made anew."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.batch.money import DOLLAR
from functions.batch.pricing import Price, Rates
from tests.support.crashing import CrashWorld
from tests.support.money_twins import MemoryPrices
from tests.support.tripwire import Point, Tripwire, Watched, points
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import LongPrefixes

MEMORY = Path("/dev/shm")
TOKENS = 200_000
INPUT, OUTPUT, READ, WRITTEN = 500_000, 2_500_000, 50_000, 1_000_000
BATCH = Price(input=INPUT, output=OUTPUT, cached_input=READ, cache_write_1h=WRITTEN)
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "system": "You sort. " * 200,
    "prompt": "{{ text }}",
    "cache": "auto",
}
TEXTS = ["first", "second", "third", "fourth"]
TABLE = "id,text\n" + "".join(f"{text},{text}\n" for text in TEXTS)


@pytest.fixture(autouse=True)
def _disk_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if MEMORY.is_dir():
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY))


class Run:
    """One job from its upload to its end, killed at `point`."""

    def __init__(self, point: Point | None = None) -> None:
        self.twin = TwinProvider("openai")
        self.twin.prefix = TOKENS
        self.world = CrashWorld(
            dialects=(TwinDialect("openai"),),
            providers={"openai": lambda: self.twin},
            recipes=LongPrefixes(TOKENS),
            on_wait=lambda _: self.twin.tick(),
            prices=MemoryPrices(
                {"openai/small": Rates(listed=[BATCH], batch=[BATCH], source="library")}
            ),
            wire=Tripwire(point),
        )
        self.world.recipes = Watched(self.world.recipes, "recipes", self.world.wire)
        self.world.inputs.others["in/recipe.json"] = json.dumps(RECIPE).encode()
        self.job_id = self.world.through("in/table.csv", TABLE.encode())
        self.twin.settle()

    def problems(self) -> list[str]:
        wrong = [f"raised: {error!r}" for error in self.world.raised]
        lines = self.world.result_lines(self.job_id)
        told = [(line["custom_id"], line["text"]) for line in lines]
        wrong += [f"rows are {told}"] * (told != [(text, f"echo {text}") for text in TEXTS])
        sent = dict(self.twin.sent)
        wrong += [f"sent {sent}"] * (sent != dict.fromkeys(TEXTS, 1))
        summary = self.world.summary(self.job_id)
        batches = [batch["rows"] for batch in summary["batches"]]
        wrong += [f"batches of {batches}"] * (batches != [1, len(TEXTS) - 1])
        left = self.twin.left()
        return [*wrong, *[f"left: {left}"] * bool(left), *self._money(summary)]

    def _money(self, summary: dict[str, Any]) -> list[str]:
        cached, cost = summary["cache"], summary["cost"]["actual_usd"]
        used = (cached["cache_write_tokens"], cached["cached_input_tokens"])
        wrong = [f"written and read: {used}"] * (used != (TOKENS, 3 * TOKENS))
        texts = self.twin.tokens["input"] - 4 * TOKENS
        paid = TOKENS * (WRITTEN + 3 * READ) + texts * INPUT + self.twin.tokens["output"] * OUTPUT
        return wrong + [f"{paid} was paid, the job tells {cost}"] * (cost != paid / DOLLAR)


def test_a_row_that_goes_first_survives_its_death_at_any_call(
    record_property: Callable[[str, object], None],
) -> None:
    whole = Run()
    assert whole.problems() == []
    survived = 0
    for point in points(whole.world.wire.calls):
        run = Run(point)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
    print(f"\n{survived} crash points of a job with a primed cache survived")
    record_property("crash_points_primed", survived)
    assert survived > 100
