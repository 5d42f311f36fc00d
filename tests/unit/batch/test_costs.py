"""The bill of a job, as its summary, its rows and its rollups tell it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.batch.model import BatchState, ProviderObject, Shard, now
from functions.batch.money import Bill
from functions.batch.rows import Caps
from functions.batch.sending import laps
from functions.batch.spending.rollups import sums, turnaround
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line
from tests.support.priced_job import MODEL, PricedWorld

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = 10_000


def answer(row: str, usage: dict[str, Any]) -> bytes:
    message = {"choices": [{"message": {"content": "yes"}}], "usage": usage}
    response = {"status_code": 200, "body": message}
    return json.dumps({"custom_id": row, "response": response, "error": None}).encode()


def test_the_sum_of_the_guide(world: World, provider: FakeProvider) -> None:
    """10,000 documents of 2,000 tokens in and 500 out, at $0.30 and $1.00 per million: the table
    in `docs/costs.md`."""
    world.overrides = {"openai/gpt-5-mini": {"input": Decimal("0.30"), "output": Decimal("1.00")}}
    rows = [line(f"{n}", body(f"q{n}", max_completion_tokens=500)) for n in range(DOCUMENTS)]
    world.canary_above = DOCUMENTS
    job_id = world.drop("guide.jsonl", jsonl(rows))
    outputs = [ProviderObject(kind="output_file", id="out")]
    ended = BatchState(status="completed", outcome="ended", complete=True, outputs=outputs)
    provider.script["poll"] = [ended]
    usage = {"prompt_tokens": 2_000, "completion_tokens": 500}
    provider.lines = [
        answer(f"r000000-{n:09d}-{job_id[-8:]}-01-00001-1", usage) for n in range(DOCUMENTS)
    ]
    summary = world.run(job_id)
    assert summary["rows"]["succeeded"] == DOCUMENTS
    cost = summary["cost"]
    assert (cost["list_usd"], cost["actual_usd"], cost["saved_usd"]) == (11.0, 5.5, 5.5)
    assert cost["by_model"] == {
        "openai/gpt-5-mini": {
            "rows": DOCUMENTS,
            "input_tokens": 20_000_000,
            "cached_input_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": 5_000_000,
            "actual_usd": 5.5,
            "list_usd": 11.0,
            "saved_usd": 5.5,
            "unpriced_rows": 0,
            "list_price_rows": 0,
            "price": "override",
        }
    }
    table = (ROOT / "docs/costs.md").read_text()
    assert "| **all** | 25,000,000 | **$11.00** | **$5.50** | **$5.50** |" in table
    first = world.results.get(f"{job_id}/results.jsonl").partition(b"\n")[0]
    assert first.endswith(b'"cost_usd":0.00055,"list_cost_usd":0.0011}')
    assert world.ledger.job(job_id).bill == Bill(
        rows=DOCUMENTS,
        input_tokens=20_000_000,
        output_tokens=5_000_000,
        actual=5_500_000_000_000,
        listed=11_000_000_000_000,
    )


def test_a_batch_is_rolled_up_once_by_model_and_by_folder() -> None:
    world = PricedWorld(caps=Caps(rows=3))
    job_id = world.submit([f"text {n}" for n in range(7)], "2026/in/a.jsonl")
    world.run(job_id)
    for shard in world.ledger.shards(job_id):
        world.rollups.add(shard, "2026/in", "1999-01-01")
    today = now()[:10]
    assert set(world.rollups.sums) == {
        (today, "MODEL#openai#m"),
        (today, "FOLDER#2026/in"),
    }
    for found in world.rollups.sums.values():
        assert (found["batches"], found["rows_succeeded"], found["rows_billed"]) == (3, 7, 7)
        assert found["actual"] == world.charged() == found["listed"] // 2
        assert found["input_tokens"] == world.twin.tokens["input"]


def test_metrics_are_told_once_for_each_batch_and_job() -> None:
    world = PricedWorld(caps=Caps(rows=3))
    job_id = world.submit([f"text {n}" for n in range(7)])
    world.run(job_id)
    world.collector("openai").collect(job_id, "01-00001")
    world.reporter().report(job_id, None)
    assert [shard.shard_id for shard in world.metrics.batches] == [
        "01-00001",
        "01-00002",
        "01-00003",
    ]
    assert sum(shard.bill.actual for shard in world.metrics.batches if shard.bill) == (
        world.charged()
    )
    assert [job.status for job in world.metrics.jobs] == ["succeeded"]


def test_a_batch_that_was_never_made_is_in_no_rollup() -> None:
    world = PricedWorld()
    job_id = world.submit(["text"])
    world.command("Cancel Job", job_id=job_id)
    world.run(job_id)
    assert world.rollups.sums == {}


def shard(**fields: Any) -> Shard:
    return Shard(
        job_id="j",
        shard_id="01-00001",
        round=1,
        number=1,
        provider="openai",
        endpoint="/e",
        model="m",
        rows=1,
        bytes=1,
        **fields,
    )


@pytest.mark.parametrize(
    ("began", "ended", "seconds"),
    [
        ("2026-11-22T01:00:00.000Z", "2026-11-22T02:00:30.500Z", 3_630),
        ("2026-11-22T01:00:00.000Z", "2026-11-22T00:59:59.000Z", 0),
        ("2026-11-22T01:00:00.000Z", None, None),
        (None, "2026-11-22T01:00:00.000Z", None),
    ],
)
def test_a_turnaround_is_from_a_batchs_creation_to_its_end(
    began: str | None, ended: str | None, seconds: int | None
) -> None:
    made = shard(submitted_at=began, ended_at=ended)
    assert turnaround(made) == seconds
    assert sums(made)["turnaround_seconds"] == (seconds or 0)


def test_answers_that_nobody_can_read_cost_what_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The batch vanished: it may have been billed. What was reserved for it is kept."""
    world = PricedWorld(daily_budget_usd=Decimal(5))
    poll = world.twin.poll
    gone: list[str] = []

    def vanish(batch_id: str) -> BatchState:
        gone.append(batch_id) if not gone else None
        if batch_id == gone[0]:
            world.twin.batches.pop(batch_id, None)
        return poll(batch_id)

    monkeypatch.setattr(world.twin, "poll", vanish)
    job_id = world.submit(["text 1", "text 2"])
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    assert [batch["status"] for batch in summary["batches"]] == ["gone", "completed"]
    assert (summary["cost"]["actual_usd"], summary["cost"]["unpriced_rows"]) == (None, 2)
    assert {each["cost_usd"] for each in world.result_lines(job_id)} == {None}
    [lease] = world.budgets.leases.values()
    assert list(world.budgets.committed.values()) == [lease.reserved]
    assert world.ledger.job(job_id).bill is not None
    assert MODEL in summary["cost"]["by_model"]


def test_a_job_that_broke_keeps_what_it_may_have_spent() -> None:
    world = PricedWorld(daily_budget_usd=Decimal(5))
    job_id = world.submit(["text 1"])
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.admit(job_id)
    world.open_round(job_id, 1)
    world.submitter("openai").submit(job_id, "01-00001", laps.first())
    [lease] = world.budgets.leases.values()
    world.reporter().report(job_id, None)
    assert list(world.budgets.committed.values()) == [lease.reserved]
    assert world.budgets.settled[job_id] == 1
