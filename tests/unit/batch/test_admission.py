from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from functions.batch.money import DOLLAR, dollars, picodollars
from functions.batch.pricing import Price, PriceList, Rates
from functions.batch.rows import Caps, Group, Weight
from functions.batch.spending.estimating import HIGHEST_INPUT, LOWEST_INPUT, estimate, stored_prices
from tests.support.lines import jsonl
from tests.support.money_twins import rates_of
from tests.support.priced_job import MODEL, PricedWorld, row
from tests.support.twin_provider import MAX_OUTPUT

TEXTS = [f"text {n}" for n in range(4)]


def high_of(world: PricedWorld) -> int:
    """What a job of `TEXTS` may cost, from the estimate of another world like it."""
    other = PricedWorld(allowance=world.allowance)
    job_id = other.submit(TEXTS)
    other.run(job_id)
    made = other.ledger.job(job_id).estimate
    assert made is not None
    assert made.high is not None
    return made.high


def rejected(world: PricedWorld, job_id: str) -> dict[str, Any]:
    """The reason, after it is sure that nothing was sent and nothing is committed."""
    summary = world.run(job_id)
    assert summary["status"] == "rejected"
    assert world.twin.begun == 0
    assert summary["rows"]["total"] == 0
    assert summary["cost"]["actual_usd"] == 0
    assert not sum(world.budgets.committed.values())
    kind, detail = world.events.published[-1]
    assert (kind, detail["reason"]) == ("Job Rejected", summary["reason"])
    assert detail["cost"] == summary["cost"]
    return summary["reason"]


def test_an_estimate_has_a_low_and_a_high_end() -> None:
    group = Group("openai", "/e", "m")
    weight = Weight(rows=10, tokens=1_000, max_output=500)
    made = estimate({group: weight}, PriceList(rates={MODEL: rates_of(2, 10)}), allowance=None)
    assert made.low == 1_000 * LOWEST_INPUT // 100 * 1_000_000
    assert made.high == 1_000 * HIGHEST_INPUT // 100 * 1_000_000 + 500 * 5_000_000
    assert made.low < (made.expected or 0) < made.high
    assert (made.input_tokens, made.unpriced, made.unbounded) == (1_000, [], 0)


def test_rows_without_a_limit_have_an_allowance_or_no_high_end() -> None:
    group = Group("openai", "/e", "m")
    weight = Weight(rows=10, tokens=1_000, max_output=500, unbounded=3)
    prices = PriceList(rates={MODEL: rates_of(2, 10)})
    without = estimate({group: weight}, prices, allowance=None)
    assert (without.high, without.expected, without.unbounded) == (None, None, 3)
    assert without.low is not None
    allowed = estimate({group: weight}, prices, allowance=200)
    assert allowed.high == 2_000 * 1_000_000 + (500 + 600) * 5_000_000
    assert allowed.unbounded == 0


@pytest.mark.parametrize("rates", [None, rates_of(2)])
def test_a_part_without_a_price_makes_the_whole_unknown(rates: Rates | None) -> None:
    weights = {
        Group("openai", "/e", "a"): Weight(rows=1, tokens=10, max_output=5),
        Group("openai", "/e", "m"): Weight(rows=1, tokens=10, max_output=5),
        Group("openai", "/f", "m"): Weight(rows=1, tokens=10, max_output=5),
    }
    prices = PriceList(rates={"openai/a": rates_of(1, 1), MODEL: rates})
    made = estimate(weights, prices, allowance=None)
    assert (made.low, made.expected, made.high, made.unpriced) == (None, None, None, [MODEL])


def test_embeddings_need_no_price_of_output() -> None:
    group = Group("openai", "/v1/embeddings", "m")
    weights = {group: Weight(rows=1, tokens=100)}
    made = estimate(weights, PriceList(rates={MODEL: rates_of(0.02)}), allowance=None)
    assert made.expected == 100 * 10_000


def test_rows_of_an_earlier_release_are_weighed_by_their_bytes() -> None:
    group = Group("openai", "/e", "m")
    weights = {group: Weight(rows=2, bytes=4_000)}
    made = estimate(weights, PriceList(rates={MODEL: rates_of(2, 10)}), allowance=None)
    assert (made.input_tokens, made.unbounded, made.high) == (1_000, 2, None)


