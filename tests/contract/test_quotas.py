from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import msgspec
import pytest

from functions.batch.ledger_ports import Quotas
from functions.batch.model import now
from functions.batch.quota import Lease, QuotaUse, Waiter


@pytest.fixture
def quota() -> str:
    return f"openai/{uuid4().hex}"


def lease(quota: str, shard: int = 1, tokens: int = 30, *, counted: bool = True) -> Lease:
    return Lease(
        quota=quota,
        job_id="job",
        shard_id=f"01-{shard:05d}",
        tokens=tokens,
        at=now(),
        counted=counted,
    )


def waiter(quota: str, ticket: int, job_id: str = "job") -> Waiter:
    return Waiter(
        quota=quota,
        job_id=job_id,
        shard_id=f"01-{ticket:05d}",
        ticket=ticket,
        tokens=7,
        until=now(),
    )


def test_a_lease_is_taken_once_and_given_back_once(quotas: Quotas, quota: str) -> None:
    assert quotas.use(quota) == QuotaUse()
    for _ in range(2):
        assert quotas.lease(lease(quota), 70, None)
    assert quotas.use(quota).in_use == 30
    found = quotas.find_lease(quota, "job", "01-00001")
    assert found is not None
    assert (found.tokens, found.counted) == (30, True)
    for _ in range(2):
        quotas.release(quota, "job", "01-00001")
    assert quotas.use(quota).in_use == 0
    assert quotas.find_lease(quota, "job", "01-00001") is None


def test_there_is_no_lease_without_room(quotas: Quotas, quota: str) -> None:
    assert quotas.lease(lease(quota, 1, 80), 20, None)
    assert not quotas.lease(lease(quota, 2, 30), 70, None)
    assert quotas.use(quota).in_use == 80
    assert [each.shard_id for each in quotas.leases(quota)] == ["01-00001"]
    assert quotas.lease(lease(quota, 3, 20), 80, None)
    assert quotas.use(quota).in_use == 100


def test_many_at_once_get_exactly_the_room_there_is(quotas: Quotas, quota: str) -> None:
    def take(number: int) -> bool:
        return any(quotas.lease(lease(quota, number, 10), 90, None) for _ in range(5))

    with ThreadPoolExecutor(12) as pool:
        taken = list(pool.map(take, range(30)))
    assert taken.count(True) == 10
    assert quotas.use(quota).in_use == 100
    assert len(list(quotas.leases(quota))) == 10


def test_a_lease_without_a_limit_is_known_but_not_counted(quotas: Quotas, quota: str) -> None:
    assert quotas.lease(lease(quota, counted=False), None, None)
    assert quotas.lease(lease(quota, counted=False), None, None)
    assert quotas.use(quota).in_use == 0
    assert len(list(quotas.leases(quota))) == 1
    quotas.release(quota, "job", "01-00001")
    quotas.release(quota, "job", "01-00001")
    assert quotas.use(quota).in_use == 0
    assert list(quotas.leases(quota)) == []


def test_the_line_is_in_order_of_tickets(quotas: Quotas, quota: str) -> None:
    for ticket in (1_000, 7, 30):
        quotas.join(waiter(quota, ticket))
    quotas.join(waiter(quota, 30, "another"))
    quotas.join(msgspec.structs.replace(waiter(quota, 7), until="later"))
    line = quotas.line(quota, 10)
    assert [(each.ticket, each.job_id) for each in line] == [
        (7, "job"),
        (30, "another"),
        (30, "job"),
        (1_000, "job"),
    ]
    assert line[0].until == "later"
    assert len(quotas.line(quota, 2)) == 2
    quotas.leave(line[0])
    quotas.leave(line[0])
    assert quotas.line(quota, 1)[0].job_id == "another"


def test_who_gets_a_lease_leaves_the_line_and_moves_the_turn_on(quotas: Quotas, quota: str) -> None:
    assert quotas.ticket(quota, "job", 4) == 4
    quotas.join(waiter(quota, 4))
    assert quotas.lease(lease(quota, 4), 70, waiter(quota, 4))
    assert quotas.line(quota, 5) == []
    assert quotas.use(quota).turn == 4
    assert quotas.ticket(quota, "job", 5) == 5, "a job's tickets go on from where they began"
    assert quotas.ticket(quota, "later", 1) == 5, "a later job's from the turn"


def test_a_lesson_is_kept_beside_what_is_in_use(quotas: Quotas, quota: str) -> None:
    quotas.lease(lease(quota), 70, None)
    quotas.learn(quota, 50, "2027-01-01")
    use = quotas.use(quota)
    assert (use.in_use, use.learned, use.learned_until) == (30, 50, "2027-01-01")


def test_creates_are_counted_up_to_the_most(quotas: Quotas) -> None:
    provider = uuid4().hex
    assert quotas.creates(provider, 5) == 0
    assert not quotas.count_create(provider, 5, 0)
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: quotas.count_create(provider, 5, 10), range(25)))
    assert counted.count(True) == 10
    assert quotas.creates(provider, 5) == 10
    assert quotas.creates(provider, 6) == 0
