"""What was promised when a job started is kept when its rows go again."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch.learning import Learned
from functions.batch.model import Job, Shard
from functions.batch.money import Bill, Promise, dollars
from functions.batch.pricing import Price, PriceList, Rates
from functions.batch.reading.moulds import Moulds
from functions.batch.rows import Group, Weight
from functions.batch.spending.estimating import estimate, upper_bound, upper_percent
from functions.batch.spending.promises import Keeper
from functions.providers.anthropic.dialect import AnthropicDialect
from tests.support.alike_lines import ROOMY
from tests.support.money_twins import rates_of
from tests.support.priced_job import MODEL, PricedWorld

TEXTS = [f"text {n}" for n in range(6)]
PRICE = Price(input=10, output=50, cached_input=1, cache_write=12, cache_write_1h=20)
RATES = Rates(listed=[PRICE], batch=[PRICE], source="library")
GROUP = Group("openai", "/e", "m")


@pytest.mark.parametrize(
    ("provider", "marked", "expected"),
    [
        ("anthropic", 0, 1_000 * 10),
        ("anthropic", 1, 250 * 20 + 750 * 10),
        ("anthropic", 4, 1_000 * 20),
        ("openai", 0, 1_000 * 20),
        ("vertex", 0, 1_000 * 10),
    ],
)
def test_all_that_may_be_written_to_a_cache_is_in_the_bound(
    provider: str, marked: int, expected: int
) -> None:
    weight = Weight(rows=4, tokens=500, max_output=30, marked=marked)
    group = Group(provider, "/e", "m")
    assert upper_bound(group, weight, RATES, 200, None) == expected + 30 * 50
    made = estimate({group: weight}, PriceList(rates={f"{provider}/m": RATES}), allowance=None)
    assert made.high == expected + 30 * 50
    assert made.expected == 500 * 10 + 15 * 50


def test_nobody_knows_a_bound_without_price_or_limit() -> None:
    weight = Weight(rows=1, tokens=10, unbounded=1)
    assert upper_bound(GROUP, weight, None, 200, 5) is None
    assert upper_bound(GROUP, weight, rates_of(2), 200, 5) is None
    assert upper_bound(GROUP, weight, RATES, 200, None) is None
    assert upper_bound(GROUP, weight, RATES, 200, 5) == 20 * 20 + 5 * 50


def test_what_was_learned_moves_the_bound() -> None:
    twice = Learned(rows=1_000_000, tokens=1_000_000, input_tokens=2_000_000)
    assert upper_percent(Learned()) == 200
    assert upper_percent(twice) == pytest.approx(230, abs=1)


@pytest.mark.parametrize("system", ['"be brief"', '[{"type":"text","text":"be brief"%s}]'])
def test_rows_that_ask_for_a_cache_are_told(system: str) -> None:
    """Read one by one, in the usual way, and in a mould."""
    dialect = AnthropicDialect()
    asks = "%s" in system
    lines: list[bytes] = []
    for number in range(12):
        said = system % ',"cache_control":{"type":"ephemeral"}' if asks else system
        lines.append(
            b'{"custom_id":"%d","params":{"model":"claude-haiku-4-5","max_tokens":9,"system":%b,'
            b'"messages":[{"role":"user","content":"hello number %d"}]}}'
            % (number, said.encode(), number)
        )
    moulds = Moulds("000000-")
    for line in lines[:3]:
        row = dialect.parse_usual(line)
        assert row is not None
        assert row.weight.marked == dialect.weigh(line).marked == asks
        moulds.learn(line, dialect)
    found = moulds.take(b"\n".join(lines[3:]), 0, 3, lambda *_: ROOMY)
    assert found is not None
    assert (found[1].rows, found[1].weight.marked) == (9, 9 * asks)


def a_shard(number: int, **more: object) -> Shard:
    shard = Shard(
        job_id="j",
        shard_id=f"01-{number:05d}",
        round=1,
        provider="openai",
        endpoint="/e",
        model="m",
        number=number,
        bytes=1,
        rows=1,
    )
    return msgspec.structs.replace(shard, **more)


def test_only_what_fits_beside_what_was_spent_goes() -> None:
    """A row of 100 tokens is taken as 200, for 20 picodollars each."""
    promise = Promise(most=40_000, percents={MODEL: 200})
    keeper = Keeper(promise, PriceList(rates={MODEL: RATES}), lambda *_: Learned())
    row = (GROUP, Weight(rows=1, tokens=100, max_output=80))  # 4,000 + 4,000
    spent = Bill(rows=1, actual=7_000 + 1_000_000)  # a millionth of a dollar is rounding
    shards = [
        a_shard(1, bill=spent, status="cleaned"),
        a_shard(2, status="cleaned"),
        a_shard(3, status="submitted", batch_id="b"),
    ]
    sent = {shard.shard_id: row for shard in shards}
    job = Job(job_id="j", bucket="b", key="k", bytes=1, created_at="")
    found = keeper.refusals(job, [row, row, row, row], sent, shards)
    assert [each is None for each in found] == [True, True, True, False]
    assert found[3] is not None
    assert (found[3].code, found[3].then) == ("over_budget", "fail")
    unpriced = (Group("openai", "/e", "stronger"), row[1])
    assert keeper.refusals(job, [unpriced], {}, [])[0] is not None
    dear = Group("openai", "/e", "dear")
    priced = Keeper(promise, PriceList(rates={"openai/dear": RATES}), lambda *_: Learned())
    assert priced.refusals(job, [(dear, row[1])], {}, []) == [None]
    large = (GROUP, Weight(rows=1, tokens=100_000))
    assert keeper.refusals(job, [large], {}, [a_shard(9, status="submitted")]) != [None]


@given(
    parts=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 999), st.integers(0, 99)), min_size=1
    ),
    percent=st.integers(1, 300),
    marked=st.booleans(),
)
def test_the_parts_of_a_job_have_no_higher_bound_than_the_whole(
    parts: list[tuple[int, int, int]], percent: int, marked: bool
) -> None:
    group = Group("anthropic", "/e", "m")
    promise = Promise(most=0, percents={"anthropic/m": percent})
    whole = Weight()
    planned: list[tuple[Group, Weight]] = []
    for rows, tokens, output in parts:
        weight = Weight(rows=rows, tokens=tokens, max_output=output, marked=rows * marked)
        whole.add(weight)
        planned.append((group, weight))
    most = upper_bound(group, whole, RATES, percent, None)
    assert most is not None
    promise = msgspec.structs.replace(promise, most=most)
    keeper = Keeper(promise, PriceList(rates={"anthropic/m": RATES}), lambda *_: Learned())
    job = Job(job_id="j", bucket="b", key="k", bytes=1, created_at="")
    assert keeper.refusals(job, planned, {}, []) == [None] * len(planned)


def high(**more: object) -> int:
    world = PricedWorld(**more)
    job_id = world.submit(TEXTS)
    assert world.run(job_id)["status"] == "succeeded"
    made = world.ledger.job(job_id).estimate
    assert made is not None
    assert made.high is not None
    return made.high


@pytest.mark.parametrize("where", ["max_cost_usd", "daily_budget_usd"])
@pytest.mark.parametrize("canary_above", [1 << 60, 3])
def test_rows_that_go_again_fit_into_what_was_promised_for_them(
    where: str, canary_above: int
) -> None:
    """The first batch expires after half of its rows; nothing is left over."""
    most = Decimal(str(dollars(high(canary_above=canary_above))))
    budget = {} if where == "max_cost_usd" else {where: most}
    world = PricedWorld(canary_above=canary_above, **budget)
    if where == "max_cost_usd":
        world.limit(max_cost_usd=str(most))
    world.twin.expiring = 1
    job_id = world.submit(TEXTS)
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    assert max(result["round"] for result in world.result_lines(job_id)) > 1
    assert world.charged() <= high(canary_above=canary_above)


@pytest.mark.parametrize(
    ("budget", "cap", "code"),
    [(None, 1, "over_max_cost"), (1, None, "over_budget"), (1, 100, "over_budget")],
)
def test_rows_that_go_again_are_not_sent_once_the_others_were_too_dear(
    budget: int | None, cap: int | None, code: str
) -> None:
    """The answers are longer than the rows let them be. What bounds them is told."""
    most = Decimal(str(dollars(high())))
    world = PricedWorld(**({} if budget is None else {"daily_budget_usd": budget * most}))
    if cap is not None:
        world.limit(max_cost_usd=str(cap * most))
    world.twin.expiring = 1
    world.twin.say = lambda text: text * 1_000
    job_id = world.submit(TEXTS)
    summary = world.run(job_id)
    assert summary["rows"] == {"total": 6, "succeeded": 3, "failed": 3, "invalid": 0}
    assert world.twin.begun == 1
    errors = [each["error"] for each in world.result_lines(job_id) if each["error"]]
    assert {error["code"] for error in errors} == {code}
    assert "was not sent" in errors[0]["message"]
    failed = world.results.get(f"{job_id}/failed.jsonl").splitlines()
    assert [json.loads(line)["text"] for line in failed] == TEXTS[3:]
    assert not world.twin.left()


def test_without_a_promise_rows_go_again_whatever_they_cost() -> None:
    world = PricedWorld()
    world.twin.expiring = 1
    world.twin.say = lambda text: text * 1_000
    job_id = world.submit(TEXTS)
    assert world.run(job_id)["status"] == "succeeded"
    assert world.ledger.job(job_id).promise is None