def test_long_rows_are_estimated_at_the_price_of_long_rows() -> None:
    tiers = [Price(input=1, output=1), Price(input=2, output=1, above=200)]
    prices = PriceList(rates={MODEL: Rates(listed=tiers, batch=tiers, source="library")})
    group = Group("openai", "/e", "m")
    short = estimate({group: Weight(rows=10, tokens=1_000)}, prices, allowance=None)
    long = estimate({group: Weight(rows=10, tokens=3_000)}, prices, allowance=None)
    assert (short.expected, long.expected) == (1_000, 6_000)


def test_a_model_that_is_known_is_estimated_closely() -> None:
    """The twin counts the text alone, the dialect the whole line; half of a limit is not used."""
    world = PricedWorld(caps=Caps(rows=100))
    texts = [f"some text {n:04d}" for n in range(1_000)]
    first = world.run(world.submit(texts))["cost"]
    assert first["estimated_usd"] > 2 * first["actual_usd"]
    assert world.ledger.learned("openai", "m").rows == 1_000
    second = world.run(world.submit(texts, "again.jsonl"))["cost"]
    assert second["estimated_usd"] == pytest.approx(second["actual_usd"], rel=0.2)
    assert second["estimate"]["low_usd"] < second["actual_usd"] < second["estimate"]["high_usd"]
    assert second["estimate"]["high_usd"] < first["estimate"]["high_usd"]


def test_a_shard_that_is_collected_twice_teaches_once() -> None:
    world = PricedWorld()
    job_id = world.submit(TEXTS)
    world.run(job_id)
    shard = world.ledger.shard(job_id, "01-00001")
    shard.status = "ended"
    before = world.ledger.learned("openai", "m")
    lesson = world.ledger.learn("openai", "m", before, once=f"{job_id}#01-00001")
    assert (lesson, world.ledger.learned("openai", "m")) == (False, before)


def test_a_job_without_limits_starts_and_is_told_what_it_may_cost() -> None:
    world = PricedWorld()
    summary = world.run(world.submit(TEXTS))
    assert summary["status"] == "succeeded"
    cost = summary["cost"]
    assert 0 < cost["estimate"]["low_usd"] < cost["estimated_usd"] < cost["estimate"]["high_usd"]
    assert cost["actual_usd"] == dollars(world.charged())
    assert cost["saved_usd"] == cost["actual_usd"] == cost["list_usd"] / 2


def test_a_cap_that_holds_lets_the_job_start() -> None:
    world = PricedWorld()
    world.limit(max_cost_usd=str(Decimal(high_of(world)) / DOLLAR))
    assert world.run(world.submit(TEXTS))["status"] == "succeeded"


def test_over_its_cap_a_job_is_rejected_with_figures() -> None:
    world = PricedWorld()
    world.limit(max_cost_usd=str(Decimal(high_of(world) - 1) / DOLLAR))
    reason = rejected(world, world.submit(TEXTS))
    assert reason["code"] == "over_max_cost"
    assert "may cost up to $0.0" in reason["message"]
    assert "more than max_cost_usd, $0.0" in reason["message"]


@pytest.mark.parametrize("where", ["max_cost_usd", "daily_budget_usd", "monthly_budget_usd"])
def test_without_a_price_no_promise_is_made(where: str) -> None:
    world = PricedWorld()
    world.price(None)
    if where == "max_cost_usd":
        world.limit(max_cost_usd="1000")
    else:
        setattr(world, where, Decimal(1000))
    reason = rejected(world, world.submit(TEXTS))
    assert reason["code"] == "no_price"
    assert f"No price is known for openai/m, so {where} cannot be kept" in reason["message"]
    assert 'prices: {"openai/m": {"input": 0.30, "output": 1.00}}' in reason["message"]


