"""A deployment of one provider that echoes, for jobs of rows of data and their recipe."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from tests.support.driver import World
from tests.support.echo_provider import EchoProvider
from tests.support.in_process_recipes import InProcessRecipes
from tests.support.money_twins import MemoryPrices, rates_of

RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "prompt": "Sort {{ text }}",
    "output": {"csv": True},
}
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["bug", "question"]}},
    "required": ["kind"],
}


def world_of(echo: EchoProvider, recipe: dict[str, Any] | None = None, **keys: Any) -> World:
    world = World(
        dialects=(OpenAIDialect(), VertexDialect()),
        providers={"openai": lambda: echo},
        recipes=InProcessRecipes(),
        prices=MemoryPrices({"openai/gpt-5-mini": rates_of(0.3, 1)}),
        allowance=1_000,
    )
    if recipe is not None:
        world.inputs.others["recipe.json"] = json.dumps({**recipe, **keys}).encode()
    return world


def sheet(world: World, job: str, name: str = "results.csv") -> list[list[str]]:
    text = world.results.get(f"{job}/{name}").decode()
    return list(csv.reader(io.StringIO(text, newline="")))
