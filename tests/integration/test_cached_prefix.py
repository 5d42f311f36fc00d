"""A prefix that many rows share, from the recipe to the books of the simulator, in whose cache
requests that run side by side do not find what another one of them writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from functions.prices.library import PriceLibrary
from functions.providers.anthropic.client import AnthropicProvider, make_client
from functions.providers.anthropic.dialect import AnthropicDialect
from tests.support.driver import World
from tests.support.simulator import Simulator

MODEL = "claude-haiku-4-5"
RECIPE: dict[str, Any] = {
    "provider": "anthropic",
    "model": MODEL,
    "id": "id",
    "system": "glossary entry number seven " * 4_600,
    "prompt": "Translate {{ text }}",
    "max_tokens": 50,
    "cache": "auto",
}
PREFIX = 20_000
ROWS = 1_000


@pytest.fixture
def claude(sim: Simulator) -> Iterator[World]:
    with make_client("sk-ant-test", f"{sim.url}/anthropic") as client:
        provider = AnthropicProvider(client)
        yield World(
            dialects=(AnthropicDialect(),),
            providers={"anthropic": lambda: provider},
            prices=PriceLibrary(),
            on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
        )


def table(rows: int) -> bytes:
    return ("id,text\n" + "".join(f"{n},text {n}\n" for n in range(rows))).encode()


def run(world: World, rows: int, **recipe: Any) -> dict[str, Any]:
    world.inputs.others["recipe.json"] = json.dumps({**RECIPE, **recipe}).encode()
    return world.run(world.drop("table.csv", table(rows)))


def books(sim: Simulator) -> Any:
    return sim.ledger()["tokens"][f"anthropic/{MODEL}"]


def test_of_20_000_tokens_over_1_000_rows_all_but_one_are_read(
    claude: World, sim: Simulator
) -> None:
    summary = run(claude, ROWS)
    assert summary["status"] == "succeeded"
    assert [batch["rows"] for batch in summary["batches"]] == [1, ROWS - 1]
    cache, told = summary["cache"], books(sim)
    prefix = told["cache_write_1h"]
    assert prefix > PREFIX
    assert told["cached_input"] == (ROWS - 1) * prefix
    assert cache["cached_input_tokens"] == told["cached_input"]
    assert cache["cache_write_tokens"] == prefix
    assert cache["hit_rate"] > 0.99
    # Haiku's tokens cost $0.50 a million in a batch, $0.05 read, $1.00 written.
    saved = ((ROWS - 1) * 0.45 - 0.5) * prefix / 1e6
    assert cache["saved_usd"] == pytest.approx(saved)


def test_a_cache_that_ran_out_before_the_others_went_is_written_anew(
    claude: World, sim: Simulator
) -> None:
    """As after a batch of more than an hour: an eighth of the rows begins before it is there."""
    sim.admin("settings", {"cache_1h_seconds": 0.01})
    summary = run(claude, 80)
    assert [batch["rows"] for batch in summary["batches"]] == [1, 79]
    assert summary["rows"]["succeeded"] == 80
    assert summary["cache"]["cache_write_tokens"] >= 10 * PREFIX


def test_rows_that_all_go_at_once_write_side_by_side(claude: World, sim: Simulator) -> None:
    """What a row that goes first is for. By these prices a read saves nothing, so none does."""
    summary = run(claude, 80, prices={f"anthropic/{MODEL}": {"input": 1, "output": 5}})
    assert [batch["rows"] for batch in summary["batches"]] == [80]
    told = books(sim)
    assert told["cached_input"] / (told["cached_input"] + told["cache_write_1h"]) == 7 / 8


DOCUMENT = "clause number seven of the contract " * 1_500
"""About 10,000 tokens."""


def test_a_document_that_rows_share_is_read_and_one_of_its_own_is_not_written(
    claude: World, sim: Simulator
) -> None:
    claude.inputs.others |= {
        "_files/contract.txt": DOCUMENT.encode(),
        **{f"_files/own{n}.txt": f"{n} {DOCUMENT}".encode() for n in range(3)},
    }
    names = ["contract.txt"] * 78 + ["own1.txt", "own2.txt", "own2.txt"]
    rows = "".join(f"{n},text {n},_files/{name}\n" for n, name in enumerate(names))
    recipe: dict[str, Any] = {name: each for name, each in RECIPE.items() if name != "system"}
    claude.inputs.others["recipe.json"] = json.dumps(recipe).encode()
    summary = claude.run(claude.drop("table.csv", f"id,text,s3_key\n{rows}".encode()))
    assert summary["status"] == "succeeded"
    usages = [result["usage"] for result in claude.result_lines(summary["job_id"])]
    used = [bool(each["cached_input_tokens"] or each["cache_write_tokens"]) for each in usages]
    assert used == [True] * 78 + [False] * 3
    written = [each["cache_write_tokens"] for each in usages if each["cache_write_tokens"]]
    assert len(written) <= 11, "those that ran side by side in the first eighth"
    assert min(written) > 8_000
    assert summary["cache"]["note"] is None


def test_a_document_after_what_all_rows_share_needs_two_marks(
    claude: World, sim: Simulator
) -> None:
    """Each document is written once more for each prefix, and the prefix read by all rows."""
    tools = [{"name": "note", "description": "Takes a note.", "input_schema": {"type": "object"}}]
    messages = [
        {"role": "user", "content": "An example."},
        {"role": "assistant", "content": "Understood."},
        {"role": "user", "content": "Translate {{ text }}"},
    ]
    claude.inputs.others |= {f"_files/{n}.txt": f"{n} {DOCUMENT}".encode() for n in range(2)}
    rows = "".join(f"{n},text {n},_files/{n % 2}.txt\n" for n in range(80))
    recipe = {**RECIPE, "messages": messages, "params": {"tools": tools}}
    del recipe["prompt"]
    claude.inputs.others["recipe.json"] = json.dumps(recipe).encode()
    summary = claude.run(claude.drop("table.csv", f"id,text,s3_key\n{rows}".encode()))
    assert summary["status"] == "succeeded"
    first, *others = [each["usage"] for each in claude.result_lines(summary["job_id"])]
    assert first["cache_write_tokens"] > PREFIX + 8_000
    assert {each["cached_input_tokens"] > PREFIX for each in others} == {True}


def test_a_document_behind_what_differs_is_not_marked(claude: World, sim: Simulator) -> None:
    claude.inputs.others["_files/contract.txt"] = DOCUMENT.encode()
    rows = "".join(f"{n},text {n},_files/contract.txt\n" for n in range(20))
    recipe = {**RECIPE, "system": "You translate {{ text }}."}
    claude.inputs.others["recipe.json"] = json.dumps(recipe).encode()
    summary = claude.run(claude.drop("table.csv", f"id,text,s3_key\n{rows}".encode()))
    assert summary["status"] == "succeeded"
    assert (summary["cache"]["cache_write_tokens"], summary["cache"]["hit_rate"]) == (0, 0)
