"""What OpenAI says of a batch, in our words.

Statuses: https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

from openai.types import Batch

from functions.batch.model import BatchState, Progress, ProviderObject, Reason, Refusal
from functions.providers.openai.answers import ACCOUNT_CODES
from functions.providers.said import count, told

STATES: dict[str, Literal["ended", "refused"] | None] = {
    "validating": None,
    "in_progress": None,
    "finalizing": None,
    "cancelling": None,
    "completed": "ended",
    "expired": "ended",
    "cancelled": "ended",
    "failed": "refused",
}

OVER_CAPACITY = frozenset({"token_limit_exceeded"})
MODEL_CODES = frozenset({"model_not_found", "invalid_model", "model_not_supported"})
_CAPACITY_DELAY = 300

_SERVERS_OWN = frozenset({"server_error", "internal_error", "internal_server_error"})
_LOST_FILE = ("cannot find file", "no such file")
"""What a batch says that failed for no fault of its rows. Its validation has been seen not to find
a file that the Files API had."""


def batch_state(batch: Batch, asked: float | None) -> BatchState:
    """`asked`: seconds until the next poll, as the service wants it. An unknown status counts as
    running: new ones are more likely steps than ends."""
    outcome = STATES.get(batch.status)
    progress = _progress(batch)
    return BatchState(
        status=told(batch.status),
        outcome=outcome,
        complete=batch.status == "completed",
        early=_unnamed(batch, progress) if outcome == "ended" else None,
        outputs=outputs_of(batch),
        refusal=_refusal(batch) if outcome == "refused" else None,
        progress=progress,
        retry_after=asked,
    )


def _progress(batch: Batch) -> Progress | None:
    counts = batch.request_counts
    if counts is None:
        return None
    return Progress(
        total=count(getattr(counts, "total", None)),
        completed=count(getattr(counts, "completed", None)),
        failed=count(getattr(counts, "failed", None)),
    )


def _unnamed(batch: Batch, progress: Progress | None) -> Literal["answers", "errors"] | None:
    """A batch has been seen to be completed, with its rows counted, before it named the file of
    their answers. Where all rows have failed there is none, but one of errors."""
    counted = progress or Progress()
    nothing = not batch.output_file_id and not batch.error_file_id
    if (counted.completed and not batch.output_file_id) or (
        nothing and batch.status == "completed"
    ):
        return "answers"
    return "errors" if counted.failed and not batch.error_file_id else None


def outputs_of(batch: Batch) -> list[ProviderObject]:
    named = (("output_file", batch.output_file_id), ("error_file", batch.error_file_id))
    return [ProviderObject(kind=kind, id=told(identity)) for kind, identity in named if identity]


class _Fault(NamedTuple):
    code: str
    message: str
    line: int


def _faults(batch: Batch) -> Iterator[_Fault]:
    """`line` is 0 where none is named."""
    data: object = getattr(batch.errors, "data", batch.errors)
    for each in cast("list[object]", data) if isinstance(data, list) else [data]:
        if isinstance(each, str):
            yield _Fault("", each, 0)
        elif each is not None:
            code, message, line = (
                getattr(each, name, None) for name in ("code", "message", "line")
            )
            yield _Fault(told(code), told(message), count(line))


def _refusal(batch: Batch) -> Refusal:
    faults = list(_faults(batch))
    code = next((fault.code for fault in faults if fault.code), "batch_failed")
    message = next((fault.message for fault in faults if fault.message), "no reason was given")
    said = f"OpenAI refused the batch: {message}"
    if code in OVER_CAPACITY:
        return Refusal(
            code=code, message=said, then="resend", delay_seconds=_CAPACITY_DELAY, capacity=True
        )
    if code in ACCOUNT_CODES:
        return Refusal(
            code=code, message=said, then="resend", delay_seconds=_CAPACITY_DELAY, account=True
        )
    named = {
        fault.line: Reason(fault.code or code, fault.message or said)
        for fault in faults
        if fault.line and fault.code not in MODEL_CODES
    }
    if code in MODEL_CODES:
        return Refusal(code=code, message=said, then="fail")
    if named:
        return Refusal(code=code, message=said, then="resend", lines=named)
    if code in _SERVERS_OWN or any(map(message.lower().__contains__, _LOST_FILE)):
        return Refusal(code=code, message=said, then="resend", delay_seconds=_CAPACITY_DELAY)
    return Refusal(code=code, message=said, then="split")
