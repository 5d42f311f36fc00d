from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from functions.batch.errors import AccountBlocked, Missing, Refused, Throttled, Unavailable
from functions.batch.model import BatchState, ProviderObject, Refusal, Shard, ShardStep
from functions.batch.sending import laps
from functions.batch.sending.polling import EARLY_LAPS, GIVE_UP, GONE_LAPS
from functions.batch.sending.waits import poll_wait
from functions.batch.upkeep.cleaning import TRIES
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

SHARD = "01-00001"
ENDED = BatchState(status="completed", outcome="ended", complete=True)


@pytest.fixture
def job_id(world: World) -> str:
    """A job whose only shard has been submitted."""
    identity = world.drop("a.jsonl", jsonl([line(f"{n}", body(f"q{n}")) for n in range(2)]))
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    world.open_round(identity, 1)
    world.submitter("openai").submit(identity, SHARD, laps.first())
    return identity


def lap(world: World, job_id: str, step: ShardStep | None = None) -> ShardStep:
    return world.poller("openai").poll(job_id, SHARD, step or ShardStep(next="wait"))


def test_waits_grow_between_the_limits_and_an_execution_stays_under_1500_laps() -> None:
    assert poll_wait(0, 0, least=30, most=600) == 30
    assert poll_wait(9, 4_000, least=30, most=600) == 400
    assert poll_wait(99, 50_000, least=30, most=600) == 600
    assert poll_wait(0, 0, least=30, most=600, asked=77.2) == 78
    laps = waited = 0
    while waited < 98 * 3600:
        waited += poll_wait(laps, waited, least=1, most=10)
        laps += 1
    assert laps < 1_500


