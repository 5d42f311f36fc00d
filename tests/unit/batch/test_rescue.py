from __future__ import annotations

import pytest

from functions.batch.sending import laps
from functions.batch.sending.waits import STUCK_DEFAULT
from functions.batch.upkeep.rescuing import MOST_RUNS, rescue
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

ROWS = jsonl([line(f"{n}", body(f"q{n}")) for n in range(3)])


def ended(world: World, job_id: str, status: str, execution: str | None = None) -> bool:
    return rescue(
        job_id,
        execution or job_id,
        status,
        ledger=world.ledger,
        workflows=world.workflows,
        alerts=world.alerts,
    )


def test_an_aborted_job_is_cancelled_and_comes_to_its_end(
    world: World, provider: FakeProvider
) -> None:
    job_id = world.drop("a.jsonl", ROWS)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    assert ended(world, job_id, "ABORTED")
    assert world.workflows.started == [job_id, f"{job_id}-run1"]
    summary = world.run(job_id)
    assert summary["status"] == "cancelled"
    assert {row["error"]["code"] for row in world.result_lines(job_id)} == {"cancelled"}
    assert provider.calls == []


def test_a_job_that_ended_without_telling_so_is_told(world: World) -> None:
    job_id = world.drop("a.jsonl", ROWS)
    world.ledger.update_job(job_id, {"cancel_requested": True})
    world.run(job_id)
    world.results.delete([f"{job_id}/summary.json"])
    assert ended(world, job_id, "FAILED")
    assert world.run(job_id)["status"] == "cancelled"
    assert not ended(world, job_id, "ABORTED", f"{job_id}-run{MOST_RUNS + 1}")


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
def test_a_broken_execution_is_followed_by_another(world: World, status: str) -> None:
    job_id = world.drop("a.jsonl", ROWS)
    assert ended(world, job_id, status)
    assert ended(world, job_id, status)  # the event, delivered twice
    assert ended(world, job_id, status, f"{job_id}-run1")
    assert world.workflows.started == [job_id, f"{job_id}-run1", f"{job_id}-run2"]
    assert not world.ledger.job(job_id).cancel_requested


def test_a_job_that_keeps_breaking_is_given_up_and_told_to_a_person(world: World) -> None:
    job_id = world.drop("a.jsonl", ROWS)
    assert ended(world, job_id, "FAILED", f"{job_id}-run{MOST_RUNS}")
    assert "does not come to its end" in world.alerts.sent[0][0]
    assert world.workflows.given_up == [job_id]
    assert not ended(world, job_id, "FAILED", f"{job_id}-run{MOST_RUNS + 1}")
    assert world.workflows.given_up == [job_id]
    assert len(world.alerts.sent) == 2


def test_an_execution_of_no_job_is_left_alone(world: World) -> None:
    assert not ended(world, "nobody", "FAILED")


def test_a_job_that_goes_on_does_not_need_its_input_again(
    world: World, provider: FakeProvider
) -> None:
    job_id = world.drop("a.jsonl", ROWS)
    made = world.plan(job_id)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.inputs.uploads.clear()
    assert world.plan(job_id) == made
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert world.ledger.job(job_id).verdict is None
    assert world.open_round(job_id, 1).run == "inline"


def test_a_batch_that_does_not_end_is_cancelled_with_an_alert_that_names_the_model(
    world: World, provider: FakeProvider
) -> None:
    job_id = world.drop("a.jsonl", ROWS)
    world.plan(job_id)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    step = world.submitter("openai").submit(job_id, "01-00001", laps.first())
    polls = 0
    while "cancel" not in provider.calls:
        step = world.poller("openai").poll(job_id, "01-00001", step)
        polls += 1
    assert step.waited > STUCK_DEFAULT
    assert polls < 400
    assert "gpt-5-mini" in world.alerts.sent[0][0]
    world.poller("openai").poll(job_id, "01-00001", step)
    assert provider.calls.count("cancel") == 1
    assert len(world.alerts.sent) == 1
