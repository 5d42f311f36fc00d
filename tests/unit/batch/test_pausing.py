"""A provider that needs a person: paused with one alert, looked at again, resumed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from functions.batch.errors import AccountBlocked, Missing, Unavailable, Unconfirmed
from functions.batch.model import (
    BATCH_GONE,
    BatchState,
    ProviderObject,
    Refusal,
    Shard,
    ShardStep,
)
from functions.batch.sending import laps
from functions.batch.sending.laps import SLICE_SECONDS
from functions.batch.sending.polling import GONE_LAPS
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

FIRST, SECOND = "01-00001", "01-00002"
BLOCKED = AccountBlocked("insufficient_quota", "Your credit is exhausted.")
MISSING = Missing("not_found", "no such batch")
OTHER_KEY = "batches_vanished"


def two_shards(world: World, name: str = "a.jsonl") -> str:
    rows = [line(f"{n}", body(f"q{n}", model)) for model in ("gpt-5", "gpt-6") for n in range(2)]
    job_id = world.drop(name, jsonl(rows))
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    return job_id


def submit(world: World, job_id: str, shard_id: str, step: ShardStep | None = None) -> ShardStep:
    return world.submitter("openai").submit(job_id, shard_id, step or laps.first())


def poll(world: World, job_id: str, shard_id: str, step: ShardStep | None = None) -> ShardStep:
    return world.poller("openai").poll(job_id, shard_id, step or ShardStep(next="wait"))


@pytest.fixture
def job_id(world: World) -> str:
    return two_shards(world)


@pytest.fixture
def paused(world: World, provider: FakeProvider, job_id: str) -> ShardStep:
    """The step of a shard whose wait is longer than a slice."""
    provider.script["create"] = [BLOCKED] * 3
    step = submit(world, job_id, FIRST)
    while not step.owed:
        step = submit(world, job_id, FIRST, step)
    return step


def test_a_long_wait_is_made_in_slices_that_ask_nobody(
    world: World, provider: FakeProvider, job_id: str, paused: ShardStep
) -> None:
    assert (paused.wait_seconds, paused.owed) == (SLICE_SECONDS, 1_200 - SLICE_SECONDS)
    asked = len(provider.calls)
    step = submit(world, job_id, FIRST, paused)
    assert (step.next, step.wait_seconds, step.owed) == ("wait_to_submit", 300, 0)
    assert len(provider.calls) == asked
    assert submit(world, job_id, FIRST, step).next == "wait"


def test_who_resumes_a_provider_ends_the_wait_at_the_next_slice(
    world: World, provider: FakeProvider, job_id: str, paused: ShardStep
) -> None:
    assert world.command("Resume Provider", provider="openai")
    assert submit(world, job_id, FIRST, paused).next == "wait"
    assert world.ledger.job(job_id).status == "running"


def test_a_resume_that_did_not_help_begins_with_short_waits_again(
    world: World, provider: FakeProvider, job_id: str, paused: ShardStep
) -> None:
    world.ledger.resume("openai")
    provider.script["create"] = [BLOCKED]
    step = submit(world, job_id, FIRST, paused)
    assert (step.wait_seconds, step.owed, step.troubles) == (300, 0, 1)
    world.ledger.resume("anthropic")
    assert submit(world, job_id, FIRST, paused).owed == 0


def test_a_cancel_ends_the_wait_too(
    world: World, provider: FakeProvider, job_id: str, paused: ShardStep
) -> None:
    world.ledger.update_job(job_id, {"cancel_requested": True})
    assert submit(world, job_id, FIRST, paused).next == "collect"


def test_a_cancel_reaches_a_batch_whose_provider_is_paused(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    provider.script["poll"] = [BLOCKED] * 3
    step = poll(world, job_id, FIRST)
    while not step.owed:
        step = poll(world, job_id, FIRST, step)
    assert poll(world, job_id, FIRST, step).owed < step.owed
    assert "cancel" not in provider.calls
    world.ledger.update_job(job_id, {"cancel_requested": True})
    poll(world, job_id, FIRST, step)
    assert provider.calls.count("cancel") == 1


def test_a_shard_that_may_not_go_yet_waits_in_slices_and_can_be_resumed(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    step = submit(world, job_id, FIRST, laps.first(2_000))
    assert (step.next, step.wait_seconds, step.owed) == ("wait_to_submit", 900, 1_100)
    world.ledger.resume("openai")
    assert submit(world, job_id, FIRST, step).next == "wait"


def test_commands_name_what_there_is(world: World) -> None:
    with pytest.raises(ValueError, match="there are openai, anthropic, vertex"):
        world.command("Resume Provider", provider="gemini")
    with pytest.raises(ValueError, match="no command 'Stop'"):
        world.command("Stop")
    assert not world.command("Cancel Job", job_id="nobody")


def test_an_alert_that_died_with_its_function_is_made_up_for(
    world: World, provider: FakeProvider, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: str) -> None:
        raise RuntimeError("killed")

    provider.script["create"] = [BLOCKED] * 5
    monkeypatch.setattr(world.alerts, "alert", dead)
    with pytest.raises(RuntimeError):
        submit(world, job_id, FIRST)
    monkeypatch.undo()
    submit(world, job_id, SECOND)
    assert world.alerts.sent == []
    submit(world, job_id, FIRST)
    submit(world, job_id, FIRST)
    assert len(world.alerts.sent) == 1
    assert "batchdrop resume openai" in world.alerts.sent[0][1]


def gone(world: World, provider: FakeProvider, job_id: str, shard_id: str) -> ShardStep:
    """After as many laps as a batch may be missing."""
    provider.script["poll"] = [MISSING] * GONE_LAPS
    step = ShardStep(next="wait")
    for _ in range(GONE_LAPS):
        step = poll(world, job_id, shard_id, step)
    return step


def test_one_batch_that_is_gone_goes_again_while_another_is_seen(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    submit(world, job_id, SECOND)
    provider.script["find_batches"] = [["batch-2"]]
    assert gone(world, provider, job_id, FIRST).next == "collect"
    refusal = record(world, job_id, FIRST).refusal
    assert refusal is not None
    assert refusal.code == BATCH_GONE
    assert world.ledger.missed == {}


def test_a_batch_that_cannot_be_told_yet_is_seen(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    submit(world, job_id, SECOND)
    provider.script["find_batches"] = [Unconfirmed(["batch-2"], "still running")]
    assert gone(world, provider, job_id, FIRST).next == "collect"


def test_batches_that_are_all_gone_at_once_mean_another_key(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    submit(world, job_id, SECOND)
    step = gone(world, provider, job_id, FIRST)
    assert (step.next, step.wait_seconds) == ("wait", 300)
    assert record(world, job_id, FIRST).status == "submitted"
    job = world.ledger.job(job_id)
    assert (job.status, job.reason and job.reason.code) == ("paused", OTHER_KEY)
    assert gone(world, provider, job_id, SECOND).next == "wait"
    assert len(world.alerts.sent) == 1

    provider.script["poll"] = []  # the old key is back
    assert poll(world, job_id, FIRST, step).trouble == ""
    assert world.ledger.job(job_id).status == "running"
    assert len(provider.batches) == 2


def test_who_resumes_then_has_them_sent_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    submit(world, job_id, SECOND)
    step = gone(world, provider, job_id, FIRST)
    world.ledger.resume("openai")
    provider.script["poll"] = [MISSING]
    assert poll(world, job_id, FIRST, step).next == "collect"
    assert world.ledger.job(job_id).status == "running"


def test_single_batches_of_two_jobs_gone_at_once_mean_another_key_too(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    other = two_shards(world, "b.jsonl")
    submit(world, job_id, FIRST)
    submit(world, other, FIRST)
    provider.script["poll"] = [MISSING]
    poll(world, other, FIRST)
    assert gone(world, provider, job_id, FIRST).next == "wait"
    assert world.ledger.job(job_id).status == "paused"


def test_what_went_missing_yesterday_is_no_witness(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    other = two_shards(world, "b.jsonl")
    submit(world, job_id, FIRST)
    submit(world, other, FIRST)
    world.ledger.note_missing(record(world, other, FIRST))
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    world.ledger.missed = dict.fromkeys(world.ledger.missed, yesterday)
    assert gone(world, provider, job_id, FIRST).next == "collect"


def test_if_nobody_can_tell_whether_others_are_seen_it_waits(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    submit(world, job_id, SECOND)
    provider.script["find_batches"] = [Unavailable("no_answer", "timed out")]
    step = gone(world, provider, job_id, FIRST)
    assert (step.next, step.trouble) == ("wait", "Missing")
    assert world.alerts.sent == []


def test_a_batch_that_is_seen_again_is_not_missing_any_more(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    provider.script["poll"] = [MISSING, BatchState(status="in_progress", outcome=None)]
    step = poll(world, job_id, FIRST)
    assert world.ledger.missed
    poll(world, job_id, FIRST, step)
    assert not world.ledger.missed


def test_a_shard_given_up_in_the_middle_of_a_create_is_looked_for_first(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    step = submit(world, job_id, FIRST)
    given_up = record(world, job_id, FIRST)
    given_up.refusal = Refusal(code="gave_up", message="It broke off.", then="fail")
    world.ledger.save_shard(given_up)
    provider.script["find_batches"] = [[], ["batch-landed"]]
    assert submit(world, job_id, FIRST, step).next == "wait_to_submit"
    assert submit(world, job_id, FIRST, step).next == "wait"
    assert record(world, job_id, FIRST).batch_id == "batch-landed"


def test_if_it_is_not_found_its_rows_fail_and_nothing_is_created(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["create"] = [Unavailable("no_answer", "timed out")]
    step = submit(world, job_id, FIRST)
    given_up = record(world, job_id, FIRST)
    given_up.refusal = Refusal(code="gave_up", message="It broke off.", then="fail")
    world.ledger.save_shard(given_up)
    for _ in range(2):
        step = submit(world, job_id, FIRST, step)
        assert step.next == "wait_to_submit"
    assert submit(world, job_id, FIRST, step).next == "collect"
    kept = record(world, job_id, FIRST)
    assert (kept.creating, kept.refusal and kept.refusal.code) == (False, "gave_up")
    assert provider.calls.count("create") == 1


def record(world: World, job_id: str, shard_id: str) -> Shard:
    return msgspec.structs.replace(world.ledger.shard(job_id, shard_id))


def test_answers_that_the_account_may_not_read_pause_the_job_until_it_may(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    submit(world, job_id, FIRST)
    output = ProviderObject(kind="output_file", id="out")
    provider.script["poll"] = [
        BatchState(status="completed", outcome="ended", complete=True, outputs=[output])
    ]
    assert poll(world, job_id, FIRST).next == "collect"
    provider.script["answers"] = [BLOCKED, BLOCKED]
    for _ in range(2):
        with pytest.raises(AccountBlocked):
            world.collector("openai").collect(job_id, FIRST)
    job = world.ledger.job(job_id)
    assert job.status == "paused"
    assert len(world.alerts.sent) == 1
    assert world.ledger.shard(job_id, FIRST).status == "ended"
    provider.lines = [
        b'{"custom_id":"r000000-%09d-%b-01-00001-1","response":{"status_code":200,"body":{}}}'
        % (row, job_id[-8:].encode())
        for row in range(2)
    ]
    world.collector("openai").collect(job_id, FIRST)
    job = world.ledger.job(job_id)
    assert (job.status, job.reason) == ("running", None)
    answered = world.ledger.shard(job_id, FIRST).answered
    assert answered is not None
    assert answered.succeeded == 2
