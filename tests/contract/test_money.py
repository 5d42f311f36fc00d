"""Budgets, approvals and rollups: the twins and the adapters, held to the same tests."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from functions.aws.budgets import DynamoBudgets
from functions.aws.ledger import DynamoLedger
from functions.aws.rollups import DynamoRollups
from functions.batch.model import Answered, Job, Shard, now
from functions.batch.money import DOLLAR, Bill, Estimate, JobLimits
from functions.batch.money_ports import Approvals, Budget, Budgets
from tests.support.money_twins import MemoryRollups


@pytest.fixture
def name() -> str:
    """A budget of its own for each test."""
    return f"day#{uuid4().hex}"


def job() -> str:
    return f"job-{uuid4().hex[:16]}"


def room(budgets: Budgets, name: str, limit: int) -> int:
    """How much a job can still reserve, found by asking for too much."""
    short = budgets.reserve(job(), limit + 1, [Budget(name, limit)])
    assert short is not None
    return limit - short.committed


def test_a_job_reserves_once(budgets: Budgets, name: str) -> None:
    one = job()
    budget = Budget(name, 100)
    assert budgets.reserve(one, 60, [budget]) is None
    assert budgets.reserve(one, 60, [budget]) is None
    assert room(budgets, name, 100) == 40
    short = budgets.reserve(job(), 41, [budget])
    assert short is not None
    assert (short.budget, short.committed) == (budget, 60)
    assert budgets.reserve(job(), 40, [budget]) is None
    assert room(budgets, name, 100) == 0


def test_all_budgets_have_room_or_none_is_touched(budgets: Budgets, name: str) -> None:
    month = f"month#{uuid4().hex}"
    both = [Budget(name, 100), Budget(month, 50)]
    assert budgets.reserve(job(), 30, both) is None
    short = budgets.reserve(job(), 30, both)
    assert short is not None
    assert short.budget.name == month
    assert (room(budgets, name, 100), room(budgets, month, 50)) == (70, 20)


def test_a_job_that_alone_is_too_large_is_refused(budgets: Budgets, name: str) -> None:
    short = budgets.reserve(job(), 101, [Budget(name, 100)])
    assert short is not None
    assert short.committed == 0
    assert room(budgets, name, 100) == 100


@pytest.mark.parametrize(("spent", "left"), [(25, 75), (0, 100), (None, 40), (80, 20)])
def test_what_was_spent_takes_the_place_of_what_was_reserved(
    budgets: Budgets, name: str, spent: int | None, left: int
) -> None:
    one = job()
    budgets.reserve(one, 60, [Budget(name, 100)])
    assert budgets.settle(one, spent)
    assert room(budgets, name, 100) == left
    assert not budgets.settle(one, 3)
    assert room(budgets, name, 100) == left


def test_a_job_that_has_ended_reserves_nothing_any_more(budgets: Budgets, name: str) -> None:
    one = job()
    assert budgets.settle(one, 0)
    assert not budgets.settle(one, 0)
    assert budgets.reserve(one, 60, [Budget(name, 100)]) is None
    assert room(budgets, name, 100) == 100


def test_a_lowered_limit_leaves_no_room(budgets: Budgets, name: str) -> None:
    budgets.reserve(job(), 60, [Budget(name, 100)])
    short = budgets.reserve(job(), 1, [Budget(name, 50)])
    assert short is not None
    assert short.committed == 60


def test_amounts_are_exact(budgets: Budgets, name: str) -> None:
    large = 123_456_789 * DOLLAR + 1
    one = job()
    assert budgets.reserve(one, large, [Budget(name, 2 * large)]) is None
    assert room(budgets, name, 2 * large) == large
    budgets.settle(one, large - 1)
    assert room(budgets, name, 2 * large) == large + 1


def test_a_hundred_jobs_at_once_reserve_no_more_than_there_is(budgets: Budgets, name: str) -> None:
    jobs = [job() for _ in range(100)]
    limit = [Budget(name, 1_050)]
    with ThreadPoolExecutor(20) as pool:
        shorts = list(pool.map(lambda one: budgets.reserve(one, 100, limit), jobs))
    assert shorts.count(None) == 10
    assert room(budgets, name, 1_050) == 50
    admitted = [one for one, short in zip(jobs, shorts, strict=True) if short is None]
    twice = [*admitted, *admitted]
    with ThreadPoolExecutor(20) as pool:
        settled = list(pool.map(lambda one: budgets.settle(one, 7), twice))
    assert settled.count(True) == 10
    assert room(budgets, name, 1_050) == 1_050 - 70


def test_a_budget_says_what_was_spent(dynamodb: Any, name: str) -> None:
    budgets = DynamoBudgets(dynamodb, "contract")
    one = job()
    budgets.reserve(one, 60, [Budget(name, 100)])
    budgets.settle(one, 25)
    key = {"pk": {"S": f"BUDGET#{name}"}, "sk": {"S": "BUDGET"}}
    item = dynamodb.get_item(TableName="contract", Key=key)["Item"]
    assert (item["committed"], item["spent"]) == ({"N": "25"}, {"N": "25"})


def test_a_question_keeps_its_first_answer_and_its_last_token(approvals: Approvals) -> None:
    one = job()
    assert approvals.find(one) is None
    assert approvals.answer(one, "approved") is None
    assert approvals.find(one) is None
    said = approvals.ask(one, "token 1")
    assert (said.token, said.answer, said.told) == ("token 1", None, False)
    approvals.told(one)
    said = approvals.ask(one, "token 2")
    assert (said.token, said.told) == ("token 2", True)
    answered = approvals.answer(one, "refused")
    assert answered is not None
    assert (answered.answer, answered.token) == ("refused", "token 2")
    again = approvals.answer(one, "approved")
    assert again is not None
    assert again.answer == "refused"
    assert approvals.ask(one, "token 3").answer == "refused"
    assert approvals.find(one) == approvals.ask(one, "token 3")


def test_a_question_about_the_canary_is_another_one(approvals: Approvals) -> None:
    one = job()
    approvals.ask(one, "token 1")
    approvals.answer(one, "approved")
    assert approvals.find(one, "canary") is None
    assert approvals.answer(one, "refused", "canary") is None
    said = approvals.ask(one, "token 2", "canary")
    assert (said.token, said.answer, said.told) == ("token 2", None, False)
    approvals.told(one, "canary")
    approvals.answer(one, "refused", "canary")
    found, start = approvals.find(one, "canary"), approvals.find(one)
    assert found is not None
    assert start is not None
    assert (found.token, found.answer, found.told) == ("token 2", "refused", True)
    assert (start.token, start.answer, start.told) == ("token 1", "approved", False)


def shard(job_id: str, number: int, amount: int, model: str = "m") -> Shard:
    return Shard(
        job_id=job_id,
        shard_id=f"01-{number:05d}",
        round=1,
        number=number,
        provider="openai",
        endpoint="/v1/responses",
        model=model,
        rows=3,
        bytes=100,
        submitted_at="2026-11-22T01:00:00.000Z",
        ended_at="2026-11-22T01:10:00.000Z",
        answered=Answered(succeeded=2, failed=1),
        bill=Bill(rows=3, input_tokens=10, output_tokens=5, actual=amount, listed=2 * amount),
    )


def rolled(dynamodb: Any, day: str) -> dict[str, dict[str, int]]:
    found = dynamodb.query(
        TableName="contract",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"ROLLUP#{day}"}},
    )["Items"]
    return {
        item["sk"]["S"]: {
            field: int(value["N"]) for field, value in item.items() if field not in ("pk", "sk")
        }
        for item in found
    }


def test_a_rollup_is_the_twins_and_adds_each_shard_once(dynamodb: Any) -> None:
    rollups, twin = DynamoRollups(dynamodb, "contract"), MemoryRollups()
    day, folder = uuid4().hex, "x/" * 500 + "\N{SNOWMAN}"
    one, other = job(), job()
    added = [
        (shard(one, 1, DOLLAR // 3), "in"),
        (shard(one, 2, 5), "in"),
        (shard(one, 1, 99), "in"),
        (shard(other, 1, 7, "m/2"), folder),
        (shard(other, 2, 0), ""),
    ]
    for each, where in added:
        rollups.add(each, where, day)
        twin.add(each, where, day)
    found = rolled(dynamodb, day)
    expected = {sort: +Counter(sums) for (_, sort), sums in twin.sums.items()}
    long = [sort for sort in found if len(sort) > 500]
    assert [len(sort.encode()) <= 1_024 for sort in long] == [True]
    assert found[long[0]]["actual"] == 7
    for sort, sums in expected.items():
        if len(sort) < 500:
            assert found[sort] == {**sums, "v": 1}
    assert found["MODEL#openai#m"]["batches"] == 3
    assert found["MODEL#openai#m"]["turnaround_seconds"] == 1_800


def test_many_at_once_add_up(dynamodb: Any) -> None:
    rollups = DynamoRollups(dynamodb, "contract")
    day, one = uuid4().hex, job()
    shards = [shard(one, number, 11) for number in range(40)] * 2
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda each: rollups.add(each, "in", day), shards))
    found = rolled(dynamodb, day)
    assert {sums["actual"] for sums in found.values()} == {40 * 11}


def test_money_comes_back_from_the_ledger_as_it_went_in(dynamodb: Any) -> None:
    """Amounts in dollars are decimals, which DynamoDB has no floats for."""
    ledger = DynamoLedger(dynamodb, "contract")
    limits = JobLimits(max_cost_usd=Decimal("0.1"), prices={"openai/m": {"input": Decimal("0.30")}})
    estimate = Estimate(low=1, expected=DOLLAR // 3, high=None, unpriced=["openai/m"])
    one = Job(
        job_id=job(),
        bucket="b",
        key="k",
        bytes=1,
        created_at=now(),
        limits=limits,
        estimate=estimate,
        bill=Bill(actual=10**20 + 1),
    )
    ledger.create_job(one)
    assert ledger.job(one.job_id) == one
    ledger.update_job(one.job_id, {"estimate": Estimate(low=5), "bill": Bill(rows=2)})
    assert ledger.job(one.job_id).estimate == Estimate(low=5)
    assert ledger.job(one.job_id).limits == limits
