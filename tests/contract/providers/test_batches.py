"""What the workflow relies on of a batch at each provider, from its file to nothing left."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from functions.batch.errors import Missing
from functions.batch.model import Progress, ProviderObject
from functions.batch.streams.lines import rows_of
from functions.providers.running import MANY
from local.simulator.answers import digest
from tests.support.provider_subjects import KINDS, TAG, Subject, named
from tests.support.simulator import Simulator


def left(subject: Subject, sim: Simulator) -> list[Any]:
    if subject.twin is not None:
        return subject.twin.left()
    return [each for told in sim.ledger()["providers"].values() for each in told["files_left"]]


def test_a_batch_from_its_file_to_nothing_left(subject: Subject, sim: Simulator) -> None:
    texts = [f"question {n} \u2028 \N{GRINNING FACE}" for n in range(40)]
    batch_id, ids, staged = subject.send(texts)
    assert bool(staged) == subject.provider.uses_staged_files
    state = subject.end(batch_id)
    assert (state.outcome, state.complete, state.refusal) == ("ended", True, None)
    answers = subject.answers(state)
    assert set(answers) == set(ids)
    for identity, text in zip(ids, texts, strict=True):
        answer = answers[identity]
        assert answer.verdict == "succeeded"
        assert json.loads(answer.text).split()[:2] == echo(subject.kind.line(text))
    files = subject.to_delete(batch_id, staged, state)
    for each in sorted(files, key=lambda file: file.kind, reverse=True):
        subject.delete(each)
    assert left(subject, sim) == []
    for each in files:
        with pytest.raises(Missing):
            subject.delete(each)


def echo(line: dict[str, Any]) -> list[str]:
    """How an answer to the line begins."""
    if "twin" in line:
        return ["echo", line["text"].split()[0]]
    return ["echo", digest(line.get("body") or line.get("params") or line["request"])]


def test_a_row_that_is_refused_is_told(subject: Subject) -> None:
    batch_id, ids, _ = subject.send(["fine", subject.kind.bad])
    fine, refused = (subject.answers(subject.end(batch_id))[identity] for identity in ids)
    assert fine.verdict == "succeeded"
    assert refused.verdict == "failed"
    assert refused.error is not None
    assert refused.error.message
    assert refused.error.retryable is False


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_what_a_person_sees_of_a_batch(subject: Subject) -> None:
    batch_id, ids, _ = subject.send(["a", "b", "[[sim:status=400]]"])
    state = subject.end(batch_id)
    assert state.progress == Progress(total=3, completed=2, failed=1)
    usage = subject.answers(state)[ids[0]].usage
    assert usage is not None
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


@pytest.mark.parametrize("kind", KINDS, ids=named)
@pytest.mark.parametrize("status", [429, 500])
def test_a_row_that_may_pass_goes_again(subject: Subject, status: int) -> None:
    batch_id, ids, _ = subject.send(["fine", f"[[sim:status={status}]]"])
    answer = subject.answers(subject.end(batch_id))[ids[1]]
    assert answer.verdict == "again"
    assert answer.error is not None
    assert answer.error.retryable is True


def test_a_cancelled_batch_ends_with_what_was_done(subject: Subject, sim: Simulator) -> None:
    sim.reset(batch_seconds=10)
    batch_id, ids, _ = subject.send(["a", "b"])
    subject.provider.cancel(batch_id)
    state = subject.end(batch_id)
    assert (state.outcome, state.complete) == ("ended", False)
    for identity, answer in subject.answers(state).items():
        assert identity in ids
        assert answer.verdict in ("succeeded", "resend")
    subject.provider.cancel(batch_id)


def test_an_unknown_batch_is_missing(subject: Subject) -> None:
    unknown = subject.kind.unknown_batch
    with pytest.raises(Missing):
        subject.provider.poll(unknown)
    with pytest.raises(Missing):
        subject.provider.cancel(unknown)
    with pytest.raises(Missing):
        subject.delete(subject.kind.unknown_file)
    if subject.provider.batch_kind is not None:
        with pytest.raises(Missing):
            subject.delete(ProviderObject(kind=subject.provider.batch_kind, id=unknown))


def test_an_unknown_output_is_missing(subject: Subject) -> None:
    with pytest.raises(Missing):
        list(rows_of(subject.provider.answers([subject.kind.unknown_file.id])))


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_many_batches_are_asked_for_at_once(subject: Subject, sim: Simulator) -> None:
    """And each comes to its end as if it had been asked for by itself."""
    sim.admin("settings", {"batch_seconds": 3})
    batches: list[str] = []
    for number in range(2 * MANY):
        tag = msgspec.structs.replace(TAG, shard_id=f"01-{number:05d}")
        batch_id, _, _ = subject.send([f"text {number}"], tag)
        batches.append(batch_id)
    for _ in range(3):
        for batch_id in batches:
            state = subject.provider.running(batch_id) or subject.provider.poll(batch_id)
            assert state.outcome is None
    name = subject.kind.name
    calls = sim.ledger()["calls"]
    assert calls[f"{name} list"] == 1
    assert calls[f"{name} retrieve"] == MANY - 1
    for batch_id in batches:
        assert subject.end(batch_id).outcome == "ended"
