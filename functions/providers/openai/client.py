"""OpenAI's Files and Batches, over the official SDK.

SDK retries are off for every call: a create that is repeated may be paid twice, and waits of more
than a few seconds are the workflow's. Statuses: https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2  # the SDK lets its errors through while a body is read
import openai
from openai.pagination import SyncCursorPage
from openai.types import Batch, FileObject

from functions.batch.errors import (
    AccountBlocked,
    Missing,
    NotVisible,
    OverCapacity,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
)
from functions.batch.model import (
    BatchState,
    Owned,
    ProviderFile,
    ProviderObject,
    Tag,
)
from functions.batch.rows import Group
from functions.providers.downloads import answer_blocks
from functions.providers.keys import plain_key
from functions.providers.openai.answers import ACCOUNT_CODES
from functions.providers.openai.states import MODEL_CODES, OVER_CAPACITY, batch_state, outputs_of
from functions.providers.running import LIST_SECONDS, Running
from functions.providers.said import told
from functions.providers.waiting import retry_after

TIMEOUT_SECONDS = 120.0
_UPLOAD_SECONDS = 600.0
_PAGE = 100
_CLOCK_SKEW_SECONDS = 600
"""How much earlier than our intent a provider's clock may say that something was created."""

_UNSEEN = ("find", "found", "no such", "not exist", "not ready", "processed")
"""Words for a file that was uploaded, and is not seen yet, or not looked at yet."""

_DEAD = frozenset({"failed", "cancelling", "cancelled"})

_Made = TypeVar("_Made", FileObject, Batch)


def make_client(key: str, base_url: str) -> openai.OpenAI:
    """`base_url` includes `/v1`; empty means OpenAI itself. Raises `KeyMissing` for a key that is
    none."""
    return openai.OpenAI(
        api_key=plain_key(key, "openai"),
        base_url=base_url or "https://api.openai.com/v1",
        timeout=openai.Timeout(TIMEOUT_SECONDS, connect=10.0),
        max_retries=0,
    )


class OpenAIProvider:
    """See `functions.batch.ports.Provider`."""

    name = "openai"
    uses_staged_files = True
    keeps_together = False
    batch_kind: str | None = None

    def __init__(self, client: openai.OpenAI) -> None:
        self._client = client
        self._running = Running(self._newest)

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        with _translated(), path.open("rb") as file:
            made = self._client.files.create(
                file=(f"{_name(tag)}{tag.attempt}.jsonl", file),
                purpose="batch",
                timeout=openai.Timeout(_UPLOAD_SECONDS, connect=10.0),
            )
        return [ProviderObject(kind="input_file", id=_id(made))]

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        earliest = _seconds(since)
        with _translated():
            files = self._client.files.list(purpose="batch", order="desc")
            return [
                ProviderObject(kind="input_file", id=file.id)
                for file in _since(earliest, files)
                if _is_ours(file, tag)
            ]

    def create(
        self, path: Path | None, tag: Tag, group: Group, staged: Sequence[str], rows: int
    ) -> str:
        with _translated(creating=True):
            batch = self._client.batches.create(
                input_file_id=staged[0],
                endpoint=cast("Any", group.endpoint),
                completion_window="24h",
                metadata={
                    "batchdrop_stack": tag.stack,
                    "job_id": tag.job_id,
                    "shard_id": tag.shard_id,
                    "attempt": str(tag.attempt),
                },
            )
            return _id(batch)

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        """Of several, those that failed or were cancelled do not count: what is left is the one
        that a person let live. Where a list leaves out what marks a batch, its input tells."""
        earliest = _seconds(since)
        mine = (tag.stack, tag.job_id, tag.shard_id)
        found: dict[str, str] = {}
        unmarked: dict[str, Batch] = {}
        with _translated():
            for batch in _since(earliest, self._client.batches.list(limit=_PAGE)):
                marks = _marks(batch)
                if mine == tuple(
                    marks.get(name) for name in ("batchdrop_stack", "job_id", "shard_id")
                ):
                    found[batch.id] = batch.status
                elif not marks:
                    unmarked[batch.id] = batch
        if unmarked and not found:
            inputs = {file.id for file in self.find_staged(tag, since)}
            found = {
                each: batch.status
                for each, batch in unmarked.items()
                if batch.input_file_id in inputs
            }
        return [each for each, status in found.items() if status not in _DEAD] or list(found)

    def running(self, batch_id: str) -> BatchState | None:
        return self._running.state(batch_id)

    def poll(self, batch_id: str) -> BatchState:
        with _translated():
            answer = self._client.batches.with_raw_response.retrieve(batch_id)
            batch = _batch(answer.parse())
        asked = retry_after(answer.headers.get("retry-after"))
        return batch_state(batch, asked)

    def _newest(self, pages: int) -> Iterator[tuple[str, BatchState]]:
        with _translated():
            listed = self._client.batches.list(limit=_PAGE, timeout=LIST_SECONDS)
            for batch in islice(_since(float("-inf"), listed), pages * _PAGE):
                yield batch.id, batch_state(_batch(batch), None)

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        for output in outputs:
            with (
                _translated(),
                self._client.files.with_streaming_response.content(output) as content,
            ):
                yield from answer_blocks(content.iter_bytes(1 << 20), "OpenAI")

    def cancel(self, batch_id: str) -> None:
        """A batch that has ended meanwhile needs no cancelling."""
        try:
            with _translated():
                self._client.batches.cancel(batch_id)
        except Refused:
            return

    def delete(self, file: ProviderFile) -> None:
        with _translated():
            done = self._client.files.delete(file.id)
        if getattr(done, "deleted", None) is False:
            raise Unavailable("not_deleted", f"OpenAI says that {file.id} is not deleted.")

    def owned(self, stack: str, since: str) -> Iterator[Owned]:
        """Inputs by their names; answers, which have none, by the batches that they belong to."""
        earliest = _seconds(since)
        with _translated():
            files = self._client.files.list(purpose="batch", order="desc")
            for file in _since(earliest, files):
                parts = told(file.filename).split(".")
                if len(parts) == 5 and parts[0] == stack:  # as `_name` makes them
                    yield _owned("input_file", file.id, file.created_at, parts[1], parts[2])
            for batch in _since(earliest, self._client.batches.list(limit=_PAGE)):
                marks = _marks(batch)
                if marks.get("batchdrop_stack") != stack:
                    continue
                which = (marks.get("job_id", ""), marks.get("shard_id", ""))
                for output in outputs_of(batch):
                    yield _owned(output.kind, output.id, batch.created_at, *which)


