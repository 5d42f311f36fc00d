"""A table with a recipe is killed at each call of a port: every record keeps its answer, the one
that did not fit goes to the stronger model once, and the dollars of each route stay right."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.batch.money import DOLLAR, picodollars
from functions.batch.rows import Caps
from tests.support.crashing import CrashWorld
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.tripwire import Call, Point, Tripwire, Watched, points
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes

MEMORY = Path("/dev/shm")
PRICES = {"small": (1.0, 4.0), "large": (8.0, 16.0), "big": (30.0, 50.0)}
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "prompt": "{{ text }}",
    "response_schema": {
        "type": "object",
        "properties": {"kind": {"type": "string"}},
        "required": ["kind"],
    },
    "routes": [{"when": "text == 'routed'", "model": "large"}],
    "escalate_to": "big",
    "output": {"csv": True, "index": True},
}
TABLE = b"id,text\nb,routed\nc,misfit\nd\ne,=last\n"
SHEET = [
    ["id", "text", "status", "kind"],
    ["b", "routed", "succeeded", "of routed"],
    ["c", "misfit", "succeeded", "of misfit"],
    ["", "", "invalid", ""],
    ["e", "'=last", "succeeded", "of =last"],
]
SENT = {"routed": 1, "misfit": 2, "=last": 1}


@pytest.fixture(autouse=True)
def _disk_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if MEMORY.is_dir():
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY))


class Run:
    """One job from its upload to its end, killed at `point`."""

    def __init__(self, point: Point | None = None) -> None:
        self.twin = TwinProvider("openai")
        self.twin.say = self._say
        self.world = CrashWorld(
            dialects=(TwinDialect("openai"),),
            providers={"openai": lambda: self.twin},
            recipes=TwinRecipes(),
            on_wait=lambda _: self.twin.tick(),
            prices=MemoryPrices({f"openai/{name}": rates_of(*of) for name, of in PRICES.items()}),
            caps=Caps(rows=2),
            wire=Tripwire(point),
        )
        self.world.recipes = Watched(self.world.recipes, "recipes", self.world.wire)
        self.world.inputs.others["in/recipe.json"] = json.dumps(RECIPE).encode()
        self.job_id = self.world.through("in/table.csv", TABLE)
        self.twin.settle()

    @property
    def calls(self) -> list[Call]:
        return self.world.wire.calls

    def _say(self, text: str) -> str:
        fits = text != "misfit" or self.twin.billed[text] > 1
        return json.dumps({"kind": f"of {text}"}) if fits else "no JSON"

    def problems(self) -> list[str]:
        wrong = [f"raised: {error!r}" for error in self.world.raised]
        data = self.world.results.find(f"{self.job_id}/results.csv") or b""
        sheet = [row[:4] for row in csv.reader(io.StringIO(data.decode(), newline=""))]
        wrong += [f"the sheet is {sheet}"] * (sheet != SHEET)
        lines = self.world.result_lines(self.job_id)
        ids = [(line["row"], line["custom_id"]) for line in lines]
        wrong += [f"rows are {ids}"] * (ids != list(enumerate(["b", "c", None, "e"])))
        wrong += [f"sent {self.twin.billed}"] * (dict(self.twin.billed) != SENT)
        left = self.twin.left()
        return [*wrong, *[f"left: {left}"] * bool(left), *self._money()]

    def _money(self) -> list[str]:
        summary = self.world.summary(self.job_id)
        paid = [self._paid("routed") / DOLLAR, self._paid("misfit", "=last") / DOLLAR]
        told = [way["actual_usd"] for way in summary["routes"]]
        wrong = [f"{paid} paid by route, the summary tells {told}"] * (told != paid)
        one = self._paid(*SENT, model="small") / DOLLAR
        told_one = summary["one_model"]["actual_usd"]
        wrong += [f"one model had cost {one}, not {told_one}"] * (one != told_one)
        told_all = summary["cost"]["actual_usd"]
        return wrong + [f"the job tells {told_all}"] * (told_all != self._paid(*SENT) / DOLLAR)

    def _paid(self, *texts: str, model: str | None = None) -> int:
        return sum(
            count * picodollars(PRICES[model or used][side == "output"]) // 2_000_000
            for (used, text, side), count in self.twin.used.items()
            if text in texts
        )


def test_a_table_survives_its_death_at_any_call(
    record_property: Callable[[str, object], None],
) -> None:
    whole = Run()
    assert whole.problems() == []
    assert {"recipes"} < {call.port for call in whole.calls}
    survived = 0
    for point in points(whole.calls):
        run = Run(point)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
    print(f"\n{survived} crash points of a table with a recipe survived")
    record_property("crash_points_recipe", survived)
    assert survived > 150
