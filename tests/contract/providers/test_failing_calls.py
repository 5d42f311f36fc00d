"""What the workflow is told of calls to a provider that fail, and what they may have made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from functions.batch.errors import AccountBlocked, OverCapacity, Throttled, Unavailable
from functions.batch.streams.lines import rows_of
from functions.providers.vertex import storage, uploading
from local.machine import free_port
from tests.support.provider_subjects import KEY, KINDS, NO_SINCE, TAG, Kind, Subject, named
from tests.support.simulator import Simulator


def calls(subject: Subject) -> dict[str, Callable[[], object]]:
    """Every method of the port that calls the provider."""
    path, _ = subject.write(["a"])
    unknown, file = subject.kind.unknown_batch, subject.kind.unknown_file
    staged = [file] if subject.provider.uses_staged_files else []
    made: dict[str, Callable[[], object]] = {
        "create": lambda: subject.create(path, TAG, staged, 1),
        "find_batches": lambda: subject.provider.find_batches(TAG, NO_SINCE, 1),
        "poll": lambda: subject.provider.poll(unknown),
        "answers": lambda: list(rows_of(subject.provider.answers([file.id]))),
        "cancel": lambda: subject.provider.cancel(unknown),
        "delete": lambda: subject.delete(file),
    }
    if subject.provider.uses_staged_files:
        made["stage"] = lambda: subject.provider.stage(path, TAG)
        made["find_staged"] = lambda: subject.provider.find_staged(TAG, NO_SINCE)
        made["owned"] = lambda: list(subject.provider.owned(TAG.stack, NO_SINCE))
    return made


def raised(call: Callable[[], object]) -> type[Exception] | None:
    try:
        call()
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_refused_key_blocks_the_account_at_every_call(subject: Subject, sim: Simulator) -> None:
    sim.reset(revoked_keys=[KEY], require_google_token=True)
    told = {name: raised(call) for name, call in calls(subject).items()}
    assert told == dict.fromkeys(told, AccountBlocked)


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_who_does_not_answer_is_unavailable_at_every_call(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Storage alone asks again by itself, for pieces of what it has begun."""
    short = uploading.DEFAULT_RETRY.with_timeout(0.1)
    monkeypatch.setattr(storage, "PIECE_RETRY", short)
    monkeypatch.setattr(uploading, "PIECE_RETRY", short)
    with ExitStack() as stack:
        subject = Subject(kind, kind.connect(f"http://127.0.0.1:{free_port()}", stack), tmp_path)
        told = {name: raised(call) for name, call in calls(subject).items()}
    assert told == dict.fromkeys(told, Unavailable)


def arm(sim: Simulator, subject: Subject, **fault: Any) -> None:
    sim.arm(**{"provider": subject.kind.name, "operation": "create", **fault})


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_create_that_is_put_off_made_nothing(subject: Subject, sim: Simulator) -> None:
    arm(sim, subject, kind="status", status=429, retry_after=7, times=1)
    path, _ = subject.write(["a"])
    staged = subject.provider.stage(path, TAG)
    with pytest.raises((Throttled, OverCapacity)) as caught:
        subject.create(path, TAG, staged, 1)
    assert caught.value.retry_after == 7
    assert subject.found(TAG, 1) == []
    assert subject.end(subject.create(path, TAG, staged, 1)).outcome == "ended"


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_create_that_fails_there_may_have_made_something(
    subject: Subject, sim: Simulator
) -> None:
    """And is not repeated by the SDK, whatever becomes of it."""
    path, _ = subject.write(["a"])
    staged = subject.provider.stage(path, TAG)
    arm(sim, subject, kind="status", status=503, times=1)
    with pytest.raises(Unavailable):
        subject.create(path, TAG, staged, 1)
    assert subject.found(TAG, 1) == []
    arm(sim, subject, kind="drop_after", times=1)
    with pytest.raises(Unavailable):
        subject.create(path, TAG, staged, 1)
    assert len(subject.found(TAG, 1)) == 1


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_answers_that_break_off_are_unavailable_or_resumed(
    subject: Subject, sim: Simulator
) -> None:
    """Cloud Storage gives the rest of an object, the others give it from its beginning."""
    batch_id, _, _ = subject.send([f"question {n}" for n in range(30)])
    state = subject.end(batch_id)
    where = {"openai": "content", "anthropic": "results", "vertex": "content"}
    provider = {"vertex": "gcs"}.get(subject.kind.name, subject.kind.name)
    sim.arm(
        provider=provider, operation=where[subject.kind.name], kind="truncate", bytes=99, times=1
    )
    told = raised(lambda: subject.answers(state))
    assert told == (None if subject.kind.name == "vertex" else Unavailable)
    assert len(subject.answers(state)) == 30