def test_without_a_price_and_without_limits_a_job_runs_and_its_cost_is_unknown() -> None:
    world = PricedWorld()
    world.price(None)
    job_id = world.submit(TEXTS)
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    cost = summary["cost"]
    assert (cost["estimated_usd"], cost["actual_usd"], cost["saved_usd"]) == (None, None, None)
    assert cost["by_model"][MODEL]["price"] is None
    assert cost["unpriced_rows"] == cost["by_model"][MODEL]["unpriced_rows"] == 4
    assert {each["cost_usd"] for each in world.result_lines(job_id)} == {None}


@pytest.mark.parametrize("where", ["context", "recipe"])
def test_a_price_that_somebody_set_is_used(where: str) -> None:
    world = PricedWorld()
    world.price(None)
    prices = {MODEL: {"input": Decimal(2), "output": Decimal(10)}}
    world.limit(max_cost_usd="1000")
    assert world.recipe_ledger.limits is not None
    if where == "context":
        world.overrides = prices
    else:
        world.overrides = {MODEL: {"input": Decimal(999), "output": Decimal(999)}}
        world.recipe_ledger.limits.prices = prices
    summary = world.run(world.submit(TEXTS))
    assert summary["cost"]["actual_usd"] == dollars(world.charged())
    assert summary["cost"]["by_model"][MODEL]["price"] == "override"


