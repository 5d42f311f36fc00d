"""What the workflow relies on at each provider: one suite, over the real adapters, each of which
talks to the simulator with its own SDK over HTTP, and over their in-memory twins."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from functions.batch.errors import (
    AccountBlocked,
    Missing,
    OverCapacity,
    Throttled,
    Unavailable,
    Unconfirmed,
)
from functions.batch.model import (
    BatchState,
    Progress,
    ProviderFile,
    ProviderObject,
    Shard,
    Tag,
    now,
)
from functions.batch.ports import Dialect, Provider
from functions.batch.reading.looking import decode
from functions.batch.rows import Answer
from functions.batch.sending.shard_files import row_id
from functions.batch.streams.lines import row_key
from functions.providers.anthropic.client import AnthropicProvider
from functions.providers.anthropic.client import make_client as anthropic_client
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.client import OpenAIProvider
from functions.providers.openai.client import make_client as openai_client
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import storage
from functions.providers.vertex.client import VertexProvider
from functions.providers.vertex.client import make_client as vertex_client
from functions.providers.vertex.dialect import VertexDialect
from local.machine import free_port
from local.simulator.answers import digest
from tests.support import anthropic_lines, lines
from tests.support.simulator import Simulator, simulator
from tests.support.twin_provider import TwinDialect, TwinProvider

GOOGLE = {"project": "p", "location": "us-central1", "bucket": "batches", "anonymous": True}
KEY = "sk-test"
TAG = Tag(stack="S", job_id="july-0123456789abcdef", shard_id="01-00002", attempt=1)
FOREIGN = [
    Tag(stack="T", job_id=TAG.job_id, shard_id=TAG.shard_id, attempt=1),
    Tag(stack="S", job_id="july-fedcba9876543210", shard_id=TAG.shard_id, attempt=1),
    Tag(stack="S", job_id=TAG.job_id, shard_id="01-00003", attempt=1),
]
NO_SINCE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Kind:
    """A provider's name, its dialect, a line of its own, and an adapter that talks to a server."""

    dialect: Dialect
    line: Callable[[str], dict[str, Any]]
    connect: Callable[[str, ExitStack], Provider]
    unknown_batch: str
    unknown_file: ProviderObject
    bad: str = "[[sim:status=400]]"
    """What the provider refuses in a row."""

    @property
    def name(self) -> str:
        return self.dialect.provider


def gemini(text: str) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"model": "gemini-2.5-flash", "request": request}


def to_openai(url: str, stack: ExitStack) -> Provider:
    return OpenAIProvider(stack.enter_context(openai_client(KEY, f"{url}/openai/v1")))


def to_anthropic(url: str, stack: ExitStack) -> Provider:
    return AnthropicProvider(stack.enter_context(anthropic_client(KEY, f"{url}/anthropic")))


def to_vertex(url: str, stack: ExitStack) -> Provider:
    connection = vertex_client(json.dumps(GOOGLE), f"{url}/vertex", f"{url}/gcs")
    return VertexProvider(stack.enter_context(closing(connection)))


KINDS = [
    Kind(
        OpenAIDialect(),
        lambda text: lines.line("x", lines.body(text)),
        to_openai,
        "batch_none",
        ProviderObject(kind="input_file", id="file-none"),
    ),
    Kind(
        AnthropicDialect(),
        lambda text: anthropic_lines.row("x", anthropic_lines.params(text)),
        to_anthropic,
        "msgbatch_none",
        ProviderObject(kind="batch", id="msgbatch_none"),
    ),
    Kind(
        VertexDialect(),
        gemini,
        to_vertex,
        "projects/p/locations/us-central1/batchPredictionJobs/404",
        ProviderObject(kind="gcs_object", id="gs://batches/batchdrop/none.jsonl"),
    ),
]


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    with simulator() as sim:
        yield sim


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    running_simulator.reset(batch_seconds=0.2)
    return running_simulator


def twin(name: str, **shape: Any) -> Kind:
    return Kind(
        TwinDialect(name),
        lambda text: {"twin": name, "model": "m", "text": text},
        lambda url, stack: TwinProvider(name, **shape),
        "batch-none",
        ProviderObject(kind="input_file", id="file-none"),
        bad="bad",
    )


