"""A deployment of one twin provider whose recipe says `dedupe`, and what rows cost there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from functions.batch.money import DOLLAR, picodollars
from tests.support.driver import World
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes

INPUT, OUTPUT = 1.0, 4.0
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "prompt": "{{ text }}",
    "dedupe": True,
}


def world_of(twin: TwinProvider, **keys: Any) -> World:
    world = World(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        recipes=TwinRecipes(),
        on_wait=lambda _: twin.tick(),
        prices=MemoryPrices(
            {f"openai/{name}": rates_of(INPUT, OUTPUT) for name in ("small", "big", "other")}
        ),
    )
    world.inputs.others["in/recipe.json"] = json.dumps({**RECIPE, **keys}).encode()
    return world


def table(texts: Sequence[str]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["id", "text"])
    writer.writerows([f"id {number}", text] for number, text in enumerate(texts))
    return out.getvalue().encode()


def dropped(world: World, texts: Sequence[str], name: str = "t") -> str:
    return world.drop(f"in/{name}.csv", table(texts))


def paid(*texts: str) -> float:
    """Dollars, in a batch."""
    amount = sum(
        len(text) * picodollars(INPUT) + len(f"echo {text}") * picodollars(OUTPUT) for text in texts
    )
    return amount / 2_000_000 / DOLLAR
