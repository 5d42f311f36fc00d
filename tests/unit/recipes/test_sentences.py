"""Each row of the tables in docs/recipes.md is what really happens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from functions.batch.errors import BadRecipe
from functions.batch.outcomes import range_results
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from functions.recipes.adapter import RecipeFiles
from functions.recipes.reading import read
from tests.support.driver import World

DOCS = Path(__file__).resolve().parents[3] / "docs" / "recipes.md"
KEYS: dict[str, Any] = {"provider": "openai", "model": "gpt-5-mini", "prompt": "{{ text }}"}
ROWS = {
    **KEYS,
    "id": "id",
    "prompt": "{% if n is defined %}{{ 9 / n }}{% endif %}{{ text }}",
}


def table(head: str) -> list[list[str]]:
    """The cells of the table under that header, with code unwrapped."""
    text = DOCS.read_text()
    rows = text[text.index(head) + len(head) :].lstrip("\n").split("\n\n")[0].splitlines()[1:]
    cells = [re.split(r"(?<!\\)\|", row.strip("| ")) for row in rows]
    return [[_unwrapped(cell.strip()) for cell in row] for row in cells]


def _unwrapped(cell: str) -> str:
    lines = cell.split("<br>")
    if all(line.startswith("`") and line.endswith("`") for line in lines):
        cell = "\n".join(line[1:-1] for line in lines)
    return cell.replace("\\|", "|")


def told(name: str, data: bytes) -> str:
    with pytest.raises(BadRecipe) as raised:
        RecipeFiles().prepare(name, data, "data")
    return str(raised.value)


@pytest.mark.parametrize(("keys", "sentence"), table("| key | sentence |"))
def test_a_recipe_whose_keys_are_wrong(keys: str, sentence: str) -> None:
    changed = read("some.yaml", keys.encode())
    given = {name: value for name, value in {**KEYS, **changed}.items() if value is not None}
    assert told("a/recipe.json", json.dumps(given).encode()) == f"a/recipe.json: {sentence}"


@pytest.mark.parametrize(("text", "sentence"), table("| recipe.yaml | sentence |"))
def test_a_recipe_that_cannot_be_read(text: str, sentence: str) -> None:
    assert told("recipe.yaml", text.encode()) == sentence


@pytest.mark.parametrize(("row", "code", "sentence"), table("| row | code | sentence |"))
def test_a_row_that_cannot_be_sent(row: str, code: str, sentence: str) -> None:
    world = World(dialects=(OpenAIDialect(), AnthropicDialect(), VertexDialect()), providers={})
    world.inputs.others["recipe.json"] = json.dumps(ROWS).encode()
    is_csv = not row.startswith(("{", "["))
    before = b"id,text\n1,a\n" if is_csv else b'{"id": 1, "text": "a"}\n'
    after = b"2,b\n" if is_csv else b'{"id": 2, "text": "b"}\n'
    line = row.encode().replace(b"\\xff", b"\xff") + b"\n"
    identity = world.drop("a.csv" if is_csv else "a.jsonl", before + line + after)
    world.plan(identity)
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    [result] = range_results(world.work, identity)
    assert (result.rows, result.invalid) == (3, 1)
    assert [(name, tally.message) for name, tally in result.problems.items()] == [(code, sentence)]


def test_there_are_enough_of_them() -> None:
    heads = ("| key | sentence |", "| recipe.yaml | sentence |", "| row | code | sentence |")
    assert sum(len(table(head)) for head in heads) >= 30
