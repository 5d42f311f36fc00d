"""Anthropic's Message Batches, over the official SDK.

SDK retries are off for every call: a create that is repeated may be paid twice, and waits of more
than a few seconds are the workflow's. The API: https://platform.claude.com/docs/en/api/messages/batches

The results are read from their documented path below the base URL. `results_url`, which the SDK
follows with the key in hand, is not: behind a gateway it names another host, which may neither be
reachable nor get the key. Only where the path is not known it is, and only at the same host.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal

import anthropic
import httpx2
import msgspec
from anthropic.pagination import SyncPage
from anthropic.types.messages import MessageBatch

from functions.batch.errors import (
    AccountBlocked,
    Missing,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
    Unconfirmed,
)
from functions.batch.model import (
    BatchState,
    Owned,
    Progress,
    ProviderFile,
    ProviderObject,
    Refusal,
    Tag,
)
from functions.batch.rows import Group
from functions.batch.streams.lines import is_blank
from functions.providers.anthropic.answers import about_account
from functions.providers.downloads import answer_blocks
from functions.providers.keys import plain_key
from functions.providers.running import LIST_SECONDS, Running
from functions.providers.said import count, told
from functions.providers.waiting import retry_after

TIMEOUT_SECONDS = 120.0
_UPLOAD_SECONDS = 600.0
_CLOCK_SKEW = timedelta(minutes=5)
"""How much earlier than our intent Anthropic's clock may say that a batch was created. AWS serves
no function whose own clock is further off."""

_PATH = "/v1/messages/batches"
_PAGE = 100
_LONG_PAGE = 1_000
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")

STATES: dict[str, Literal["ended"] | None] = {
    "in_progress": None,
    "canceling": None,
    "ended": "ended",
}

_RESULTS_GONE = Refusal(
    code="results_gone",
    message="Anthropic keeps results for 29 days; those of this batch are gone.",
    then="resend",
)


class _ResultId(msgspec.Struct):
    custom_id: str


_result_id = msgspec.json.Decoder(_ResultId)


def make_client(key: str, base_url: str) -> anthropic.Anthropic:
    """`base_url` has no `/v1`; empty means Anthropic itself. Raises `KeyMissing` for a key that is
    none."""
    return anthropic.Anthropic(
        api_key=plain_key(key, "anthropic"),
        base_url=base_url.rstrip("/").removesuffix("/v1") or "https://api.anthropic.com",
        timeout=anthropic.Timeout(TIMEOUT_SECONDS, connect=10.0),
        max_retries=0,
    )


class AnthropicProvider:
    """See `functions.batch.ports.Provider`. What Anthropic keeps of a shard is the batch itself,
    requests and results: once ended, it is its own output, and is deleted like a file."""

    name = "anthropic"
    uses_staged_files = False
    keeps_together = False
    batch_kind: str | None = "batch"

    def __init__(self, client: anthropic.Anthropic) -> None:
        self._client = client
        self._running = Running(self._newest)

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        return []

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        return []

    def create(
        self, path: Path | None, tag: Tag, group: Group, staged: Sequence[str], rows: int
    ) -> str:
        """Streams the file: `batches.create` would hold the requests several times over."""
        assert path is not None  # what is not staged is written anew for every attempt
        headers = {"content-type": "application/json"}
        if group.variant:
            headers["anthropic-beta"] = group.variant
        with _translated(creating=True), path.open("rb") as body:
            made = self._client.post(
                _PATH,
                content=body,
                cast_to=MessageBatch,
                options={
                    "headers": headers,
                    "timeout": anthropic.Timeout(_UPLOAD_SECONDS, connect=10.0),
                },
            )
        batch_id: object = getattr(made, "id", None)
        if not isinstance(batch_id, str) or not batch_id:
            raise Unavailable("odd_answer", "Anthropic's answer to a create holds no batch id.")
        return batch_id

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        """A batch has no name. One of the right age and size is the shard's if the first of its
        results says so; one that has none yet may be, and nothing is taken before it is known."""
        earliest = datetime.fromisoformat(since) - _CLOCK_SKEW
        found: list[str] = []
        unknown: list[str] = []
        with _translated():
            for batch in _each(self._client.messages.batches.list(limit=_PAGE)):
                if _created(batch) < earliest:
                    break
                # One that was not counted, or not yet, may have any size.
                if _rows(batch) not in (rows, 0) or batch.archived_at is not None:
                    continue
                ours = None
                if STATES.get(batch.processing_status) == "ended":
                    ours = self._is_ours(batch.id, tag)
                if ours is None:
                    unknown.append(batch.id)
                elif ours:
                    found.append(batch.id)
        if unknown and not found:
            raise Unconfirmed(
                unknown, f"Whose batch {', '.join(unknown)} is, its results will tell."
            )
        return found

    def _is_ours(self, batch_id: str, tag: Tag) -> bool | None:
        """None where it has no results yet: they have been seen to be missing for a while after a
        batch had ended."""
        with suppress(Missing), closing(self._results(batch_id)) as blocks:
            for block in blocks:
                if is_blank(block):
                    continue
                first, _, _ = block.lstrip().partition(b"\n")
                mark = f"-{tag.job_id[-8:]}-{tag.shard_id}-"
                with suppress(ValueError):
                    return mark in _result_id.decode(first).custom_id
                return False
        return None

    def running(self, batch_id: str) -> BatchState | None:
        return self._running.state(batch_id)

    def poll(self, batch_id: str) -> BatchState:
        with _translated():
            answer = self._client.messages.batches.with_raw_response.retrieve(batch_id)
            batch = _batch(answer.parse())
        return _state(batch, retry_after(answer.headers.get("retry-after")))

    def _newest(self, pages: int) -> Iterator[tuple[str, BatchState]]:
        with _translated():
            listed = self._client.messages.batches.list(limit=_LONG_PAGE, timeout=LIST_SECONDS)
            for batch in islice(_each(listed), pages * _LONG_PAGE):
                yield batch.id, _state(_batch(batch), None)

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        for batch_id in outputs:
            yield from self._results(batch_id)

    def _results(self, batch_id: str) -> Generator[bytes]:
        try:
            yield from self._blocks(f"{_PATH}/{batch_id}/results")
        except Missing as error:
            yield from self._blocks(self._results_url(batch_id, error))

    def _blocks(self, path: str) -> Generator[bytes]:
        with _translated(), closing(self._open(path)) as content:
            yield from answer_blocks(content.iter_bytes(1 << 20), "Anthropic")

    def _open(self, path: str) -> httpx2.Response:
        with _translated():
            return self._client.get(path, cast_to=httpx2.Response, stream=True, stream_cls=None)

    def _results_url(self, batch_id: str, error: Missing) -> str:
        """Where a compatible service may keep the results instead, if that is the same service."""
        with _translated():
            url: object = self._client.messages.batches.retrieve(batch_id).results_url
            base = self._client.base_url
            found = base.join(url) if isinstance(url, str) and url else None
        if found is None or _origin(found) != _origin(base):
            raise error
        return str(found)

    def cancel(self, batch_id: str) -> None:
        """A batch that has ended meanwhile needs no cancelling."""
        with suppress(Refused), _translated():
            self._client.messages.batches.cancel(batch_id)

    def delete(self, file: ProviderFile) -> None:
        with _translated():
            self._client.messages.batches.delete(file.id)

    def owned(self, stack: str, since: str) -> Iterator[Owned]:
        """Nothing: a batch has no name, so that one which the ledger does not know cannot be told
        from others'. Anthropic deletes it after 29 days."""
        return iter(())


