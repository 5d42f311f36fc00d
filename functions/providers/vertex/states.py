"""What a job's state and its error mean.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/JobState
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any, Literal

from functions.batch.model import BatchState, Progress, ProviderObject, Refusal
from functions.providers.vertex.sdk import BatchPredictionJob, JobState

STATES: dict[str, Literal["ended", "refused"] | None] = {
    "JOB_STATE_UNSPECIFIED": None,
    "JOB_STATE_QUEUED": None,
    "JOB_STATE_PENDING": None,
    "JOB_STATE_RUNNING": None,
    "JOB_STATE_SUCCEEDED": "ended",
    "JOB_STATE_FAILED": "refused",
    "JOB_STATE_CANCELLING": None,
    "JOB_STATE_CANCELLED": "ended",
    "JOB_STATE_PAUSED": None,
    "JOB_STATE_EXPIRED": "ended",
    "JOB_STATE_UPDATING": None,
    "JOB_STATE_PARTIALLY_SUCCEEDED": "ended",
}
_COMPLETE = frozenset({"JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"})

_DEAD = frozenset({"JOB_STATE_FAILED", "JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"})

_AFTER_A_WHILE = 300
_AFTER_A_PERSON = 900
"""How long rows wait before they go again: for the service, and for somebody to grant a right."""

# Codes of a failed job (https://cloud.google.com/apis/design/errors#handling_errors).
_CANCELLED = 1
_PASSING = frozenset({2, 4, 8, 10, 13, 14})
_NEEDS_A_PERSON = frozenset({5, 7, 9, 16})
_NEVER = frozenset({12})


def outcome_of(job: Any) -> Literal["ended", "refused"] | None:
    """The SDK's own `done()` knows neither expired nor partially succeeded jobs."""
    outcome = STATES.get(_state_name(job))
    cancelled = outcome == "refused" and job.error.code == _CANCELLED
    return "ended" if cancelled else outcome


def is_dead(job: Any) -> bool:
    """Failed, or cancelled: of several jobs with the same rows not the one that was let live."""
    return _state_name(job) in _DEAD


def batch_state(job: Any, outputs: list[ProviderObject]) -> BatchState:
    """`outputs`: what the job left, once it has ended."""
    name = _state_name(job)
    outcome = outcome_of(job)
    error = job.error
    progress = _progress(job)
    return BatchState(
        status=name,
        outcome=outcome,
        complete=name in _COMPLETE,
        early="answers"
        if outcome == "ended"
        and all(output.id == job.name for output in outputs)
        and (name in _COMPLETE or (progress is not None and progress.completed > 0))
        else None,
        outputs=outputs,
        refusal=_refusal(error.code, error.message) if outcome == "refused" else None,
        progress=progress,
    )


def _state_name(job: Any) -> str:
    """A state that this SDK does not know is shown as its number, and counts as running."""
    number = int(BatchPredictionJob.pb(job).state)
    return JobState(number).name if number in list(JobState) else f"JOB_STATE_{number}"


def _progress(job: Any) -> Progress | None:
    if "completion_stats" not in job:
        return None
    stats = job.completion_stats
    done, failed = max(stats.successful_count, 0), max(stats.failed_count, 0)
    total = done + failed + max(stats.incomplete_count, 0)
    return Progress(total=total, completed=done, failed=failed)


def _refusal(code: int, message: str) -> Refusal:
    """An import that failed names no row, so the shard is halved until the row is found."""
    said = f"Vertex AI ended the batch: {message or 'no reason was given'} (code {code})"
    word = f"vertex_{code}"
    if code in _PASSING:
        return Refusal(code=word, message=said, then="resend", delay_seconds=_AFTER_A_WHILE)
    if code in _NEEDS_A_PERSON:
        return Refusal(
            code=word, message=said, then="resend", delay_seconds=_AFTER_A_PERSON, account=True
        )
    if code in _NEVER:
        return Refusal(code=word, message=said, then="fail")
    return Refusal(code=word, message=said, then="split")
