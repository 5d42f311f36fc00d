"""Rows that ask for the same, in one file and in the next one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.deployment import Deployment
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e

MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "vertex": "gemini-2.5-flash"}
ROWS = 60


def table(numbers: list[int]) -> bytes:
    return b"id,text\n" + b"".join(b"%d,text %d\n" % each for each in enumerate(numbers))


def batch_rows(summary: dict[str, Any]) -> int:
    return sum(batch["rows"] for batch in summary["batches"])


def test_nobody_is_asked_twice(stack: Deployment, sim: Simulator) -> None:
    numbers = [number // 2 for number in range(ROWS)]
    first: dict[str, str] = {}
    for provider, model in MODELS.items():
        recipe = {
            "provider": provider,
            "model": model,
            "id": "id",
            "prompt": "Say {{ text }}",
            "max_tokens": 50,
            "dedupe": True,
        }
        stack.s3.put_object(
            Bucket=stack.outputs["InboxBucket"],
            Key=f"twice/{provider}/recipe.json",
            Body=json.dumps(recipe).encode(),
        )
        first[provider] = stack.drop(f"twice/{provider}/one.csv", table(numbers))
    told: dict[str, dict[str, str]] = {}
    for provider, job in first.items():
        summary = stack.finish(job, seconds=420)
        assert summary["status"] == "succeeded", summary["reason"]
        assert batch_rows(summary) == ROWS // 2
        assert summary["dedupe"]["within_the_job"] == ROWS // 2
        lines = stack.results(job)
        assert [each["custom_id"] for each in lines] == [str(number) for number in range(ROWS)]
        assert [each.get("cached", False) for each in lines] == [False, True] * (ROWS // 2)
        assert len({each["text"] for each in lines}) == ROWS // 2
        assert all(
            one["text"] == two["text"] for one, two in zip(lines[::2], lines[1::2], strict=True)
        )
        told[provider] = {f"text {numbers[n]}": each["text"] for n, each in enumerate(lines)}
    later = [*range(ROWS // 2 + 5)]
    second = {
        provider: stack.drop(f"twice/{provider}/two.csv", table(later)) for provider in MODELS
    }
    for provider, job in second.items():
        summary = stack.finish(job, seconds=420)
        assert summary["status"] == "succeeded", summary["reason"]
        assert batch_rows(summary) == 5
        assert summary["dedupe"]["from_earlier_jobs"] == ROWS // 2
        assert summary["dedupe"]["saved_usd"] > 0
        lines = stack.results(job)
        for number, each in enumerate(lines[:-5]):
            assert each["text"] == told[provider][f"text {number}"]
            assert (each["cached"], each["cost_usd"], each["provider"]) == (True, 0, provider)
        assert not any("cached" in each for each in lines[-5:])
