"""What a job says that it cost, against the simulator's own books: its tokens, at its prices."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from functions.batch.money import DOLLAR, picodollars
from functions.providers.anthropic import client as anthropic
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai import client as openai
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import client as vertex
from functions.providers.vertex.dialect import VertexDialect
from tests.support.anthropic_lines import params
from tests.support.anthropic_lines import row as claude_line
from tests.support.driver import World
from tests.support.lines import body, embedding, jsonl, line
from tests.support.simulator import Simulator

KEY = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}
LIST = {
    "openai/gpt-5-mini": {"input": "0.3", "output": "1", "cached_input": "0.03"},
    "openai/text-embedding-3-small": {"input": "0.02"},
    "anthropic/claude-haiku-4-5": {
        "input": "1",
        "output": "5",
        "cached_input": "0.1",
        "cache_write": "1.25",
        "cache_write_1h": "2",
    },
    "vertex/gemini-2.5-flash": {"input": "0.3", "output": "2.5", "cached_input": "0.03"},
    "vertex/gemini-embedding-001": {"input": "0.15"},
}
CHARGED = {
    "openai/gpt-5-mini": {"input": 0.15, "output": 0.5, "cached_input": 0.015},
    "openai/text-embedding-3-small": {"input": 0.01},
    "anthropic/claude-haiku-4-5": {
        "input": 0.5,
        "output": 2.5,
        "cached_input": 0.05,
        "cache_write_5m": 0.625,
        "cache_write_1h": 1.0,
    },
    "anthropic/claude-haiku-4-5 standard": {"input": 1.0, "output": 5.0},
    "vertex/gemini-2.5-flash": {"input": 0.15, "output": 1.25, "cached_input": 0.03},
    "vertex/gemini-embedding-001": {"input": 0.075},
}
"""What the simulator charges for a batch, in dollars per million tokens: written down on its own,
not computed from the list. Google's price of a cached token is the same in and out of a batch."""

LONG = "You sort support tickets into bugs, features and questions. " * 150


@pytest.fixture
def providers(sim: Simulator) -> Iterator[World]:
    sim.reset(batch_seconds=0.2, prices=CHARGED)
    with (
        openai.make_client("sk-test", sim.openai_url) as first,
        anthropic.make_client("sk-ant-test", f"{sim.url}/anthropic") as second,
        closing(vertex.make_client(json.dumps(KEY), f"{sim.url}/vertex", f"{sim.url}/gcs")) as last,
    ):
        made = (
            openai.OpenAIProvider(first),
            anthropic.AnthropicProvider(second),
            vertex.VertexProvider(last),
        )
        yield World(
            dialects=(OpenAIDialect(), AnthropicDialect(), VertexDialect()),
            providers={each.name: lambda each=each: each for each in made},
            overrides={
                model: {name: Decimal(price) for name, price in prices.items()}
                for model, prices in LIST.items()
            },
            on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
        )


def gemini(text: str, **more: Any) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    return {"model": "gemini-2.5-flash", "request": request}


def gemini_embedding(text: str) -> dict[str, Any]:
    return {"model": "gemini-embedding-001", "request": {"content": {"parts": [{"text": text}]}}}


def charged(sim: Simulator) -> int:
    dollars = sim.ledger()["dollars"]
    return sum(picodollars(amount) for amount in dollars.values())


def told(world: World, job_id: str, sim: Simulator) -> dict[str, Any]:
    """The summary's cost, after it is sure that it is what was charged, in all and by row."""
    cost = world.summary(job_id)["cost"]
    paid = charged(sim)
    assert picodollars(cost["actual_usd"]) == paid > 0
    assert sum(picodollars(each["cost_usd"]) for each in world.result_lines(job_id)) == paid
    models: Counter[str] = Counter()
    for name, amount in sim.ledger()["dollars"].items():
        models[name.partition(" ")[0]] += picodollars(amount)
    by_model = {name: picodollars(each["actual_usd"]) for name, each in cost["by_model"].items()}
    assert by_model == models
    batches = {
        batch["id"].rpartition("/")[2]: batch["dollars"]
        for provider in sim.ledger()["providers"].values()
        for batch in provider["batches"]
    }
    for shard in world.ledger.shards(job_id):
        assert shard.batch_id is not None
        assert shard.bill is not None
        batch = shard.batch_id.rpartition("/")[2]
        assert shard.bill.actual == picodollars(batches[batch]), shard.shard_id
    return cost


