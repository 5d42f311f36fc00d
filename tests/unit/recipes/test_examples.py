"""The example recipes over their own data, dirty rows included, without a cloud."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from functions.batch.outcomes import range_results
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from tests.support.driver import World

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ROWS = 900


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import subprocess

    folder = tmp_path_factory.mktemp("data")
    subprocess.run(
        [sys.executable, str(EXAMPLES / "make_data.py"), "--out", str(folder), "--rows", f"{ROWS}"],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize(
    ("name", "endpoint", "models", "problems"),
    [
        (
            "tickets.csv",
            "/v1/chat/completions",
            {"gpt-5-mini", "gpt-5.4-mini"},
            {"wrong_cells": 5, "not_utf8": 3, "bad_quotes": 2},
        ),
        (
            "changes.jsonl",
            "/v1/messages",
            {"claude-haiku-4-5"},
            {"missing_column": 3, "not_json": 3, "bad_id": 3, "not_utf8": 3},
        ),
        (
            "corpus.jsonl",
            "/v1/embeddings",
            {"text-embedding-3-small"},
            {"missing_column": 3, "not_json": 3, "bad_id": 3, "not_utf8": 3},
        ),
        ("phrases.csv", "generateContent", {"gemini-2.5-flash"}, {"empty_text": 9}),
    ],
)
def test_an_example(
    data: Path, name: str, endpoint: str, models: set[str], problems: dict[str, int]
) -> None:
    folder = data / name.split(".")[0]
    world = World(dialects=(OpenAIDialect(), AnthropicDialect(), VertexDialect()), providers={})
    world.inputs.others["recipe.yaml"] = (folder / "recipe.yaml").read_bytes()
    job = world.drop(name, (folder / name).read_bytes())
    assert world.plan(job).next == "shard", world.ledger.job(job).reason
    world.shard(job, {"range": 0, "start": 0, "end": None})
    [found] = range_results(world.work, job)
    assert found.rows == ROWS
    assert {code: tally.count for code, tally in found.problems.items()} == problems
    assert {source.group.model for source in found.sources} == models
    assert {source.group.endpoint for source in found.sources} == {endpoint}
    assert {source.group.variant for source in found.sources} == {""}
