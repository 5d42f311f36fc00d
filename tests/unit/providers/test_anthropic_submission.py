"""A create whose answer was lost, at a provider that cannot tell its batches apart at once."""

from __future__ import annotations

import pytest

from functions.batch.errors import (
    AccountBlocked,
    KeyMissing,
    Missing,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
    Unconfirmed,
)
from functions.batch.model import Shard, ShardStep
from functions.batch.sending import laps
from functions.batch.sending.submission import LONG_DOUBT
from functions.batch.sending.waits import LOOK_UP_SECONDS
from tests.support.driver import World, whole
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

SHARD = "01-00001"


@pytest.fixture
def job_id(world: World) -> str:
    """Two shards of one job; the answer to the first one's create is lost."""
    rows = [line(f"{n}", body(f"q{n}", model)) for model in ("gpt-5", "gpt-6") for n in range(4)]
    identity = world.drop("a.jsonl", jsonl(rows))
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    world.open_round(identity, 1)
    return identity


@pytest.fixture
def lost(world: World, provider: FakeProvider, job_id: str) -> ShardStep:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    return lap(world, job_id)


def lap(world: World, job_id: str, step: ShardStep | None = None) -> ShardStep:
    return whole(world.submitter("openai").submit(job_id, SHARD, step or laps.first()))


def record(world: World, job_id: str) -> Shard:
    return world.ledger.shard(job_id, SHARD)


def doubt(*candidates: str) -> Unconfirmed:
    return Unconfirmed(list(candidates), "time will tell")


def test_a_shard_waits_until_its_candidate_can_be_told(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep
) -> None:
    provider.script["find_batches"] = [*(doubt("x") for _ in range(9)), [], ["ours"]]
    step, waits = lost, list[int]()
    while step.next == "wait_to_submit":
        waits.append(step.wait_seconds)
        step = lap(world, job_id, step)
    assert waits == [330, 330, 660, 1_320, *[1_800] * 6, 330]
    assert record(world, job_id).batch_id == "ours"
    assert provider.calls.count("create") == 1
    assert world.alerts.sent == []


def test_doubt_spends_no_look_up(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep
) -> None:
    provider.script["find_batches"] = [[], *(doubt("x") for _ in range(5)), [], []]
    step = lost
    while step.next == "wait_to_submit":
        step = lap(world, job_id, step)
    assert provider.calls.count("find_batches") == 8
    assert provider.calls.count("create") == 2


def test_several_candidates_park_the_shard_with_one_alert(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep
) -> None:
    provider.script["find_batches"] = [doubt("one", "two") for _ in range(6)]
    step = lost
    for _ in range(6):
        step = lap(world, job_id, step)
        assert step.next == "wait_to_submit"
    assert provider.calls.count("create") == 1
    ((subject, message),) = world.alerts.sent
    assert "parked" in subject
    assert "one, two" in message


def test_one_candidate_that_never_tells_is_told_after_a_day(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep
) -> None:
    provider.script["find_batches"] = [doubt("one") for _ in range(LONG_DOUBT + 5)]
    step, waited = lost, 0
    while not world.alerts.sent:
        step = lap(world, job_id, step)
        waited += step.wait_seconds
    assert 26 * 3_600 < waited < 36 * 3_600
    for _ in range(4):
        step = lap(world, job_id, step)
    assert len(world.alerts.sent) == 1
    assert provider.calls.count("create") == 1


def test_batches_of_the_jobs_other_shards_are_no_candidates(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep
) -> None:
    world.submitter("openai").submit(job_id, "01-00002", laps.first())
    sibling = world.ledger.shard(job_id, "01-00002").batch_id
    assert sibling is not None
    provider.script["find_batches"] = [doubt(sibling), doubt(sibling, "x"), doubt(sibling)]
    step = lap(world, job_id, lost)
    assert record(world, job_id).looks == 1
    step = lap(world, job_id, step)
    assert record(world, job_id).looks == 1
    lap(world, job_id, step)
    assert record(world, job_id).looks == 2
    assert world.alerts.sent == []


@pytest.mark.parametrize(
    "error",
    [
        Throttled("rate_limit_error", "slow down"),
        Refused("invalid_request_error", "bad cursor"),
        Missing("not_found_error", "no such path"),
        AccountBlocked("authentication_error", "bad key"),
        Unavailable("api_error", "oops"),
    ],
)
def test_a_look_up_that_fails_forgets_nothing(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep, error: ProviderError
) -> None:
    provider.script["find_batches"] = [error, error, ["ours"]]
    step = lap(world, job_id, lost)
    assert step.wait_seconds >= (300 if isinstance(error, AccountBlocked) else LOOK_UP_SECONDS)
    assert record(world, job_id).creating
    assert len(world.alerts.sent) == isinstance(error, AccountBlocked)
    step = lap(world, job_id, step)
    assert lap(world, job_id, step).next == "wait"
    assert record(world, job_id).batch_id == "ours"
    assert provider.calls.count("create") == 1
    assert world.ledger.job(job_id).status == "running"


def test_a_key_that_is_taken_away_meanwhile_fails_no_row(
    world: World, provider: FakeProvider, job_id: str, lost: ShardStep
) -> None:
    def no_key() -> FakeProvider:
        raise KeyMissing("missing_key", "Set it.")

    world.providers["openai"] = no_key
    step = lap(world, job_id, lost)
    assert (step.next, world.ledger.job(job_id).status) == ("wait_to_submit", "paused")
    world.providers["openai"] = lambda: provider
    provider.script["find_batches"] = [["ours"]]
    assert lap(world, job_id, step).next == "wait"
    assert record(world, job_id).batch_id == "ours"