def _each(listed: SyncPage[MessageBatch]) -> Iterator[MessageBatch]:
    """What is no list must not pass for an empty one, and a list that begins anew is over."""
    if not isinstance(getattr(listed, "data", None), list):
        raise Unavailable("odd_answer", "Anthropic's answer is no list.")
    seen: set[str] = set()
    for batch in listed:
        if batch.id in seen:
            return
        seen.add(batch.id)
        yield batch


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _batch(answer: object) -> MessageBatch:
    """The SDK hands on whatever came with status 200, a gateway's page too."""
    if not isinstance(answer, MessageBatch) or not told(answer.processing_status):
        raise Unavailable("odd_answer", "Anthropic's answer is no batch.")
    return answer


def _created(batch: MessageBatch) -> datetime:
    made: object = getattr(batch, "created_at", None)
    if not isinstance(made, datetime):
        raise ValueError(f"no time of creation: {made!r}")
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _counts(batch: MessageBatch) -> dict[str, int]:
    counts: object = batch.request_counts
    return {name: count(getattr(counts, name, None)) for name in _COUNTS}


def _rows(batch: MessageBatch) -> int:
    return sum(_counts(batch).values())


def _state(batch: MessageBatch, asked: float | None) -> BatchState:
    """An unknown status counts as running: new ones are more likely steps than ends. A batch that
    was cancelled or expired ends like any other; only its counts and results say so."""
    counts = _counts(batch)
    outcome = STATES.get(batch.processing_status)
    if batch.archived_at is not None:
        return BatchState(status="archived", outcome="refused", refusal=_RESULTS_GONE)
    cut_short = (
        batch.cancel_initiated_at is not None or counts["canceled"] > 0 or counts["expired"] > 0
    )
    return BatchState(
        status=told(batch.processing_status),
        outcome=outcome,
        complete=outcome is not None and not cut_short,
        outputs=[] if outcome is None else [ProviderObject(kind="batch", id=batch.id)],
        progress=Progress(
            total=sum(counts.values()),
            completed=counts["succeeded"],
            failed=counts["errored"] + counts["canceled"] + counts["expired"],
        ),
        retry_after=asked,
    )


@contextmanager
def _translated(*, creating: bool = False) -> Generator[None]:
    """The SDK's errors as ours, and those of its HTTP client, which reach us from a body that
    breaks off while it is read."""
    try:
        yield
    except anthropic.APIStatusError as error:
        raise _from_status(error, creating=creating) from error
    except (anthropic.APIError, httpx2.HTTPError) as error:
        raise Unavailable("no_answer", f"Anthropic could not be reached: {error}") from error
    except anthropic.AnthropicError as error:
        raise Refused("client", f"The Anthropic client refuses: {error}") from error
    except ValueError as error:
        raise Unavailable("odd_answer", f"Anthropic's answer cannot be read: {error}") from error


def _from_status(error: anthropic.APIStatusError, *, creating: bool) -> ProviderError:
    status = error.status_code
    said = told(error.api_message) or told(error.message)
    code = told(error.error_code) or told(error.type) or f"http_{status}"
    if status == 413:
        code = "request_too_large"
    kind = _kind(status, creating=creating)
    if about_account(code, said) or error.type == "billing_error":
        kind = AccountBlocked
    asked = retry_after(error.response.headers.get("retry-after"))
    return kind(code, f"{said} (HTTP {status})", retry_after=asked)


def _kind(status: int, *, creating: bool) -> type[ProviderError]:
    """What there is to do does not depend on the words. A create that meets a redirect or no such
    path was sent to a wrong base URL, which a person has to mend, as with a key."""
    if status in (401, 402, 403) or (creating and (status < 400 or status in (404, 405))):
        return AccountBlocked
    if status == 429:
        return Throttled
    if status == 408 or status >= 500:
        return Unavailable
    if status == 404:
        return Missing
    return Throttled if creating and status == 409 else Refused