def unbounded(world: PricedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def weigh(line: bytes) -> Weight:
        return Weight(rows=1, bytes=len(line), tokens=len(line), unbounded=1)

    monkeypatch.setattr(world.dialects[0], "weigh", weigh)


def test_rows_without_a_limit_need_an_allowance_where_a_cap_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = PricedWorld()
    unbounded(world, monkeypatch)
    world.limit(max_cost_usd="1000")
    reason = rejected(world, world.submit(TEXTS))
    assert reason["code"] == "no_output_limit"
    assert "4 rows have no limit on their output" in reason["message"]
    assert "output_allowance_tokens" in reason["message"]
    world.allowance = MAX_OUTPUT
    assert world.run(world.submit(TEXTS, "again.jsonl"))["status"] == "succeeded"


def test_a_job_keeps_the_prices_that_it_was_admitted_with() -> None:
    world = PricedWorld()
    job_id = world.submit(TEXTS)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert world.admit(job_id) == "start"
    world.price(rates_of(99, 99))
    assert world.admit(job_id) == "start"
    prices = stored_prices(world.work, job_id)
    assert prices is not None
    assert prices.rates == {MODEL: rates_of(2, 10)}
    assert world.run(job_id)["cost"]["actual_usd"] == dollars(world.charged())


@pytest.mark.parametrize(("period", "length"), [("daily", 10), ("monthly", 7)])
def test_over_a_budget_a_job_is_rejected_with_figures(period: str, length: int) -> None:
    world = PricedWorld()
    high = high_of(world)
    setattr(world, f"{period}_budget_usd", Decimal(high + high // 2) / DOLLAR)
    first = world.submit(TEXTS)
    world.shard(first, {"range": 0, "start": 0, "end": None})
    assert world.admit(first) == "start"
    [(name, committed)] = world.budgets.committed.items()
    assert name.startswith("day#" if period == "daily" else "month#")
    assert (len(name.partition("#")[2]), committed) == (length, high)
    second = world.submit(TEXTS, "b.jsonl")
    summary = world.run(second)
    assert (summary["status"], world.twin.begun) == ("rejected", 0)
    assert summary["reason"]["code"] == f"over_{period}_budget"
    assert f"Of the {period} budget of $" in summary["reason"]["message"]
    assert f"raise {period}_budget_usd" in summary["reason"]["message"]
    world.run(first)
    assert world.budgets.committed[name] == world.budgets.spent[name] == world.charged()
    third = world.run(world.submit(TEXTS, "c.jsonl"))
    assert third["status"] == "succeeded"
    assert world.budgets.spent[name] == world.charged()


def test_a_job_that_alone_is_over_the_budget_commits_nothing() -> None:
    world = PricedWorld(daily_budget_usd=Decimal("0.000001"), monthly_budget_usd=Decimal(5))
    assert rejected(world, world.submit(TEXTS))["code"] == "over_daily_budget"
    assert world.budgets.settled == dict.fromkeys(world.ledger.jobs, 1)


def test_a_cancelled_job_commits_nothing_if_it_never_started() -> None:
    world = PricedWorld(daily_budget_usd=Decimal(5))
    job_id = world.submit(TEXTS)
    world.command("Cancel Job", job_id=job_id)
    assert world.run(job_id)["status"] == "cancelled"
    assert not sum(world.budgets.committed.values())
    assert world.twin.begun == 0


def test_what_an_expired_batch_had_done_is_paid_and_no_more() -> None:
    world = PricedWorld(daily_budget_usd=Decimal(5))
    world.twin.expiring = 1
    job_id = world.submit(TEXTS)
    summary = world.run(job_id)
    assert [batch["status"] for batch in summary["batches"]] == ["expired", "completed"]
    bills = [shard.bill for shard in world.ledger.shards(job_id)]
    assert [bill and bill.rows for bill in bills] == [2, 2]
    assert sum(bill.actual for bill in bills if bill) == world.charged()
    assert summary["cost"]["actual_usd"] == dollars(world.charged())
    assert list(world.budgets.spent.values()) == [world.charged()]


def test_a_failure_that_was_billed_counts_for_its_row_and_its_job() -> None:
    world = PricedWorld()
    job_id = world.submit(["good", "bad one"])
    summary = world.run(job_id)
    assert summary["rows"]["failed"] == 1
    assert summary["cost"]["actual_usd"] == dollars(world.charged())
    by_row = [picodollars(each["cost_usd"]) for each in world.result_lines(job_id)]
    assert by_row[1] == len("bad one") * 1_000_000
    assert sum(by_row) == world.charged()


def test_attempts_of_a_row_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that may pass, and was billed: the row goes again with what it has cost so far."""
    world = PricedWorld()
    world.twin.failing = {"text 1": 2}
    said = world.twin._said

    def billed(asked: Any) -> Any:
        answer = said(asked)
        if answer.verdict == "again":
            answer.usage = world.twin._charged(asked, 7)
        return answer

    monkeypatch.setattr(world.twin, "_said", billed)
    job_id = world.submit(TEXTS)
    summary = world.run(job_id)
    lines = world.result_lines(job_id)
    once = 6 * 1_000_000 + 11 * 5_000_000
    assert [picodollars(each["cost_usd"]) for each in lines] == [
        once,
        once + 2 * (6 * 1_000_000 + 7 * 5_000_000),
        once,
        once,
    ]
    assert [each["list_cost_usd"] for each in lines] == [2 * each["cost_usd"] for each in lines]
    assert summary["cost"]["actual_usd"] == dollars(world.charged())
    assert summary["cost"]["by_model"][MODEL]["rows"] == 6
    bills = [shard.bill.rows for shard in world.ledger.shards(job_id) if shard.bill]
    assert bills == [4, 1, 1]


def test_rows_that_were_never_sent_cost_nothing() -> None:
    world = PricedWorld()
    job_id = world.drop("a.jsonl", jsonl([row("x"), b"no line\n"]))
    world.run(job_id)
    assert world.result_lines(job_id)[1]["cost_usd"] == 0


def test_a_hundred_jobs_at_once_do_not_overspend() -> None:
    world = PricedWorld()
    high = high_of(world)
    world.daily_budget_usd = Decimal(high * 10 + high // 2) / DOLLAR
    jobs = [world.submit(TEXTS, f"{n}.jsonl") for n in range(100)]
    for job_id in jobs:
        world.shard(job_id, {"range": 0, "start": 0, "end": None})
    with ThreadPoolExecutor(20) as pool:
        decided = list(pool.map(world.admit, jobs))
    assert decided.count("start") == 10
    limit = picodollars(world.daily_budget_usd)
    assert sum(world.budgets.committed.values()) == 10 * high <= limit
    summaries = [world.run(job_id) for job_id in jobs]
    told = [each["reason"]["code"] for each in summaries if each["status"] == "rejected"]
    assert told == ["over_daily_budget"] * 90
    assert sum(world.budgets.spent.values()) == world.charged() <= limit
    assert set(world.budgets.settled.values()) == {1}