def test_a_running_batch_is_asked_again_and_its_counts_are_shown(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["poll"] = [
        BatchState(status="in_progress", outcome=None, retry_after=120),
        BatchState(status="finalizing", outcome=None),
        ENDED,
    ]
    step = lap(world, job_id)
    assert (step.next, step.wait_seconds, step.lap) == ("wait", 120, 1)
    step = lap(world, job_id, step)
    assert world.ledger.shard(job_id, SHARD).provider_status == "finalizing"
    assert lap(world, job_id, step).next == "collect"
    assert lap(world, job_id, step).next == "collect"
    assert provider.calls.count("poll") == 3


RUNS = BatchState(status="in_progress", outcome=None)


def test_a_list_may_tell_that_a_batch_runs_but_not_every_time(
    world: World, provider: FakeProvider, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lag: an end is seen on the fourth lap at the latest."""
    monkeypatch.setattr(provider, "running", lambda _: RUNS)
    provider.script["poll"] = [RUNS, ENDED]
    step = ShardStep(next="wait")
    asked: list[int] = []
    for _ in range(5):
        step = lap(world, job_id, step)
        asked.append(provider.calls.count("poll"))
    assert asked == [1, 1, 1, 1, 2]
    assert step.next == "collect"


@pytest.mark.parametrize(
    ("changes", "listed"),
    [
        ({}, True),
        ({"trouble": "Missing", "troubles": 1}, False),
        ({"waited": 26 * 3_600}, True),
        ({"waited": 26 * 3_600 + 1}, False),
    ],
)
def test_what_has_to_be_found_out_is_not_taken_from_a_list(
    world: World,
    provider: FakeProvider,
    job_id: str,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    *,
    listed: bool,
) -> None:
    monkeypatch.setattr(provider, "running", lambda _: RUNS)
    provider.script["poll"] = [ENDED]
    step = msgspec.structs.replace(ShardStep(next="wait", lap=1), **changes)
    assert lap(world, job_id, step).next == ("wait" if listed else "collect")


def test_a_cancelled_batch_is_asked_itself(
    world: World, provider: FakeProvider, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "running", lambda _: RUNS)
    provider.script["poll"] = [ENDED]
    world.ledger.update_job(job_id, {"cancel_requested": True})
    assert lap(world, job_id, ShardStep(next="wait", lap=1)).next == "collect"


@pytest.mark.parametrize(
    "error", [Unavailable("no_answer", "x"), Throttled("rate", "x", retry_after=700)]
)
def test_trouble_while_polling_only_waits(
    world: World, provider: FakeProvider, job_id: str, error: Exception
) -> None:
    provider.script["poll"] = [error, ENDED]
    step = lap(world, job_id)
    assert step.next == "wait"
    assert step.wait_seconds == (700 if isinstance(error, Throttled) else 30)
    assert lap(world, job_id, step).next == "collect"


def test_a_batch_is_gone_after_five_laps_in_a_row(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    missing = Missing("not_found", "no such batch")
    provider.script["poll"] = [missing] * 4 + [Unavailable("x", "y")] + [missing] * 5
    step = lap(world, job_id)
    laps = 1
    while step.next == "wait":
        step = lap(world, job_id, step)
        laps += 1
    assert laps == 10
    world.collector("openai").collect(job_id, SHARD)
    world.cleaner("openai").clean_up(job_id, SHARD, None)
    opened = world.open_round(job_id, 2)
    assert [world.ledger.shard(job_id, run.shard_id).rows for run in opened.shards] == [2]


def test_a_key_that_is_refused_while_polling_pauses_the_job(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["poll"] = [AccountBlocked("invalid_api_key", "revoked")] * 2
    step = lap(world, job_id)
    assert step.wait_seconds == 300
    step = lap(world, job_id, step)
    assert step.wait_seconds == 600
    job = world.ledger.job(job_id)
    assert job.status == "paused"
    assert job.reason is not None
    assert "batchdrop keys set openai" in job.reason.message
    assert len(world.alerts.sent) == 1
    lap(world, job_id, step)
    assert world.ledger.job(job_id).status == "running"


def test_a_cancel_is_sent_once_and_the_batch_waited_for(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    world.ledger.update_job(job_id, {"cancel_requested": True})
    step = lap(world, job_id)
    lap(world, job_id, step)
    assert provider.calls.count("cancel") == 1
    assert step.next == "wait"


def test_a_batch_that_has_ended_is_seen_though_it_cannot_be_cancelled(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    world.ledger.update_job(job_id, {"cancel_requested": True})
    running = BatchState(status="in_progress", outcome=None)
    provider.script["cancel"] = [Unavailable("http_500", "x"), Throttled("rate", "x")]
    provider.script["poll"] = [running, ENDED]
    step = lap(world, job_id)
    assert step.next == "wait"
    assert not world.ledger.shard(job_id, SHARD).cancel_sent
    assert lap(world, job_id, step).next == "collect"
    assert provider.calls.count("cancel") == 2


def given_up(world: World, job_id: str) -> None:
    """No row is sent again, or said to have cost nothing."""
    world.collector("openai").collect(job_id, SHARD)
    world.cleaner("openai").clean_up(job_id, SHARD, None)
    assert world.open_round(job_id, 2).run == "none"
    world.assembler().assemble(job_id)
    results = world.result_lines(job_id)
    assert {result["error"]["code"] for result in results} == {"gave_up"}
    assert {result["cost_usd"] for result in results} == {None}


def test_a_batch_that_does_not_end_when_it_is_cancelled_is_given_up_and_not_paid_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    stuck = world.poller("openai").stuck_after
    provider.script["poll"] = [BatchState(status="cancelling", outcome=None)] * 3
    step = lap(world, job_id, ShardStep(next="wait", waited=stuck + 1))
    assert step.next == "wait"
    assert provider.calls.count("cancel") == 1
    late = msgspec.structs.replace(step, waited=GIVE_UP * stuck + 1, owed=0)
    assert lap(world, job_id, late).next == "collect"
    assert "though it was cancelled" in world.alerts.sent[-1][0]
    given_up(world, job_id)


def test_a_batch_of_which_nothing_is_heard_is_given_up_and_not_paid_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    stuck = world.poller("openai").stuck_after
    provider.script["cancel"] = provider.script["poll"] = [Unavailable("x", "error 500.")] * 9
    step = lap(world, job_id, ShardStep(next="wait", waited=stuck + 1))
    assert step.next == "wait"
    assert world.alerts.sent == []
    late = msgspec.structs.replace(step, waited=GIVE_UP * stuck + 1, troubles=GONE_LAPS)
    assert lap(world, job_id, late).next == "collect"
    assert "error 500." in world.alerts.sent[-1][1]
    given_up(world, job_id)


def test_a_batch_that_is_asked_for_again_after_a_long_pause_is_not_given_up_at_once(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    provider.script["poll"] = [Unavailable("x", "error 500.")] * GONE_LAPS + [ENDED]
    paused = GIVE_UP * world.poller("openai").stuck_after + 1
    step = ShardStep(next="wait", waited=paused)
    for _ in range(GONE_LAPS):
        while step.owed:  # in slices
            step = lap(world, job_id, step)
        step = lap(world, job_id, step)
        assert step.next == "wait"
    assert lap(world, job_id, step).next == "collect"
    assert world.ledger.shard(job_id, SHARD).provider_status == "completed"


def test_a_batch_whose_cancel_is_not_found_is_not_taken_for_gone(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    """A service may have no such path."""
    world.ledger.update_job(job_id, {"cancel_requested": True})
    running = BatchState(status="in_progress", outcome=None)
    provider.script["cancel"] = [Missing("http_404", "no such path")] * 9
    provider.script["poll"] = [running] * 8 + [ENDED]
    step = ShardStep(next="wait")
    for _ in range(8):
        step = lap(world, job_id, step)
        assert step.next == "wait"
    assert lap(world, job_id, step).next == "collect"
    assert world.ledger.shard(job_id, SHARD).provider_status == "completed"


def test_answers_that_are_said_to_be_there_are_waited_for(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    early = msgspec.structs.replace(ENDED, early="answers")
    whole = msgspec.structs.replace(ENDED, outputs=[ProviderObject(kind="output_file", id="late")])
    provider.script["poll"] = [early, early, whole]
    step = lap(world, job_id)
    assert (step.next, step.wait_seconds) == ("wait", 30)
    step = lap(world, job_id, step)
    assert (step.next, step.wait_seconds) == ("wait", 60)
    assert lap(world, job_id, step).next == "collect"
    assert world.ledger.shard(job_id, SHARD).outputs == ["late"]


@pytest.mark.parametrize("what", ["answers", "errors"])
def test_answers_that_never_come_are_not_waited_for_without_end(
    world: World, provider: FakeProvider, job_id: str, what: Literal["answers", "errors"]
) -> None:
    early = msgspec.structs.replace(ENDED, early=what)
    provider.script["poll"] = [early] * (EARLY_LAPS[what] + 1)
    step = lap(world, job_id)
    for _ in range(EARLY_LAPS[what]):
        while step.owed:  # in slices
            step = lap(world, job_id, step)
        step = lap(world, job_id, step)
    assert step.next == "collect"


def test_a_capacity_refusal_comes_back_later_without_spending_a_round(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    refusal = Refusal(code="token_limit_exceeded", message="full", then="resend", delay_seconds=300)
    provider.script["poll"] = [BatchState(status="failed", outcome="refused", refusal=refusal)]
    lap(world, job_id)
    world.collector("openai").collect(job_id, SHARD)
    world.cleaner("openai").clean_up(job_id, SHARD, None)
    opened = world.open_round(job_id, 2)
    assert [run.delay_seconds for run in opened.shards] == [300]


def finish(world: World, provider: FakeProvider, job_id: str) -> None:
    outputs = [ProviderObject(kind="output_file", id="out")]
    provider.script["poll"] = [
        BatchState(status="completed", outcome="ended", complete=True, outputs=outputs)
    ]
    lap(world, job_id)
    world.collector("openai").collect(job_id, SHARD)


def test_files_are_deleted_only_once_the_results_are_durable(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    cleaner = world.cleaner("openai")
    assert cleaner.clean_up(job_id, SHARD, None).next == "collect"
    assert provider.deleted == []
    finish(world, provider, job_id)
    assert cleaner.clean_up(job_id, SHARD, None).next == "done"
    assert sorted(provider.deleted) == ["file-1", "out"]
    assert world.ledger.shard(job_id, SHARD).status == "cleaned"


def test_what_is_not_found_twice_is_gone_and_trouble_is_tried_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    gone = Missing("not_found", "No such file.")
    provider.script["delete"] = [gone, Unavailable("x", "timed out"), gone]
    cleaner = world.cleaner("openai")
    step = cleaner.clean_up(job_id, SHARD, None)
    assert (step.next, step.wait_seconds) == ("again", 30)
    assert not any(file.deleted_at for file in world.ledger.files(job_id))
    assert cleaner.clean_up(job_id, SHARD, step).next == "done"
    assert all(file.deleted_at for file in world.ledger.files(job_id))
    assert world.alerts.sent == []


def test_what_is_not_found_for_a_moment_is_not_left_behind(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    provider.script["delete"] = [Missing("not_found", "No such file.")]
    cleaner = world.cleaner("openai")
    step = cleaner.clean_up(job_id, SHARD, None)
    assert cleaner.clean_up(job_id, SHARD, step).next == "done"
    assert sorted(provider.deleted) == ["file-1", "out"]


def test_what_a_batch_wrote_after_its_end_is_deleted_where_it_lies_with_the_rest(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    provider.keeps_together = True
    provider.script["find_staged"] = [[ProviderObject(kind="gcs_object", id="late")]]
    assert world.cleaner("openai").clean_up(job_id, SHARD, None).next == "done"
    assert sorted(provider.deleted) == ["file-1", "late", "out"]
    assert {file.id for file in world.ledger.files(job_id)} == {"file-1", "late", "out"}


def test_what_cannot_be_deleted_is_told_and_does_not_hold_the_job(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    provider.script["delete"] = [Refused("locked", "it is locked")] * 20
    cleaner = world.cleaner("openai")
    step = cleaner.clean_up(job_id, SHARD, None)
    tries = 1
    while step.next == "again":
        step = cleaner.clean_up(job_id, SHARD, step)
        tries += 1
    assert tries == TRIES
    assert "it is locked" in world.alerts.sent[0][1]
    assert world.metrics.files_left == [("openai", 2)]
    assert cleaner.clean_up(job_id, SHARD, step).next == "done"
    world.open_round(job_id, 2)
    world.assembler().assemble(job_id)
    world.reporter().report(job_id, None)
    files = world.summary(job_id)["provider_files"]
    assert (files["created"], files["deleted"], files["left"]) == (2, 0, 2)
    assert files["left_items"][0]["error"] == "it is locked"
    assert world.metrics.files_left == [("openai", 2)], "told once, by the clean-up"
    assert len(world.alerts.sent) == 1


def test_what_is_left_is_told_again_where_the_shard_could_not_say_that_it_was(
    world: World, provider: FakeProvider, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function dies before its last write: a metric that is told twice is better than none."""
    finish(world, provider, job_id)
    provider.script["delete"] = [Refused("locked", "it is locked")] * 4
    last = ShardStep(next="again", lap=TRIES - 1)

    def dies(shard: Shard) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "save_shard", dies)
        with pytest.raises(ConnectionError):
            world.cleaner("openai").clean_up(job_id, SHARD, last)
    assert world.metrics.files_left == [("openai", 2)]
    world.cleaner("openai").clean_up(job_id, SHARD, last)
    world.cleaner("openai").clean_up(job_id, SHARD, last)
    assert world.metrics.files_left == [("openai", 2)] * 2


def test_files_of_a_shard_that_was_never_cleaned_are_told_when_the_job_ends(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    world.assembler().assemble(job_id)
    for _ in range(2):
        world.reporter().report(job_id, None)
    assert world.metrics.files_left == [("openai", 2)]


def test_a_job_that_leaves_nothing_tells_nothing(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    world.cleaner("openai").clean_up(job_id, SHARD, None)
    world.assembler().assemble(job_id)
    world.reporter().report(job_id, None)
    assert world.metrics.files_left == []


def test_lost_uploads_that_cannot_be_looked_for_are_looked_for_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    finish(world, provider, job_id)
    shard = world.ledger.shard(job_id, SHARD)
    shard.attempt = 2
    world.ledger.save_shard(shard)
    stray = ProviderObject(kind="input_file", id="stray")
    provider.script["find_staged"] = [Unavailable("x", "timed out"), [stray]]
    cleaner = world.cleaner("openai")
    step = cleaner.clean_up(job_id, SHARD, None)
    assert step.next == "again"
    assert cleaner.clean_up(job_id, SHARD, step).next == "done"
    assert provider.deleted == ["file-1", "out", "stray"]