def test_three_providers_and_embeddings(providers: World, sim: Simulator) -> None:
    rows = [
        *(line(f"{n}", body(f"question {n}")) for n in range(30)),
        *(line(f"{n}", {"model": "gpt-5-mini", "input": f"q {n}"}, "/v1/responses") for n in "ab"),
        *(embedding(f"{n}", [f"text {n}", "another"]) for n in range(20)),
        *(claude_line(f"{n}", params(f"question {n}")) for n in range(20)),
        *(gemini(f"question {n}") for n in range(20)),
        *(gemini_embedding(f"text {n}") for n in range(10)),
    ]
    job_id = providers.drop("all.jsonl", jsonl(rows))
    summary = providers.run(job_id)
    assert summary["status"] == "succeeded"
    cost = told(providers, job_id, sim)
    assert set(cost["by_model"]) == set(LIST)
    assert {each["price"] for each in cost["by_model"].values()} == {"override"}
    assert cost["saved_usd"] == pytest.approx(cost["actual_usd"], rel=1e-9)


def test_cached_tokens_have_their_price(providers: World, sim: Simulator) -> None:
    def system(ttl: str) -> list[dict[str, Any]]:
        control = {"type": "ephemeral", "ttl": ttl}
        return [{"type": "text", "text": f"{ttl} {LONG}", "cache_control": control}]

    said = {"role": "system", "content": LONG}
    rows = [
        *(
            claude_line(f"{n}", params(f"q{n}", system=system("1h" if n % 2 else "5m")))
            for n in range(20)
        ),
        *(
            line(f"{n}", body("", messages=[said, {"role": "user", "content": f"q{n}"}]))
            for n in range(20)
        ),
        *(gemini(f"q{n}", systemInstruction={"parts": [{"text": LONG}]}) for n in range(20)),
    ]
    job_id = providers.drop("cached.jsonl", jsonl(rows))
    providers.run(job_id)
    cost = told(providers, job_id, sim)
    claude = cost["by_model"]["anthropic/claude-haiku-4-5"]
    assert claude["cached_input_tokens"] > claude["cache_write_tokens"] > 0
    books = sim.ledger()["tokens"]["anthropic/claude-haiku-4-5"]
    assert books["cache_write_5m"] > 0
    assert books["cache_write_1h"] > 0
    for model in ("openai/gpt-5-mini", "vertex/gemini-2.5-flash"):
        assert cost["by_model"][model]["cached_input_tokens"] > 0
    google = cost["by_model"]["vertex/gemini-2.5-flash"]
    assert google["saved_usd"] < google["actual_usd"], "what is cached saves nothing more"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "vertex"])
def test_a_batch_that_expires_half_done_is_billed_for_that_half(
    providers: World, sim: Simulator, provider: str
) -> None:
    """The rest is never sent: the job is cancelled between its first and its second round."""
    made = {
        "openai": lambda n: embedding(f"{n}", f"text {n}"),
        "anthropic": lambda n: claude_line(f"{n}", params(f"question {n}")),
        "vertex": lambda n: gemini(f"question {n}"),
    }
    sim.arm(provider=provider, operation="create", kind="expire_at", fraction=0.5)
    job_id = providers.drop("half.jsonl", jsonl([made[provider](n) for n in range(40)]))
    providers.shard(job_id, {"range": 0, "start": 0, "end": None})
    providers.admit(job_id)
    providers.open_round(job_id, 1)
    providers.run_shard(job_id, provider, "01-00001")
    providers.command("Cancel Job", job_id=job_id)
    providers.rounds(job_id)
    providers.reporter().report(job_id, None)
    cost = providers.summary(job_id)["cost"]
    assert sim.ledger()["providers"][provider]["rows_answered"] == 20
    assert picodollars(cost["actual_usd"]) == charged(sim) > 0
    [model] = cost["by_model"].values()
    assert model["rows"] == 20
    lines = providers.result_lines(job_id)
    assert sum(each["cost_usd"] > 0 for each in lines) == 20
    assert sum(picodollars(each["cost_usd"]) for each in lines) == charged(sim)


def test_batches_that_expire_are_billed_one_by_one(providers: World, sim: Simulator) -> None:
    sim.arm(operation="create", kind="expire_at", fraction=0.5, times=2)
    rows = [embedding(f"{n}", f"text {n}") for n in range(40)]
    job_id = providers.drop("late.jsonl", jsonl(rows))
    summary = providers.run(job_id)
    assert [batch["status"] for batch in summary["batches"]] == ["expired", "expired", "completed"]
    told(providers, job_id, sim)
    shards = providers.ledger.shards(job_id)
    assert [shard.bill and shard.bill.rows for shard in shards] == [20, 10, 10]