def _since(earliest: float, listed: SyncCursorPage[_Made]) -> Iterator[_Made]:
    """Lists are the newest first, but that is promised for files alone: one that begins with the
    oldest is read to its end. What is no list must not pass for an empty one, and a list that
    begins anew, whatever page it is asked for, is over."""
    if not isinstance(getattr(listed, "data", None), list):
        raise Unavailable("odd_answer", "OpenAI's answer is no list.")
    first: float | None = None
    seen: set[str] = set()
    for each in listed:
        if each.id in seen:
            return
        seen.add(each.id)
        made: object = getattr(each, "created_at", None)
        if not isinstance(made, (int, float)) or made >= earliest:
            yield each
        elif first is not None and made < first:
            return
        if first is None and isinstance(made, (int, float)):
            first = made


def _id(made: FileObject | Batch) -> str:
    """What was made without an id is looked for, like what was made without an answer."""
    identity: object = getattr(made, "id", None)
    if not isinstance(identity, str) or not identity:
        raise Unavailable("odd_answer", "OpenAI's answer to a create holds no id.")
    return identity


def _batch(answer: object) -> Batch:
    """The SDK hands on whatever came with status 200, a gateway's page too."""
    if not isinstance(answer, Batch) or not told(answer.status):
        raise Unavailable("odd_answer", "OpenAI's answer is no batch.")
    return answer


def _marks(batch: Batch) -> dict[str, str]:
    marks: object = getattr(batch, "metadata", None)
    return cast("dict[str, str]", marks) if isinstance(marks, dict) else {}


def _name(tag: Tag) -> str:
    return f"{tag.stack}.{tag.job_id}.{tag.shard_id}."


def _is_ours(file: FileObject, tag: Tag) -> bool:
    return told(file.filename).startswith(_name(tag))


def _seconds(since: str) -> float:
    return datetime.fromisoformat(since).timestamp() - _CLOCK_SKEW_SECONDS


def _owned(kind: str, identity: str, created: int, job_id: str, shard_id: str) -> Owned:
    at = datetime.fromtimestamp(created, UTC).isoformat()
    return Owned(kind=kind, id=identity, created_at=at, job_id=job_id, shard_id=shard_id)


@contextmanager
def _translated(*, creating: bool = False) -> Generator[None]:
    """The SDK's errors as ours. `creating`: a batch, so that a file not found is one not seen."""
    try:
        yield
    except openai.APIStatusError as error:
        raise _from_status(error, creating=creating) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        raise Unavailable("no_answer", f"OpenAI could not be reached: {error}") from error
    except openai.OpenAIError as error:
        raise Refused("client", f"The OpenAI client refuses: {error}") from error
    except ValueError as error:
        raise Unavailable("odd_answer", f"OpenAI's answer cannot be read: {error}") from error


def _from_status(error: openai.APIStatusError, *, creating: bool) -> ProviderError:
    status = error.status_code
    code = told(error.code) or told(error.type) or f"http_{status}"
    message = f"{error.message} (HTTP {status})"
    asked = retry_after(error.response.headers.get("retry-after"))
    kind = _kind(status, code, error.message, creating=creating)
    if told(error.type) in ACCOUNT_CODES:
        kind = AccountBlocked
    if kind is Refused and code in MODEL_CODES:
        return Refused(code, message, retry_after=asked, then="fail")
    return kind(code, message, retry_after=asked)


def _kind(status: int, code: str, message: str, *, creating: bool) -> type[ProviderError]:
    words = message.lower()
    if creating and status < 500 and code in MODEL_CODES:
        return Refused
    if code in ACCOUNT_CODES or status in (401, 402, 403):
        return AccountBlocked
    if code in OVER_CAPACITY or "enqueued token" in words:
        return OverCapacity
    if status == 429:
        return Throttled
    if status == 408 or status >= 500:
        return Unavailable
    if creating and (status == 404 or ("file" in words and any(map(words.__contains__, _UNSEEN)))):
        return NotVisible
    if status == 404:
        return Missing
    return Throttled if creating and status == 409 else Refused
