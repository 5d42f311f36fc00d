"""A job of rows that come twice, and that were answered before, is killed at each call of a port:
every row keeps the answer to its own request, and nothing is asked for, or paid, that was known."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.batch.money import picodollars
from functions.batch.rows import Caps
from tests.support.crashing import PORTS, CrashWorld
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.tripwire import Call, Point, Tripwire, Watched, points
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes

MEMORY = Path("/dev/shm")
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "prompt": "{{ text }}",
    "dedupe": True,
    "output": {"index": True},
}
BEFORE = ["known", "also known", "bad"]
TEXTS = ["known", "new", "once", "new", "bad", "also known", "once", "bad", "known", "last"]
SENT = {"new": 1, "once": 1, "last": 1}
"""What is answered, and how often."""


@pytest.fixture(autouse=True)
def _disk_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if MEMORY.is_dir():
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY))


def lines(texts: list[str]) -> bytes:
    return jsonl([{"id": f"id {n}", "text": text} for n, text in enumerate(texts)])


class Run:
    """The second of three jobs, from its upload to its end, killed at `point`."""

    def __init__(self, point: Point | None = None) -> None:
        self.twin = TwinProvider("openai")
        same: dict[str, Any] = {
            "dialects": (TwinDialect("openai"),),
            "recipes": TwinRecipes(),
            "on_wait": lambda _: self.twin.tick(),
            "prices": MemoryPrices({"openai/small": rates_of(1, 4)}),
            "caps": Caps(rows=2),
            "split_bytes": 120,
        }
        self.calm = World(providers={"openai": lambda: self.twin}, **same)
        self.calm.inputs.others["in/recipe.json"] = json.dumps(RECIPE).encode()
        self.calm.run(self.calm.drop("in/before.jsonl", lines(BEFORE)))
        self.world = CrashWorld(
            providers={"openai": lambda: self.twin},
            wire=Tripwire(point),
            **{name: getattr(self.calm, name) for name in PORTS},
            **same,
        )
        self.world.recipes = Watched(self.world.recipes, "recipes", self.world.wire)
        self.twin.billed.clear()
        self.twin.tokens.clear()
        self.twin.failing = {"once": 1}
        self.job_id = self.world.through("in/texts.jsonl", lines(TEXTS))
        self.twin.settle()

    @property
    def calls(self) -> list[Call]:
        return self.world.wire.calls

    def problems(self) -> list[str]:
        wrong = [f"raised: {error!r}" for error in self.world.raised]
        told = self.world.result_lines(self.job_id)
        found = [(each["row"], each["custom_id"], each["text"]) for each in told]
        wanted = [
            (n, f"id {n}", None if text == "bad" else f"echo {text}")
            for n, text in enumerate(TEXTS)
        ]
        wrong += [f"lines are {found}"] * (found != wanted)
        wrong += [f"billed {self.twin.billed}"] * (dict(self.twin.billed) != SENT)
        own = [n for n, each in enumerate(told) if each["text"] and "cached" not in each]
        wrong += [f"rows of their own are {own}"] * (own != [1, 2, 9])
        left = [*self.twin.left(), *self.world.work.keys(self.job_id)]
        return [*wrong, *[f"left: {left}"] * bool(left), *self._money(), *self._afterwards()]

    def _money(self) -> list[str]:
        paid = (self.twin.tokens["input"] * 1_000_000 + self.twin.tokens["output"] * 4_000_000) // 2
        summary = self.world.summary(self.job_id)
        told = picodollars(summary["cost"]["actual_usd"])
        by_row = sum(picodollars(each["cost_usd"]) for each in self.world.result_lines(self.job_id))
        wrong = [f"{paid} paid, {told} told, {by_row} by row"] * (not paid == told == by_row)
        counts = [summary["dedupe"][name] for name in ("from_earlier_jobs", "within_the_job")]
        return wrong + [f"deduped: {counts}"] * (counts != [3, 2])

    def _afterwards(self) -> list[str]:
        """A third job needs to ask for what failed alone."""
        self.twin.sent.clear()
        self.calm.run(self.calm.drop("in/after.jsonl", lines(TEXTS)))
        sent = dict(self.twin.sent)
        return [f"sent afterwards: {sent}"] * (sent != {"bad": 1})


def test_a_job_that_dedupes_survives_its_death_at_any_call(
    record_property: Callable[[str, object], None],
) -> None:
    whole = Run()
    assert whole.problems() == []
    assert {"earlier"} < {call.port for call in whole.calls}
    assert {"dedupe", "remember"} < {call.step for call in whole.calls}
    survived = 0
    for point in points(whole.calls):
        run = Run(point)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
    print(f"\n{survived} crash points of a job that dedupes survived")
    record_property("crash_points_dedupe", survived)
    assert survived > 150
