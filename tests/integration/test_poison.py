"""One row among a thousand for which a provider refuses the whole batch, or which it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from functions.providers.anthropic.client import AnthropicProvider
from functions.providers.anthropic.client import make_client as anthropic_client
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.client import OpenAIProvider
from functions.providers.openai.client import make_client as openai_client
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.client import VertexProvider
from functions.providers.vertex.client import make_client as vertex_client
from functions.providers.vertex.dialect import VertexDialect
from tests.support import anthropic_lines, lines
from tests.support.driver import World
from tests.support.simulator import Simulator

ROWS, POISONED = 1000, 617
GOOGLE = {"project": "p", "location": "us-central1", "bucket": "batches", "anonymous": True}


def openai(text: str, custom_id: str) -> dict[str, Any]:
    return lines.line(custom_id, lines.body(text))


def claude(text: str, custom_id: str) -> dict[str, Any]:
    return anthropic_lines.row(custom_id, anthropic_lines.params(text))


def gemini(text: str, custom_id: str) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"custom_id": custom_id, "model": "gemini-2.5-flash", "request": request}


@pytest.fixture
def three(sim: Simulator) -> Iterator[World]:
    google = vertex_client(json.dumps(GOOGLE), f"{sim.url}/vertex", f"{sim.url}/gcs")
    with (
        openai_client("sk-test", sim.openai_url) as gpt,
        anthropic_client("sk-test", f"{sim.url}/anthropic") as anthropic,
        closing(google),
    ):
        yield World(
            dialects=(OpenAIDialect(), AnthropicDialect(), VertexDialect()),
            providers={
                "openai": lambda: OpenAIProvider(gpt),
                "anthropic": lambda: AnthropicProvider(anthropic),
                "vertex": lambda: VertexProvider(google),
            },
            on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
        )


@pytest.mark.parametrize(
    ("row", "marker", "most_batches"),
    [
        # The line is named: it alone is set aside, and the rest goes again.
        pytest.param(openai, "poison", 2, id="openai, named"),
        # No line is named: the shard is halved until the row is alone, ten times for 1,000 rows.
        pytest.param(openai, "poison_unnamed", 21, id="openai, unnamed"),
        pytest.param(gemini, "poison_unnamed", 21, id="vertex"),
        pytest.param(claude, "poison_unnamed", 21, id="anthropic, the batch"),
        # What Anthropic finds wrong with `params` it tells of the row alone.
        pytest.param(claude, "status=400", 1, id="anthropic, the row"),
    ],
)
def test_one_poison_row_among_a_thousand(
    three: World,
    sim: Simulator,
    row: Callable[[str, str], dict[str, Any]],
    marker: str,
    most_batches: int,
) -> None:
    rows = [row(f"question {n}", f"id-{n}") for n in range(ROWS)]
    rows[POISONED] = row(f"[[sim:{marker}]]", f"id-{POISONED}")
    job_id = three.drop("poison.jsonl", lines.jsonl(rows))
    summary = three.run(job_id)
    assert summary["status"] == "partial"
    assert summary["rows"] == {"total": ROWS, "succeeded": ROWS - 1, "failed": 1, "invalid": 0}
    results = three.result_lines(job_id)
    assert [result["custom_id"] for result in results] == [f"id-{n}" for n in range(ROWS)]
    (told,) = [result for result in results if result["status"] != "succeeded"]
    assert told["row"] == POISONED
    assert told["error"]["message"]
    assert told["error"]["retryable"] is False
    failed = three.results.get(f"{job_id}/failed.jsonl")
    assert [json.loads(each)["custom_id"] for each in failed.splitlines()] == [f"id-{POISONED}"]
    assert len(summary["batches"]) <= most_batches
    assert summary["provider_files"]["left"] == 0
    for books in sim.ledger()["providers"].values():
        assert books["files_left"] == []
    answered = sum(books["rows_answered"] for books in sim.ledger()["providers"].values())
    assert answered == ROWS - 1
