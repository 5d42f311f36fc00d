"""The ways a submission can go, each provoked at the port."""

from __future__ import annotations

import pytest

from functions.batch.errors import (
    AccountBlocked,
    Conflict,
    KeyMissing,
    NotVisible,
    OverCapacity,
    Refused,
    Throttled,
    Unavailable,
)
from functions.batch.model import ProviderObject, Shard, ShardStep
from functions.batch.sending import laps
from functions.batch.sending.submission import LOOK_UPS, MOST_DOUBTS
from functions.batch.sending.waits import LOOK_UP_SECONDS
from tests.support.driver import World, whole
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

SHARD = "01-00001"


@pytest.fixture
def job_id(world: World) -> str:
    identity = world.drop("a.jsonl", jsonl([line(f"{n}", body(f"q{n}")) for n in range(4)]))
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    world.open_round(identity, 1)
    return identity


def lap(world: World, job_id: str, step: ShardStep | None = None) -> ShardStep:
    return whole(world.submitter("openai").submit(job_id, SHARD, step or laps.first()))


def record(world: World, job_id: str) -> Shard:
    return world.ledger.shard(job_id, SHARD)


def test_a_submission_is_recorded_and_not_repeated(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    step = lap(world, job_id)
    assert (step.next, step.wait_seconds) == ("wait", 30)
    assert lap(world, job_id).next == "wait"
    assert len(provider.batches) == 1
    assert record(world, job_id).batch_id == "batch-1"
    assert [file.id for file in world.ledger.files(job_id)] == ["file-1"]


def test_an_unknown_outcome_is_looked_up_three_times_before_it_is_tried_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    step = lap(world, job_id)
    waits: list[int] = []
    while step.next == "wait_to_submit":
        waits.append(step.wait_seconds)
        step = lap(world, job_id, step)
    assert waits == [LOOK_UP_SECONDS] * 3
    assert provider.calls.count("find_batches") == 3
    assert provider.calls.count("create") == 2
    assert provider.calls.count("stage") == 1
    assert record(world, job_id).attempt == 2


def test_creates_that_fail_again_and_again_become_rare_and_a_person_is_told(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    """Each may have made a batch that is paid, though no list shows it."""
    creates = MOST_DOUBTS + 6
    provider.script["create"] = [Unavailable("http_500", "error 500.")] * creates
    step, waited, told = laps.first(), 0, []
    while provider.calls.count("create") < creates:
        step = lap(world, job_id, step)
        waited += step.wait_seconds
        told.append((provider.calls.count("create"), len(world.alerts.sent)))
    assert provider.calls.count("find_batches") == LOOK_UPS * (creates - 1)
    assert {alerts for made, alerts in told if made < MOST_DOUBTS} == {0}
    assert {alerts for made, alerts in told if made > MOST_DOUBTS} == {1}
    assert "cancel them" in world.alerts.sent[0][1]
    assert waited > 8 * 3_600
    assert world.ledger.job(job_id).status == "paused"
    while step.next == "wait_to_submit":
        step = lap(world, job_id, step)
    assert world.ledger.job(job_id).status == "running"


def test_a_batch_that_is_found_is_taken(world: World, provider: FakeProvider, job_id: str) -> None:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    provider.script["find_batches"] = [[], ["batch-landed"]]
    step = lap(world, job_id)
    assert lap(world, job_id, step).next == "wait_to_submit"
    assert lap(world, job_id, step).next == "wait"
    assert record(world, job_id).batch_id == "batch-landed"
    assert provider.calls.count("create") == 1


def test_several_candidates_park_the_shard_with_an_alert(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    provider.script["find_batches"] = [["one", "two"]] * 5
    step = lap(world, job_id)
    for _ in range(5):
        step = lap(world, job_id, step)
        assert step.next == "wait_to_submit"
    assert provider.calls.count("create") == 1
    assert "one, two" in world.alerts.sent[0][1]


def test_a_crash_before_the_create_needs_no_look_up_and_leaves_no_file(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["stage"] = [RuntimeError("killed")]
    with pytest.raises(RuntimeError):
        lap(world, job_id)
    provider.script["find_staged"] = [[ProviderObject(kind="input_file", id="stray")]]
    assert lap(world, job_id).next == "wait"
    assert provider.calls.count("find_batches") == 0
    assert sorted(file.id for file in world.ledger.files(job_id)) == ["file-1", "stray"]


def test_a_rival_that_comes_late_creates_nothing(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    def overtaken() -> list[ProviderObject]:
        lap(world, job_id)
        return [ProviderObject(kind="input_file", id="late")]

    provider.script["stage"] = [overtaken]
    with pytest.raises(Conflict):
        lap(world, job_id)
    assert len(provider.batches) == 1
    assert {file.id for file in world.ledger.files(job_id)} == {"file-1", "late"}


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Throttled("rate_limit", "slow down"), 60),
        (Throttled("rate_limit", "slow down", retry_after=95.5), 95),
        (OverCapacity("token_limit_exceeded", "queue full"), 60),
        (NotVisible("not_found", "no such file"), 30),
        (AccountBlocked("invalid_api_key", "bad key"), 300),
    ],
)
def test_a_definite_no_is_tried_again_without_a_look_up(
    world: World, provider: FakeProvider, job_id: str, error: Exception, seconds: int
) -> None:
    provider.script["create"] = [error, error]
    step = lap(world, job_id)
    assert (step.next, step.wait_seconds) == ("wait_to_submit", seconds)
    step = lap(world, job_id, step)
    assert step.wait_seconds >= seconds
    assert step.troubles == 2
    assert lap(world, job_id, step).next == "wait"
    assert "find_batches" not in provider.calls
    assert provider.calls.count("stage") == 1


def test_waits_grow_to_an_hour_and_for_an_account_to_a_day(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Throttled("rate_limit", "no")] * 20
    step = lap(world, job_id)
    for _ in range(19):
        step = lap(world, job_id, step)
    assert step.wait_seconds == 3_600
    provider.script["create"] = [AccountBlocked("insufficient_quota", "pay")] * 20
    for _ in range(20):
        step = lap(world, job_id, step)
    assert step.wait_seconds == 86_400
    assert len(world.alerts.sent) == 1
    assert world.ledger.job(job_id).status == "paused"
    assert lap(world, job_id, step).next == "wait"
    assert world.ledger.job(job_id).status == "running"


def test_a_file_that_stays_invisible_is_uploaded_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [NotVisible("not_found", "cannot find file")] * 6
    step = lap(world, job_id)
    while step.next == "wait_to_submit":
        step = lap(world, job_id, step)
    assert provider.calls.count("stage") == 2
    assert len(list(world.ledger.files(job_id))) == 2


def test_a_file_that_is_never_seen_is_not_uploaded_without_end_and_a_person_is_told(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [NotVisible("http_404", "no such path")] * 14
    step = lap(world, job_id)
    for _ in range(13):
        step = lap(world, job_id, step)
    assert provider.calls.count("stage") == 3
    assert world.ledger.job(job_id).status == "paused"
    assert len(world.alerts.sent) == 1
    assert step.wait_seconds + step.owed > 300
    assert lap(world, job_id, step).next == "wait"
    assert world.ledger.job(job_id).status == "running"


def test_without_a_key_the_rows_fail_with_the_command_that_sets_it(
    world: World, job_id: str
) -> None:
    def no_key() -> FakeProvider:
        raise KeyMissing("missing_key", "Set it with `batchdrop keys set openai`.")

    world.providers["openai"] = no_key
    world.run_shard(job_id, "openai", SHARD)
    assert world.open_round(job_id, 2).run == "none"
    world.assembler().assemble(job_id)
    world.reporter().report(job_id, None)
    summary = world.summary(job_id)
    assert summary["status"] == "failed"
    assert summary["reason"]["code"] == "missing_key"
    assert "all of them: Set it with `batchdrop keys set openai`" in summary["reason"]["message"]
    assert {row["error"]["code"] for row in world.result_lines(job_id)} == {"missing_key"}


def test_a_refused_create_is_split_until_the_row_is_found(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Refused("bad_request", "something in it")]
    assert lap(world, job_id).next == "collect"
    world.collector("openai").collect(job_id, SHARD)
    assert world.cleaner("openai").clean_up(job_id, SHARD, None).next == "done"
    opened = world.open_round(job_id, 2)
    assert [world.ledger.shard(job_id, run.shard_id).rows for run in opened.shards] == [1] * 4
    assert provider.deleted == ["file-1"]


def test_a_cancelled_job_submits_nothing_more(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    world.ledger.update_job(job_id, {"cancel_requested": True})
    assert lap(world, job_id).next == "collect"
    assert provider.calls == []
    assert record(world, job_id).refusal is not None


def test_a_cancel_during_an_unknown_create_looks_first(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    step = lap(world, job_id)
    world.ledger.update_job(job_id, {"cancel_requested": True})
    for _ in range(2):
        step = lap(world, job_id, step)
        assert step.next == "wait_to_submit"
    assert lap(world, job_id, step).next == "collect"
    assert provider.calls.count("create") == 1
    assert provider.calls.count("find_batches") == 3
