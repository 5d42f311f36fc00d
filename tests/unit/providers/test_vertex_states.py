from __future__ import annotations

from typing import Any

import pytest

from functions.batch.model import ProviderObject, Tag
from functions.providers.vertex.names import display_name, is_our_object, is_ours, labels
from functions.providers.vertex.sdk import BatchPredictionJob, JobState
from functions.providers.vertex.states import STATES, batch_state

TAG = Tag(stack="Batchdrop", job_id="july-0123456789abcdef", shard_id="r01-0002", attempt=3)
NAME = "projects/p-1/locations/us-central1/batchPredictionJobs/7"


def test_states_are_the_sdks() -> None:
    assert set(STATES) == {state.name for state in JobState}


def job(state: Any, **more: Any) -> Any:
    return BatchPredictionJob({"name": NAME, "state": state, **more})


@pytest.mark.parametrize(
    ("state", "outcome", "complete"),
    [
        ("JOB_STATE_RUNNING", None, False),
        ("JOB_STATE_PAUSED", None, False),
        ("JOB_STATE_SUCCEEDED", "ended", True),
        ("JOB_STATE_PARTIALLY_SUCCEEDED", "ended", True),
        ("JOB_STATE_EXPIRED", "ended", False),
        ("JOB_STATE_CANCELLED", "ended", False),
        ("JOB_STATE_FAILED", "refused", False),
    ],
)
def test_what_a_state_means(state: str, outcome: str | None, complete: bool) -> None:
    found = batch_state(job(state), [])
    assert (found.status, found.outcome, found.complete) == (state, outcome, complete)
    assert (found.refusal is None) == (outcome != "refused")


@pytest.mark.parametrize(
    ("state", "stats", "early"),
    [
        ("JOB_STATE_SUCCEEDED", {}, "answers"),
        ("JOB_STATE_PARTIALLY_SUCCEEDED", {}, "answers"),
        ("JOB_STATE_CANCELLED", {}, None),
        ("JOB_STATE_CANCELLED", {"successful_count": 2}, "answers"),
        ("JOB_STATE_EXPIRED", {"successful_count": 0}, None),
        ("JOB_STATE_RUNNING", {"successful_count": 2}, None),
    ],
)
def test_a_job_may_end_before_its_predictions_are_seen(
    state: str, stats: dict[str, int], early: str | None
) -> None:
    itself = ProviderObject(kind="batch_job", id=NAME)
    written = ProviderObject(kind="gcs_object", id="gs://b/batchdrop/o")
    found = job(state, **({"completion_stats": stats} if stats else {}))
    assert batch_state(found, [itself]).early == early
    assert not batch_state(found, [written, itself]).early


def test_a_state_of_tomorrow_counts_as_running() -> None:
    found = batch_state(job(99), [])
    assert (found.status, found.outcome) == ("JOB_STATE_99", None)


@pytest.mark.parametrize(
    ("code", "then"),
    [(3, "split"), (0, "split"), (12, "fail")]
    + [(code, "resend") for code in (2, 4, 8, 10, 13, 14, 5, 7, 9, 16)],
)
def test_what_becomes_of_the_rows_of_a_failed_job(code: int, then: str) -> None:
    error = {"code": code, "message": "Failed to import data."}
    refusal = batch_state(job("JOB_STATE_FAILED", error=error), []).refusal
    assert refusal is not None
    assert refusal.then == then
    assert (refusal.delay_seconds > 0) == (then == "resend")
    assert "Failed to import data." in refusal.message


def test_a_job_that_failed_since_it_was_cancelled_has_ended() -> None:
    found = batch_state(job("JOB_STATE_FAILED", error={"code": 1, "message": "cancelled"}), [])
    assert (found.outcome, found.refusal) == ("ended", None)


def test_progress_is_shown_as_far_as_it_is_known() -> None:
    assert batch_state(job("JOB_STATE_RUNNING"), []).progress is None
    stats = {"successful_count": 3, "failed_count": -1, "incomplete_count": 5}
    progress = batch_state(job("JOB_STATE_RUNNING", completion_stats=stats), []).progress
    assert progress is not None
    assert (progress.total, progress.completed, progress.failed) == (8, 3, 0)


def test_names_are_such_as_google_takes() -> None:
    for tag in (TAG, Tag(stack="A" * 128, job_id="j" * 90, shard_id="r", attempt=1)):
        assert len(display_name(tag)) <= 128
        for name, value in labels(tag).items():
            assert name.islower()
            assert 0 < len(value) <= 63
            assert value == value.lower()
    assert labels(TAG)["batchdrop_job"] == TAG.job_id
    other = Tag(stack="batchdrop", job_id=TAG.job_id, shard_id=TAG.shard_id, attempt=3)
    assert labels(other)["batchdrop_stack"] != labels(TAG)["batchdrop_stack"]


def test_a_job_belongs_to_its_shard_whatever_the_attempt() -> None:
    again = Tag(stack=TAG.stack, job_id=TAG.job_id, shard_id=TAG.shard_id, attempt=4)
    next_one = Tag(stack=TAG.stack, job_id=TAG.job_id, shard_id="r01-0003", attempt=3)
    assert is_ours(labels(TAG), again)
    assert not is_ours(labels(TAG), next_one)
    assert display_name(TAG) == display_name(again)
    assert not is_ours({}, TAG)


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("gs://batches/batchdrop/S/j/r/1/output", True),
        ("gs://another-bucket/batchdrop/S/j/r/1/output/prediction", True),
        ("gs://batches/batchdrop/", False),
        ("gs://batches/", False),
        ("gs://batches/others/batchdrop/x", False),
        ("bq://p.d.t", False),
        ("", False),
    ],
)
def test_only_objects_of_ours_are_listed_to_be_deleted(address: str, ours: bool) -> None:
    assert is_our_object(address) is ours
