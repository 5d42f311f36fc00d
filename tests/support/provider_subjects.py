"""What a suite over all providers is run on: each real adapter, and the twins of their kinds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.batch.errors import Unconfirmed
from functions.batch.model import BatchState, ProviderFile, ProviderObject, Shard, Tag, now
from functions.batch.ports import Dialect, Provider
from functions.batch.reading.looking import decode
from functions.batch.rows import Answer
from functions.batch.sending.shard_files import row_id
from functions.batch.streams.lines import row_key, rows_of
from functions.providers.anthropic.client import AnthropicProvider
from functions.providers.anthropic.client import make_client as anthropic_client
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.client import OpenAIProvider
from functions.providers.openai.client import make_client as openai_client
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.client import VertexProvider
from functions.providers.vertex.client import make_client as vertex_client
from functions.providers.vertex.dialect import VertexDialect
from tests.support import anthropic_lines, lines
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
        for line in rows_of(self.provider.answers([output.id for output in state.outputs])):
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