TWINS = [
    twin("openai-twin"),
    twin("anthropic-twin", files=False, batch_kind="batch", named=False),
    twin("vertex-twin", batch_kind="batch_job"),
]
WITH_NAMES = [each for each in (*KINDS, *TWINS) if "anthropic" not in each.name]


def named(kind: Kind) -> str:
    return kind.name


@pytest.fixture(params=[*KINDS, *TWINS], ids=named)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


class Subject:
    """An adapter, and one shard's way through it as the use cases go it."""

    def __init__(self, kind: Kind, provider: Provider, folder: Path) -> None:
        self.kind = kind
        self.dialect = kind.dialect
        self.provider = provider
        self.folder = folder
        self.twin = provider if isinstance(provider, TwinProvider) else None
        self.since = now()
        first = kind.line("any")
        data = json.dumps(first).encode()
        self.group = self.dialect.parse(data, decode(data)).group

    def write(self, texts: list[str], tag: Tag = TAG) -> tuple[Path, list[str]]:
        """The provider's file, and the rows' ids as it knows them."""
        shard = Shard(
            job_id=tag.job_id,
            shard_id=tag.shard_id,
            round=1,
            number=1,
            provider=self.group.provider,
            endpoint=self.group.endpoint,
            model=self.group.model,
            rows=len(texts),
            bytes=0,
        )
        ids = [row_id(shard, row_key(0, n), tag.attempt) for n in range(len(texts))]
        opening, between, closing_bytes = self.dialect.framing
        requests = [
            self.dialect.request(json.dumps(self.kind.line(text)).encode(), identity)
            for text, identity in zip(texts, ids, strict=True)
        ]
        path = self.folder / f"{tag.stack}-{tag.job_id}-{tag.shard_id}-{tag.attempt}.jsonl"
        path.write_bytes(opening + between.join(requests) + closing_bytes)
        return path, ids

    def send(self, texts: list[str], tag: Tag = TAG) -> tuple[str, list[str], list[ProviderObject]]:
        """The batch's id, the rows' ids, and what was uploaded."""
        path, ids = self.write(texts, tag)
        staged = self.provider.stage(path, tag) if self.provider.uses_staged_files else []
        return self.create(path, tag, staged, len(texts)), ids, staged

    def create(self, path: Path, tag: Tag, staged: list[ProviderObject], rows: int) -> str:
        names = [each.id for each in staged]
        return self.provider.create(path, tag, self.group, names, rows)

    def end(self, batch_id: str) -> BatchState:
        deadline = time.monotonic() + 20
        while (state := self.provider.poll(batch_id)).outcome is None:
            assert state.outputs == [], "outputs may still change"
            assert time.monotonic() < deadline, state
            self.wait()
        return state

    def answers(self, state: BatchState) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for line in chain.from_iterable(
            self.provider.answers([output.id for output in state.outputs])
        ):
            answer = self.dialect.answer(line, self.group)
            assert answer.id not in found
            found[answer.id] = answer
        return found

    def delete(self, what: ProviderObject) -> None:
        self.provider.delete(
            ProviderFile(
                job_id=TAG.job_id,
                shard_id=TAG.shard_id,
                provider=self.kind.name,
                kind=what.kind,
                id=what.id,
                created_at=now(),
            )
        )

    def to_delete(
        self, batch_id: str, staged: list[ProviderObject], state: BatchState
    ) -> set[ProviderObject]:
        own = self.provider.batch_kind
        batch = [] if own is None else [ProviderObject(kind=own, id=batch_id)]
        return {*staged, *state.outputs, *batch}

    def wait(self) -> None:
        if self.twin is None:
            time.sleep(0.05)
        else:
            self.twin.tick()

    def found(self, tag: Tag, rows: int) -> list[str]:
        """Once all batches have ended, so that each can be told."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.provider.find_batches(tag, self.since, rows)
            except Unconfirmed:
                assert time.monotonic() < deadline
                self.wait()


@pytest.fixture
def subject(kind: Kind, sim: Simulator, tmp_path: Path) -> Iterator[Subject]:
    with ExitStack() as stack:
        yield Subject(kind, kind.connect(sim.url, stack), tmp_path)


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


def test_a_create_is_found_again_whatever_its_attempt(subject: Subject) -> None:
    batch_id, _, _ = subject.send(["a", "b", "c"])
    later = Tag(stack=TAG.stack, job_id=TAG.job_id, shard_id=TAG.shard_id, attempt=2)
    for tag in (TAG, later):
        assert subject.found(tag, 3) == [batch_id]


def test_a_running_batch_is_found_or_left_open(subject: Subject, sim: Simulator) -> None:
    sim.reset(batch_seconds=60)
    batch_id, _, _ = subject.send(["a", "b", "c"])
    try:
        found = subject.provider.find_batches(TAG, subject.since, 3)
    except Unconfirmed as doubt:
        found = doubt.candidates
    assert found == [batch_id]


def test_no_foreign_batch_is_found(subject: Subject) -> None:
    """Of the same size, at the same time, in the same account."""
    theirs = [subject.send(["a", "b", "c"], tag)[0] for tag in FOREIGN[1:]]
    for batch_id in theirs:
        subject.end(batch_id)
    assert subject.found(TAG, 3) == []


@pytest.mark.parametrize(
    "kind", [each for each in [*KINDS, *TWINS] if "anthropic" not in each.name], ids=named
)
def test_another_deployments_batch_is_not_found(subject: Subject) -> None:
    """Anthropic keeps no name: a row's id says the job and the shard, and a job's id is made of
    its bucket's name, so that no two deployments share one."""
    subject.end(subject.send(["a", "b", "c"], FOREIGN[0])[0])
    assert subject.found(TAG, 3) == []


