"""Rows of data that come before their recipe: who waits for it, how long, and what then."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from functions.batch.reading.planning import WAIT_LAPS, WAIT_SECONDS
from tests.support.echo_provider import EchoProvider
from tests.support.lines import body, jsonl, line
from tests.support.recipe_job import RECIPE, world_of


def test_a_file_waits_for_its_recipe(echo: EchoProvider) -> None:
    world = world_of(echo)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            world.inputs.others["in/recipe.yaml"] = json.dumps(RECIPE).encode()

    world.on_wait = wait
    job = world.drop("in/t.csv", b"id,text\n1,a\n")
    assert world.run(job)["status"] == "succeeded"
    assert waited[:3] == [WAIT_SECONDS] * 3
    assert WAIT_LAPS * WAIT_SECONDS == 60


@pytest.mark.parametrize(
    ("name", "data", "laps", "status", "code"),
    [
        ("t.csv", b"id,text\n1,a\n", WAIT_LAPS, "rejected", "needs_recipe"),
        ("t.jsonl", b'{"id": 1, "text": "a"}\n', WAIT_LAPS, "failed", "needs_recipe"),
        ("t.jsonl.gz", gzip.compress(b'{"id": 1}\n', mtime=0), WAIT_LAPS, "failed", "needs_recipe"),
        ("t.jsonl", b"\xff\n{\n", 0, "failed", "not_utf8"),
        ("t.jsonl", jsonl([line("a", body("x", stream=True))]), 0, "failed", "stream"),
    ],
)
def test_only_rows_of_data_wait(
    echo: EchoProvider, name: str, data: bytes, laps: int, status: str, code: str
) -> None:
    world = world_of(echo)
    waited: list[float] = []
    world.on_wait = waited.append
    job = world.drop(name, data)
    summary = world.run(job)
    assert (summary["status"], summary["reason"]["code"]) == (status, code)
    assert len(waited) == laps


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("t.jsonl", b'{\n  "id": 1,\n  "text": "a"\n}\n', "failed", "not_json"),
        ("t.jsonl", b"\n \r\n", "rejected", "empty"),
        ("t.jsonl.gz", b'{"id": 1}\n', "rejected", "damaged"),
    ],
)
@pytest.mark.parametrize("recipe", [RECIPE, {"max_cost_usd": 5}, {"provider": "vertex"}])
def test_rows_that_cannot_be_read_are_not_the_recipes_fault(
    echo: EchoProvider, recipe: dict[str, Any], name: str, data: bytes, status: str, code: str
) -> None:
    """It was said that the rows were requests already, so that people mended the recipe."""
    world = world_of(echo, recipe)
    summary = world.run(world.drop(name, data))
    assert (summary["status"], summary["reason"]["code"]) == (status, code)


def test_a_recipe_that_is_for_no_kind_of_rows_is_told(echo: EchoProvider) -> None:
    world = world_of(echo, {"provider": "openai", "prompt": "{{ text }}"})
    summary = world.run(world.drop("t.jsonl", b"{\n"))
    assert summary["reason"]["message"].startswith("recipe.json: model is missing")


def test_a_cancelled_job_waits_for_nothing(echo: EchoProvider) -> None:
    world = world_of(echo)
    job = world.drop("t.csv", b"id\n1\n")
    world.ledger.update_job(job, {"cancel_requested": True})
    assert world.plan(job).next == "report"


@pytest.mark.parametrize("wait", [1, WAIT_LAPS])
@pytest.mark.parametrize(
    ("name", "data", "reason", "rows"),
    [("t.csv", b"id\n1\n", "cancelled", 0), ("t.jsonl", b'{"id": 1}\n', "needs_recipe", 1)],
)
def test_a_job_cancelled_while_it_waits_for_a_recipe_is_cancelled(
    echo: EchoProvider, name: str, data: bytes, reason: str, rows: int, wait: int
) -> None:
    """Rows of JSONL can be told all the same."""
    world = world_of(echo)
    job = world.drop(name, data)
    waited: list[float] = []

    def cancel(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == wait:
            assert world.command("Cancel Job", job_id=job)

    world.on_wait = cancel
    summary = world.run(job)
    assert len(waited) == wait
    assert summary["status"] == world.ledger.job(job).status == "cancelled"
    assert summary["reason"]["code"] == reason
    assert summary["rows"]["total"] == rows
    assert world.reporter().report(job, None) == "cancelled"
