"""Room at the provider: who gets it, in which order, and how a refusal teaches a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from functions.batch import layout
from functions.batch.errors import OverCapacity, Throttled
from functions.batch.model import BatchState, Refusal, ShardStep
from functions.batch.outcomes import collected
from functions.batch.sending import laps
from functions.batch.sending.waits import pace_wait, room_wait
from functions.batch.work import Source
from tests.support.driver import World, whole
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

MODEL = "openai/gpt-5-mini"
FULL = OverCapacity("token_limit_exceeded", "Enqueued token limit reached.")


@pytest.fixture(autouse=True)
def _limit(world: World) -> None:
    world.enqueued_tokens = {MODEL: 100}


def job(world: World, name: str, shards: int = 1, tokens: int = 40) -> str:
    """A job with so many shards of two rows, of so many tokens each."""
    job_id = world.drop(f"{name}.jsonl", jsonl([line("1", body("q")), line("2", body("r"))]))
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    first = world.ledger.shard(job_id, "01-00001")
    manifest = world.work.get(layout.shard(job_id, "01-00001"))
    for number in range(1, shards + 1):
        shard_id = f"01-{number:05d}"
        made = msgspec.structs.replace(first, shard_id=shard_id, number=number, tokens=tokens)
        world.ledger.shard_records[job_id, shard_id] = made
        world.work.stored[layout.shard(job_id, shard_id)] = manifest
    return job_id


def ask(world: World, job_id: str, number: int = 1, lap: int = 0) -> int:
    """Seconds to wait for room; 0: it may go."""
    shard = world.ledger.shard(job_id, f"01-{number:05d}")
    step = ShardStep(next="wait_to_submit", lap=lap)
    return world.reserver().hold(shard, step).wait_seconds


def give_back(world: World, job_id: str, number: int = 1) -> None:
    world.reserver().release(world.ledger.shard(job_id, f"01-{number:05d}"))


def in_use(world: World) -> int:
    return world.quotas.use(MODEL).in_use


def test_there_is_room_for_as_many_tokens_as_the_limit(world: World) -> None:
    a = job(world, "a", shards=3)
    assert [ask(world, a, n) for n in (1, 2, 3)] == [0, 0, 30]
    assert [ask(world, a, n) for n in (1, 2, 3)] == [0, 0, 30]
    assert in_use(world) == 80
    give_back(world, a, 1)
    give_back(world, a, 1)
    assert in_use(world) == 40
    assert ask(world, a, 3) == 0
    assert world.quotas.waiting == {}


def test_a_small_job_takes_its_turn_after_one_shard_of_a_big_one(world: World) -> None:
    big = job(world, "big", shards=20)
    assert [ask(world, big, n) for n in range(1, 21)].count(0) == 2
    small = job(world, "small", shards=2)
    assert [ask(world, small, n) for n in (1, 2)] != [0, 0]
    served: list[tuple[str, int]] = []
    held = [(big, 1), (big, 2)]
    waiting = [(big, n) for n in range(3, 21)] + [(small, 1), (small, 2)]
    while held:
        give_back(world, *held.pop(0))
        for each in [each for each in waiting if not ask(world, *each)]:
            waiting.remove(each)
            held.append(each)
            served.append(each)
    assert len(served) == 20
    assert [job_id for job_id, _ in served[:5]].count(small) == 2
    assert [n for job_id, n in served if job_id == big] == sorted(range(3, 21))


def test_who_is_further_behind_looks_less_often(world: World) -> None:
    a = job(world, "a", shards=30)
    waits = [ask(world, a, n) for n in range(1, 31)]
    assert waits[:4] == [0, 0, 30, 60]
    assert waits[-1] == 300
    assert room_wait(0, 1_200) == 900


def test_the_first_in_line_is_not_overtaken_by_a_smaller_one(world: World) -> None:
    a = job(world, "a", shards=2, tokens=70)
    assert (ask(world, a, 1), ask(world, a, 2)) == (0, 30)
    b = job(world, "b", tokens=10)
    assert ask(world, b) == 60
    give_back(world, a, 1)
    assert (ask(world, b), ask(world, a, 2), ask(world, b)) != (0, 30, 0)
    assert ask(world, a, 2) == 0
    assert ask(world, b) == 0


def test_a_place_in_the_line_is_lost_by_who_does_not_come_again(world: World) -> None:
    a = job(world, "a", shards=4, tokens=60)
    assert [ask(world, a, n) for n in (1, 2, 3)] == [0, 30, 60]
    world.quotas.waiting = {
        place: msgspec.structs.replace(waiter, until="2026-01-01T00:00:00.000Z")
        if waiter.shard_id == "01-00002"
        else waiter
        for place, waiter in world.quotas.waiting.items()
    }
    give_back(world, a, 1)
    assert ask(world, a, 3) == 0
    assert world.quotas.waiting == {}


def test_a_refused_shard_leaves_the_line(world: World) -> None:
    a = job(world, "a", shards=2, tokens=60)
    assert [ask(world, a, n) for n in (1, 2)] == [0, 30]
    give_back(world, a, 2)
    assert world.quotas.waiting == {}
    assert in_use(world) == 60


@pytest.mark.parametrize("lose", ["record", "status"])
def test_a_lease_whose_release_was_lost_is_found_and_given_back(world: World, lose: str) -> None:
    a, b = job(world, "a", tokens=100), job(world, "b", tokens=100)
    assert (ask(world, a), ask(world, b)) == (0, 30)
    key = (MODEL, a, "01-00001")
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    world.quotas.held[key] = msgspec.structs.replace(world.quotas.held[key], at=old)
    assert ask(world, b, lap=9) == 30
    assert ask(world, b, lap=10) == 30, "its batch is not over"
    if lose == "record":
        del world.ledger.shard_records[a, "01-00001"]
    else:
        shard = world.ledger.shard(a, "01-00001")
        world.ledger.save_shard(msgspec.structs.replace(shard, status="collected"))
    assert ask(world, b, lap=18) == 30
    assert ask(world, b, lap=19) == 30
    assert ask(world, b, lap=20) == 0


def test_a_shard_above_the_limit_is_split_but_a_row_goes_alone(world: World) -> None:
    a, b = job(world, "a", tokens=101), job(world, "b", tokens=10)
    place = world.reserver().hold(world.ledger.shard(a, "01-00001"), laps.first())
    assert place.refusal is not None
    assert (place.refusal.then, place.refusal.capacity) == ("split", True)
    shard = msgspec.structs.replace(world.ledger.shard(a, "01-00001"), rows=1)
    assert ask(world, b) == 0
    assert world.reserver().hold(shard, laps.first()).wait_seconds == 30
    give_back(world, b)
    assert world.reserver().hold(shard, laps.first()).wait_seconds == 0


def test_without_a_limit_nobody_waits_and_a_refusal_teaches_one(world: World) -> None:
    world.enqueued_tokens = {}
    a = job(world, "a", shards=3, tokens=40)
    assert [ask(world, a, n) for n in (1, 2, 3)] == [0, 0, 0]
    assert in_use(world) == 0
    assert not world.reserver().refused(world.ledger.shard(a, "01-00003"))
    assert world.quotas.use(MODEL).learned == 80
    b = job(world, "b", shards=3, tokens=40)
    assert [ask(world, b, n) for n in (1, 2, 3)] == [0, 0, 30]
    over = msgspec.structs.replace(world.quotas.use(MODEL), learned_until="2026-01-01")
    world.quotas.uses[MODEL] = over
    assert ask(world, b, 3) == 0, "a day later it is tried again"


def test_a_lesson_only_lowers_a_limit(world: World) -> None:
    a = job(world, "a", shards=4, tokens=30)
    assert [ask(world, a, n) for n in (1, 2, 3)] == [0, 0, 0]
    world.reserver().refused(world.ledger.shard(a, "01-00003"))
    assert world.quotas.use(MODEL).learned == 60
    world.quotas.held[MODEL, "x", "x"] = msgspec.structs.replace(
        world.quotas.held[MODEL, a, "01-00001"], job_id="x", tokens=500
    )
    world.reserver().refused(world.ledger.shard(a, "01-00002"))
    assert world.quotas.use(MODEL).learned == 60


def test_a_create_that_finds_the_queue_full_goes_back_into_the_line(
    world: World, provider: FakeProvider
) -> None:
    a = job(world, "a", shards=2)
    world.submitter("openai").submit(a, "01-00001", laps.first())
    provider.script["create"] = [FULL]
    step = world.submitter("openai").submit(a, "01-00002", laps.first())
    assert (step.next, step.wait_seconds) == ("wait_to_submit", 60)
    assert in_use(world) == 40
    assert world.quotas.use(MODEL).learned == 40
    assert world.submitter("openai").submit(a, "01-00002", step).next == "wait_to_submit"
    assert provider.calls.count("create") == 2
    collect(world, a, "01-00001")
    assert world.submitter("openai").submit(a, "01-00002", step).next == "wait"


def test_alone_in_a_full_queue_a_shard_is_split_after_three_tries(
    world: World, provider: FakeProvider
) -> None:
    a = job(world, "a")
    provider.script["create"] = [FULL] * 3
    step = laps.first()
    for _ in range(2):
        step = world.submitter("openai").submit(a, "01-00001", step)
        assert step.next == "wait_to_submit"
    assert world.submitter("openai").submit(a, "01-00001", step).next == "collect"
    collected = collect(world, a, "01-00001")
    assert [source.weight.rows for source in collected] == [1, 1]
    assert all(source.alone for source in collected)
    assert world.ledger.shard(a, "01-00001").answered is not None
    assert in_use(world) == 0


def test_a_rate_refusal_waits_and_splits_nothing(world: World, provider: FakeProvider) -> None:
    a = job(world, "a")
    provider.script["create"] = [Throttled("rate_limit_exceeded", "slow")] * 9
    step = laps.first()
    for _ in range(9):
        step = whole(world.submitter("openai").submit(a, "01-00001", step))
        assert step.next == "wait_to_submit"
    assert in_use(world) == 40
    assert world.submitter("openai").submit(a, "01-00001", step).next == "wait"


@pytest.mark.parametrize(("others", "then"), [(0, "split"), (1, "resend")])
def test_a_late_refusal_for_tokens_splits_only_who_was_alone(
    world: World, provider: FakeProvider, others: int, then: str
) -> None:
    a = job(world, "a", shards=2)
    for number in range(1, 2 + others):
        world.submitter("openai").submit(a, f"01-{number:05d}", laps.first())
    refusal = Refusal(code=FULL.code, message="full", then="resend", capacity=True)
    provider.script["poll"] = [BatchState(status="failed", outcome="refused", refusal=refusal)]
    world.poller("openai").poll(a, "01-00001", ShardStep(next="wait"))
    found = world.ledger.shard(a, "01-00001").refusal
    assert found is not None
    assert found.then == then
    assert sum(source.weight.rows for source in collect(world, a, "01-00001")) == 2


def test_a_single_row_that_is_too_much_is_not_failed_for_it(
    world: World, provider: FakeProvider
) -> None:
    job_id = world.drop("one.jsonl", jsonl([line("1", body("q"))]))
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    shard = world.ledger.shard(job_id, "01-00001")
    shard.refusal = Refusal(code=FULL.code, message="full", then="split", capacity=True)
    world.ledger.save_shard(shard)
    assert [source.weight.rows for source in collect(world, job_id, "01-00001")] == [1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    moment = [1_800_000_000.0]  # the first second of an hour
    monkeypatch.setattr(time, "time", lambda: moment[0])

    def move(seconds: float) -> None:
        moment[0] += seconds

    return move


def test_creates_are_paced_over_any_hour(world: World, clock: Callable[[float], None]) -> None:
    world.creates_per_hour = 100
    made: list[float] = []
    waited = 0.0
    for _ in range(350):
        while wait := world.reserver().pace("openai"):
            assert 30 <= wait <= 3_600
            clock(wait)
            waited += wait
        made.append(waited)
    busiest = max(sum(0 <= other - at < 3_600 for other in made) for at in made)
    assert busiest <= 110
    assert waited <= 4 * 3_600


def test_a_shard_waits_for_its_turn_to_be_created(
    world: World, provider: FakeProvider, clock: Callable[[float], None]
) -> None:
    world.creates_per_hour = 1
    world.enqueued_tokens = {}
    a = job(world, "a", shards=2)
    assert world.submitter("openai").submit(a, "01-00001", laps.first()).next == "wait"
    step = world.submitter("openai").submit(a, "01-00002", laps.first())
    assert (step.next, step.wait_seconds) == ("wait_to_submit", 3_600)
    assert provider.calls.count("create") == 1
    clock(2 * 3_600)
    assert world.submitter("openai").submit(a, "01-00002", step).next == "wait"


def test_the_wait_for_a_create_ends_when_the_window_has_room() -> None:
    assert pace_wait(0, 0, 10, 10) == 3_600
    assert pace_wait(3_590, 0, 10, 10) == 30
    assert pace_wait(0, 100, 49, 100) == 900
    assert pace_wait(0, 100, 9, 100) == 360
    assert pace_wait(600, 100, 20, 100) == 156


def collect(world: World, job_id: str, shard_id: str) -> list[Source]:
    world.collector("openai").collect(job_id, shard_id)
    return collected(world.work, job_id, shard_id).remainder
