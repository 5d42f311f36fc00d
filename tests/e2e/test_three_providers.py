"""Rows of all three providers side by side in one file, and what each makes of odd ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.simulator.answers import digest
from tests.support.deployment import Deployment
from tests.support.lines import body, jsonl, line
from tests.support.mixed_lines import claude, gemini, of_each, request_of
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e

ODD_IDS = ["x" * 300, "\N{GRINNING FACE}", "again", "again", "12345", "a/b c", ""]


def test_one_file_for_all_three(stack: Deployment, sim: Simulator) -> None:
    rows = [row for n, odd in enumerate(ODD_IDS) for row in of_each(odd, f"odd {n}")]
    rows += [row for n in range(60) for row in of_each(f"id-{n}", f"question {n}")]
    job = stack.drop("all.jsonl", jsonl(rows))
    summary = stack.finish(job)
    assert summary["status"] == "succeeded", summary["reason"]
    results = stack.results(job)
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    assert [result["provider"] for result in results[:3]] == ["openai", "anthropic", "vertex"]
    for row, result in zip(rows, results, strict=True):
        assert result["text"].split()[1] == digest(request_of(row))
        assert result["usage"]["input_tokens"] > 0
    assert len(summary["batches"]) == 3
    files = summary["provider_files"]
    assert files["created"] == files["deleted"] > 6
    for told in sim.ledger()["providers"].values():
        assert told["files_left"] == []


def test_one_poison_row_at_each_provider(stack: Deployment, sim: Simulator) -> None:
    """Only OpenAI names the line; the others are halved until the row is found."""
    rows = [row for n in range(12) for row in of_each(f"{n}", f"question {n}")]
    poison = ("[[sim:poison]]", "[[sim:status=400]]", "[[sim:poison_unnamed]]")
    rows += [row for row, _ in zip(of_each("bad", ""), poison, strict=True)]
    rows[-3] = line("bad", body(poison[0]))
    rows[-2] = claude("bad", poison[1])
    rows[-1] = gemini("bad", poison[2])
    job = stack.drop("poison.jsonl", jsonl(rows))
    summary = stack.finish(job, seconds=420)
    assert summary["rows"] == {"total": 39, "succeeded": 36, "failed": 3, "invalid": 0}
    assert [result["status"] for result in stack.results(job)[-3:]] == ["failed"] * 3
    failed = stack.read(job, "failed.jsonl") or b""
    assert [json.loads(each)["custom_id"] for each in failed.splitlines()] == ["bad"] * 3
    for told in sim.ledger()["providers"].values():
        assert told["files_left"] == []


def test_a_missing_key_stops_only_its_own_provider(keyless: Deployment, sim: Simulator) -> None:
    keyless.set_key("sk-only-openai")
    rows = [row for n in range(3) for row in of_each(f"{n}", f"question {n}")]
    job = keyless.drop("partly.jsonl", jsonl(rows))
    summary = keyless.finish(job)
    assert summary["status"] == "partial"
    results = stack_by_provider(keyless, job)
    assert {result["status"] for result in results["openai"]} == {"succeeded"}
    for provider in ("anthropic", "vertex"):
        for result in results[provider]:
            assert result["error"]["code"] == "missing_key"
            assert f"batchdrop keys set {provider}" in result["error"]["message"]


def stack_by_provider(stack: Deployment, job: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in stack.results(job):
        found.setdefault(result["provider"], []).append(result)
    return found