def test_staged_files_are_found_again_and_no_others(subject: Subject, sim: Simulator) -> None:
    path, _ = subject.write(["a"])
    staged = subject.provider.stage(path, TAG)
    for tag in FOREIGN:
        subject.provider.stage(path, tag)
    later = Tag(stack=TAG.stack, job_id=TAG.job_id, shard_id=TAG.shard_id, attempt=2)
    for tag in (TAG, later):
        assert subject.provider.find_staged(tag, subject.since) == staged


def test_what_carries_the_stacks_name_is_told_and_nothing_else(
    subject: Subject, sim: Simulator
) -> None:
    """But for batches that have no names: those are known to the ledger alone."""
    batch_id, _, staged = subject.send(["a", "b"])
    subject.send(["c"], FOREIGN[0])
    state = subject.end(batch_id)
    found = {each.id: each for each in subject.provider.owned(TAG.stack, NO_SINCE)}
    wanted = {file.id for file in subject.to_delete(batch_id, staged, state)}
    assert set(found) == (wanted if subject.provider.uses_staged_files else set())
    assert {(each.job_id, each.shard_id) for each in found.values()} <= {(TAG.job_id, TAG.shard_id)}
    recent = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert all(each.created_at > recent for each in found.values())


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
        list(chain.from_iterable(subject.provider.answers([subject.kind.unknown_file.id])))


def calls(subject: Subject) -> dict[str, Callable[[], object]]:
    """Every method of the port that calls the provider."""
    path, _ = subject.write(["a"])
    unknown, file = subject.kind.unknown_batch, subject.kind.unknown_file
    staged = [file] if subject.provider.uses_staged_files else []
    made: dict[str, Callable[[], object]] = {
        "create": lambda: subject.create(path, TAG, staged, 1),
        "find_batches": lambda: subject.provider.find_batches(TAG, NO_SINCE, 1),
        "poll": lambda: subject.provider.poll(unknown),
        "answers": lambda: list(chain.from_iterable(subject.provider.answers([file.id]))),
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
    short = storage.DEFAULT_RETRY.with_timeout(0.1)
    monkeypatch.setattr(storage, "_PIECE_RETRY", short)
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
def test_an_answer_that_breaks_off_is_unavailable(subject: Subject, sim: Simulator) -> None:
    batch_id, _, _ = subject.send([f"question {n}" for n in range(30)])
    state = subject.end(batch_id)
    where = {"openai": "content", "anthropic": "results", "vertex": "content"}
    provider = {"vertex": "gcs"}.get(subject.kind.name, subject.kind.name)
    sim.arm(
        provider=provider, operation=where[subject.kind.name], kind="truncate", bytes=99, times=1
    )
    told = raised(lambda: subject.answers(state))
    assert told in (Unavailable, None), "what resumes by itself is whole"
    assert len(subject.answers(state)) == 30