def test_a_cancelled_batch_is_billed_for_what_it_finished(providers: World, sim: Simulator) -> None:
    sim.admin("settings", {"batch_seconds": 1.5})
    rows = [line(f"{n}", body(f"question {n}")) for n in range(400)]
    job_id = providers.drop("stopped.jsonl", jsonl(rows))
    providers.on_wait = lambda _: time.sleep(0.15)
    begun = time.monotonic()

    def tick(_: float) -> None:
        time.sleep(0.15)
        if time.monotonic() - begun > 0.8:
            providers.command("Cancel Job", job_id=job_id)

    providers.on_wait = tick
    summary = providers.run(job_id)
    assert summary["status"] == "cancelled"
    assert 0 < summary["rows"]["succeeded"] < 400
    told(providers, job_id, sim)


def test_rows_that_fail_and_go_again_are_billed_where_they_were_answered(
    providers: World, sim: Simulator
) -> None:
    rows = [
        line("a", body("fine")),
        line("b", body("[[sim:status=500,times=1]] then fine")),
        line("c", body("[[sim:status=400]] wrong")),
        gemini("[[sim:policy]] blocked, and charged for its prompt"),
        gemini("fine"),
    ]
    job_id = providers.drop("dirty.jsonl", jsonl(rows))
    summary = providers.run(job_id)
    assert summary["rows"]["failed"] == 2
    told(providers, job_id, sim)
    costs = [each["cost_usd"] for each in providers.result_lines(job_id)]
    assert [cost > 0 for cost in costs] == [True, True, False, True, True]


def test_a_row_that_was_answered_in_real_time_is_paid_at_list_and_flagged(
    providers: World, sim: Simulator
) -> None:
    rows = [claude_line(f"{n}", params(f"question {n}")) for n in range(5)]
    rows += [claude_line("s", params("[[sim:standard]] question"))]
    job_id = providers.drop("tiers.jsonl", jsonl(rows))
    providers.run(job_id)
    cost = told(providers, job_id, sim)
    assert cost["list_price_rows"] == 1
    *others, standard = providers.result_lines(job_id)
    assert standard["cost_usd"] == standard["list_cost_usd"]
    assert all(each["cost_usd"] < each["list_cost_usd"] for each in others)


def test_jobs_under_a_budget_spend_no_more_than_it(providers: World, sim: Simulator) -> None:
    rows = [claude_line(f"{n}", params(f"question {n}")) for n in range(10)]
    providers.allowance = 100
    trial = providers.drop("trial.jsonl", jsonl(rows))
    providers.run(trial)
    estimate = providers.ledger.job(trial).estimate
    assert estimate is not None
    assert estimate.high is not None
    assert picodollars(providers.summary(trial)["cost"]["actual_usd"]) < estimate.high
    before = charged(sim)
    budget = estimate.high * 5 // 2
    providers.daily_budget_usd = Decimal(budget) / DOLLAR
    jobs = [providers.drop(f"{n}.jsonl", jsonl(rows)) for n in range(12)]
    for job_id in jobs:
        providers.shard(job_id, {"range": 0, "start": 0, "end": None})
        providers.admit(job_id)
    ended = [providers.run(job_id) for job_id in jobs]
    spent = charged(sim) - before
    assert 0 < spent <= budget
    assert sum(providers.budgets.spent.values()) == spent
    codes = {each["reason"]["code"] for each in ended if each["status"] == "rejected"}
    assert codes == {"over_daily_budget"}
    assert all("nothing was sent" in each["reason"]["message"] for each in ended if each["reason"])


def test_after_a_thousand_rows_the_input_is_estimated_within_a_tenth(
    providers: World, sim: Simulator
) -> None:
    """The simulator counts tokens in a way of its own."""
    rows = [
        *(
            line(f"{n}", body(f"{LONG[: 60 + n]} {n}", max_completion_tokens=80))
            for n in range(900)
        ),
        *(claude_line(f"{n}", params(f"{LONG[: 60 + n]} {n}")) for n in range(900)),
        *(gemini(f"{LONG[: 60 + n]} {n}") for n in range(900)),
    ]
    for name in ("first", "second"):
        job_id = providers.drop(f"{name}.jsonl", jsonl(rows))
        providers.run(job_id)
    cost = providers.summary(job_id)["cost"]
    estimate = providers.ledger.job(job_id).estimate
    assert estimate is not None
    counted = sum(each["input_tokens"] for each in cost["by_model"].values())
    assert estimate.input_tokens == pytest.approx(counted, rel=0.1)
    assert cost["estimated_usd"] is not None
