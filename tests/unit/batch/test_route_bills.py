"""Dollars by route, held to the books of the provider itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.batch.money import DOLLAR, picodollars
from functions.batch.pricing import Rates
from functions.batch.rows import Caps
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes

PRICES = {"small": (1.0, 4.0), "large": (8.0, 16.0), "big": (30.0, 50.0), "native": (2.0, 2.0)}
SCHEMA = {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "prompt": "{{ text }}",
    "response_schema": SCHEMA,
    "escalate_to": "big",
    "routes": [
        {"when": "chars > 30", "model": "large"},
        {"when": "text == 'never'", "model": "large"},
    ],
}
LONG, STUBBORN, SHORT = "a long text " * 4, "a stubborn text " * 4, "short"
NATIVE = {"twin": "openai", "model": "native", "text": "{}", "custom_id": "n"}


class Job:
    """One job of twin's rows; `unknown`: models without a price."""

    def __init__(self, data: bytes, name: str = "t.jsonl", *unknown: str, **more: Any) -> None:
        self.twin = TwinProvider("openai")
        self.twin.say = self._say
        table: dict[str, Rates] = {
            f"openai/{model}": rates_of(*each)
            for model, each in PRICES.items()
            if model not in unknown
        }
        world = World(
            dialects=(TwinDialect("openai"),),
            providers={"openai": lambda: self.twin},
            recipes=TwinRecipes(),
            prices=MemoryPrices(table),
            on_wait=lambda _: self.twin.tick(),
            caps=Caps(rows=2),
        )
        world.inputs.others["recipe.json"] = json.dumps({**RECIPE, **more}).encode()
        self.summary = world.run(world.drop(name, data))

    def _say(self, text: str) -> str:
        misfits = text.startswith("a stubborn") and self.twin.billed[text] == 1
        return "no JSON" if misfits else json.dumps({"kind": text})

    def paid(self, *texts: str, model: str | None = None) -> dict[str, float]:
        """By the twin's books, or as if `model` had said the same."""
        actual = sum(
            count * picodollars(PRICES[model or used][side == "output"]) // 2_000_000
            for (used, text, side), count in self.twin.used.items()
            if text in texts
        )
        return {"actual_usd": actual / DOLLAR, "list_usd": 2 * actual / DOLLAR}


DATA = jsonl(
    [
        {"id": 1, "text": SHORT},
        {"id": 2, "text": LONG},
        {"id": 3, "text": STUBBORN},
        NATIVE,
        {"id": 4, "text": "bad one"},
        {"id": 5, "text": ""},
    ]
)


def test_each_route_has_its_dollars_escalated_rows_and_failures_included() -> None:
    job = Job(DATA)
    assert job.summary["rows"] == {"total": 6, "succeeded": 4, "failed": 1, "invalid": 1}
    assert {used for used, *_ in job.twin.used} == {"small", "large", "big", "native"}
    assert job.summary["routes"] == [
        {"when": "chars > 30", "model": "large", "rows": 2, **job.paid(LONG, STUBBORN)},
        {"when": "text == 'never'", "model": "large", "rows": 0, **job.paid()},
        {"when": None, "model": "small", "rows": 2, **job.paid(SHORT, "bad one")},
    ]
    made = (SHORT, LONG, STUBBORN, "bad one")
    assert job.summary["one_model"] == {"model": "small", **job.paid(*made, model="small")}
    told = sum(way["actual_usd"] for way in job.summary["routes"])
    native = job.summary["cost"]["by_model"]["openai/native"]["actual_usd"]
    assert told + native == pytest.approx(job.summary["cost"]["actual_usd"])


def test_the_recipes_own_model_is_priced_though_no_row_went_to_it() -> None:
    job = Job(b"id,text\n1," + LONG.encode() + b"\n", "t.csv", escalate_to=None)
    assert {used for used, *_ in job.twin.used} == {"large"}
    assert job.summary["one_model"] == {"model": "small", **job.paid(LONG, model="small")}
    assert job.summary["routes"][-1]["actual_usd"] == 0


def test_a_price_that_nobody_knows_is_null() -> None:
    unknown = {"actual_usd": None, "list_usd": None}
    job = Job(DATA, "t.jsonl", "large")
    paid = [{side: way[side] for side in unknown} for way in job.summary["routes"]]
    assert paid == [unknown, job.paid(), job.paid(SHORT, "bad one")]
    assert job.summary["one_model"]["actual_usd"] is not None
    job = Job(DATA, "t.jsonl", "small")
    assert job.summary["one_model"] == {"model": "small", **unknown}
    assert job.summary["routes"][0]["actual_usd"] is not None


def test_a_stronger_model_that_only_a_later_round_needs_has_its_price() -> None:
    job = Job(jsonl([{"id": 1, "text": STUBBORN}]), routes=[])
    assert job.summary["cost"]["by_model"]["openai/big"]["price"] == "library"
    assert job.summary["cost"]["actual_usd"] == job.paid(STUBBORN)["actual_usd"]
    assert "routes" not in job.summary
    assert "one_model" not in job.summary


def test_what_a_lost_batch_cost_is_unknown_for_its_route_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from functions.batch.errors import Missing

    def gone(self: TwinProvider, batch_id: str) -> Any:
        raise Missing("gone", batch_id)

    monkeypatch.setattr(TwinProvider, "poll", gone)
    job = Job(jsonl([{"id": 1, "text": SHORT}]))
    assert job.summary["status"] == "failed"
    assert job.summary["routes"][-1]["actual_usd"] is None
    assert job.summary["one_model"]["actual_usd"] is None
