from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from functions.batch.learning import Learned
from functions.batch.model import Shard, now
from functions.batch.turnaround import (
    ENOUGH,
    LAST,
    LATE,
    MEDIAN,
    Awaited,
    begin_of,
    bucket_of,
    end_of,
    finish,
    first_wait,
)
from tests.support.driver import World
from tests.support.priced_job import PricedWorld

HOUR = 3_600
LEAST, MOST = 30, 600


def history(*seconds: float) -> dict[int, int]:
    known = Learned()
    for each in seconds:
        known.note_turnaround(each)
    return known.turnaround


def wait(*seconds: float) -> int:
    return first_wait(history(*seconds), least=LEAST, most=MOST)


@pytest.mark.parametrize("seconds", [1, 1.4, 2, 3, 30, 600, 601, HOUR, 24 * HOUR, 98 * HOUR])
def test_a_bucket_holds_what_falls_into_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert begin_of(bucket) <= seconds <= end_of(bucket) * (1 + 1e-9)
    assert end_of(bucket) <= 1.42 * max(begin_of(bucket), 1)
    assert bucket < LAST


def test_the_ends_of_the_scale_take_what_lies_beyond() -> None:
    assert bucket_of(0) == bucket_of(0.99) == 0
    assert begin_of(0) == 0
    assert bucket_of(10**9) == LAST


def test_without_enough_batches_the_first_wait_is_the_least() -> None:
    assert wait() == wait(*[HOUR] * (ENOUGH - 1)) == LEAST
    assert wait(*[HOUR] * ENOUGH) == MOST


def test_the_first_wait_is_half_of_what_nearly_all_batches_take() -> None:
    assert 200 <= wait(*[600] * 100) <= 300
    assert wait(*[600] * 80, *[70] * 20) <= 35
    assert wait(*[600] * 95, *[70] * 5) == wait(*[600] * 100)


@pytest.mark.parametrize("seconds", [0, 0.3, 2, 5, 20, 59])
def test_on_a_shortened_clock_the_first_wait_stays_the_least(seconds: float) -> None:
    """Batches of seconds, whatever the waits between their polls are called there."""
    assert wait(*[seconds] * 1_000) == LEAST


def test_the_first_wait_keeps_to_its_limits() -> None:
    assert first_wait(history(*[HOUR] * 20), least=30, most=10) == 30


def test_lessons_of_how_long_it_took_add_up() -> None:
    one, other = Learned(), Learned()
    one.note_turnaround(10)
    other.note_turnaround(10)
    other.note_turnaround(HOUR)
    one.add(other)
    assert one.turnaround == {bucket_of(10): 2, bucket_of(HOUR): 1}
    assert other.turnaround == {bucket_of(10): 1, bucket_of(HOUR): 1}


def test_the_finish_of_one_batch_is_what_its_model_took_before() -> None:
    known = history(*[60] * 8, *[HOUR] * 2)
    one = [Awaited(histogram=known, batches=1)]
    assert 60 <= (finish(one, MEDIAN) or 0) <= 86
    assert HOUR <= (finish(one, LATE) or 0) <= 1.42 * HOUR


def test_of_many_batches_the_slowest_counts() -> None:
    known = history(*[60] * 90, *[HOUR] * 10)
    assert (finish([Awaited(histogram=known, batches=1)], MEDIAN) or 0) < 90
    assert (finish([Awaited(histogram=known, batches=20)], MEDIAN) or 0) >= HOUR


def test_a_job_waits_for_its_slowest_model_and_for_delays() -> None:
    quick = Awaited(histogram=history(*[60] * 20), batches=1)
    slow = Awaited(histogram=history(*[HOUR] * 20), batches=1)
    assert finish([quick, slow], MEDIAN) == finish([slow], MEDIAN)
    late = Awaited(histogram=quick.histogram, batches=1, delay_seconds=2 * HOUR)
    assert (finish([late, slow], MEDIAN) or 0) >= 2 * HOUR + 60


def test_what_is_not_known_well_is_not_told() -> None:
    known = Awaited(histogram=history(*[60] * 20), batches=1)
    unknown = Awaited(histogram=history(*[60] * (ENOUGH - 1)), batches=1)
    assert finish([], MEDIAN) is None
    assert finish([unknown], MEDIAN) is None
    assert finish([known, unknown], LATE) is None


def teach(world: World, *seconds: float) -> None:
    for number, each in enumerate(seconds):
        lesson = Learned()
        lesson.note_turnaround(each)
        assert world.ledger.learn("openai", "m", lesson, once=f"earlier {number}")


def test_every_batch_that_ends_teaches_how_long_it_took_once() -> None:
    world = PricedWorld()
    job_id = world.submit(["a", "b"])
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    world.run_shard(job_id, "openai", "01-00001")
    assert world.ledger.learned("openai", "m").turnaround == {0: 1}
    shard = world.ledger.shard(job_id, "01-00001")
    shard.status = "ended"
    shard.outputs = []
    world.ledger.save_shard(shard)
    world.collector("openai").collect(job_id, "01-00001")
    assert world.ledger.learned("openai", "m").turnaround == {0: 1}


def ended(world: PricedWorld, **fields: object) -> Shard:
    job_id = world.submit(["a", "b"])
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    shard = world.ledger.shard(job_id, "01-00001")
    shard.status = "ended"
    shard.batch_id = "batch"
    shard.complete = True
    shard.submitted_at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    shard.ended_at = now()
    for name, value in fields.items():
        setattr(shard, name, value)
    world.ledger.save_shard(shard)
    world.collector("openai").collect(job_id, shard.shard_id)
    return world.ledger.shard(job_id, shard.shard_id)


def test_what_was_cancelled_teaches_nothing_and_what_expired_does() -> None:
    world = PricedWorld()
    assert ended(world, cancel_sent=True).status == "collected"
    assert world.ledger.learned("openai", "m").turnaround == {}
    world = PricedWorld()
    assert ended(world, complete=False).status == "collected"
    assert world.ledger.learned("openai", "m").turnaround == {bucket_of(HOUR): 1}


def test_a_job_is_told_when_its_round_will_have_ended() -> None:
    world = PricedWorld()
    teach(world, *[HOUR] * 8, *[10 * HOUR] * 4)
    job_id = world.submit(["a"])
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    before = datetime.now(UTC)
    world.open_round(job_id, 1)
    job = world.ledger.job(job_id)
    assert job.expected_at is not None
    assert job.expected_by is not None
    half = datetime.fromisoformat(job.expected_at) - before
    most = datetime.fromisoformat(job.expected_by) - before
    assert timedelta(hours=1) <= half <= timedelta(hours=1.42)
    assert timedelta(hours=10) <= most <= timedelta(hours=14.2)


def test_a_job_of_a_model_that_nobody_knows_is_told_nothing() -> None:
    world = PricedWorld()
    job_id = world.submit(["a"])
    world.run(job_id)
    job = world.ledger.job(job_id)
    assert (job.expected_at, job.expected_by) == (None, None)


@pytest.mark.parametrize(("seconds", "first"), [(2.0, 30), (700.0, 256), (10.0 * HOUR, 600)])
def test_the_first_poll_waits_as_the_model_has_taught(seconds: float, first: int) -> None:
    world = PricedWorld()
    teach(world, *[seconds] * ENOUGH)
    waits: list[float] = []
    world.on_wait = lambda wait: (waits.append(wait), world.twin.tick())[0]
    assert world.run(world.submit(["a"]))["status"] == "succeeded"
    assert waits[0] == first
    assert waits[1] == max(30, first // 10)
