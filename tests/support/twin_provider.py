"""A batch provider in memory, complete with books of its own: what it was paid for, what is left.

It stands for three kinds of provider: one with files whose batches stay (OpenAI), one whose batch
is all there is and has no name (Anthropic), and one with files and a job to delete (Vertex). Its
clock moves with the workflow's waits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from functions.batch.errors import InvalidRow, Missing, NotVisible, Unavailable, Unconfirmed
from functions.batch.model import BatchState, Owned, ProviderFile, ProviderObject, Tag, now
from functions.batch.rows import (
    Answer,
    Cut,
    Group,
    Limits,
    ParsedRow,
    ReadAnswers,
    RowError,
    Usage,
    UsualAnswer,
    Weight,
)

MAX_OUTPUT = 100
"""Tokens: no answer of a twin is longer."""

LASTS = 2
"""Ticks from a batch's creation to its end."""


class _Row(msgspec.Struct):
    id: str
    text: str


class _Line(msgspec.Struct):
    twin: str
    model: str
    text: str
    custom_id: str | None = None


class _Said(msgspec.Struct):
    id: str
    verdict: str
    text: str
    usage: Usage | None = None


_line = msgspec.json.Decoder(_Line)
_row = msgspec.json.Decoder(_Row)
_said = msgspec.json.Decoder(_Said)


class TwinDialect:
    """Lines of `{"twin": provider, "model", "text", "custom_id"}`."""

    framing = (b"", b"\n", b"\n")
    id_mark = b'"id"'
    creates_per_hour: int | None = None

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def claims(self, fields: dict[str, msgspec.Raw]) -> bool:
        return bytes(fields.get("twin", b"")) == b'"%b"' % self.provider.encode()

    def parse(self, line: bytes, fields: dict[str, msgspec.Raw]) -> ParsedRow:
        try:
            model = _line.decode(line).model
        except msgspec.ValidationError as error:
            raise InvalidRow("no_model", str(error)) from error
        return ParsedRow(Group(self.provider, "/twin", model), self.weigh(line), len(line))

    def parse_usual(self, line: bytes) -> ParsedRow | None:
        return None

    def cut(self, line: bytes) -> Cut | None:
        return None

    def weigh(self, line: bytes) -> Weight:
        return Weight(rows=1, bytes=len(line), tokens=len(line), max_output=MAX_OUTPUT)

    def limits(self, group: Group) -> Limits:
        return Limits(rows=100, bytes=1 << 20, inputs=100, output=1 << 20)

    def request(self, line: bytes, row_id: str) -> bytes:
        return msgspec.json.encode(_Row(row_id, _line.decode(line).text))

    def answer(self, line: bytes, group: Group) -> Answer:
        said = _said.decode(line)
        if said.verdict == "succeeded":
            text = msgspec.json.encode(said.text)
            return Answer(
                id=said.id, verdict="succeeded", response=line, text=text, usage=said.usage
            )
        error = RowError(code="twin", message="No.", retryable=said.verdict == "again")
        return Answer(
            id=said.id,
            verdict="again" if said.verdict == "again" else "failed",
            response=line,
            usage=said.usage,
            error=error,
        )

    def read_answers(self, block: bytes, group: Group) -> ReadAnswers:
        found = [(line, self._usual(line)) for line in block.split(b"\n")]
        usual = [answer for _, answer in found if answer is not None]
        return ReadAnswers.of(usual, [line for line, answer in found if answer is None])

    def _usual(self, line: bytes) -> UsualAnswer | None:
        try:
            said = _said.decode(line)
        except msgspec.MsgspecError:
            return None
        usage = said.usage
        if said.verdict != "succeeded" or usage is None:
            return None
        text = msgspec.json.encode(said.text)
        given, made = usage.input_tokens, usage.output_tokens
        plain = given and usage == Usage(input_tokens=given, output_tokens=made)
        return said.id, line, text, given, made, None if plain else usage

    def with_model(self, line: bytes, model: str) -> bytes:
        return msgspec.json.encode({**msgspec.json.decode(line), "model": model})

    def custom_id(self, line: bytes) -> bytes:
        return msgspec.json.encode(msgspec.json.decode(line).get("custom_id"))


@dataclass
class _Batch:
    id: str
    tag: Tag
    model: str
    rows: list[_Row]
    ends_at: int
    hidden: int
    share: float
    ended: bool = False
    cancelled: bool = False
    lines: list[bytes] = field(default_factory=list)
    outputs: list[ProviderObject] = field(default_factory=list)


class TwinProvider:
    """`late`: look-ups that do not see a new batch yet. `lost`: creates that work, but whose
    answer does not arrive. `expiring`: batches that end after half of their rows. `failing`: how
    often a text fails before it is answered; one that begins with `bad` always does. `say`: what a
    text is answered with, which `billed` counts already. `used`: tokens by model, text and side.
    `prefix`: tokens that each row shares with the others of its model: written to a cache for an
    hour by the first, read from it by all others."""

    def __init__(
        self, name: str, *, files: bool = True, batch_kind: str | None = None, named: bool = True
    ) -> None:
        self.name = name
        self.uses_staged_files = files
        self.keeps_together = files and batch_kind is not None
        self.batch_kind = batch_kind
        self.late = 0
        self.lost = 0
        self.expiring = 0
        self.failing: dict[str, int] = {}
        self.say: Callable[[str], str] = lambda text: f"echo {text}"
        self.today = now()
        self.billed: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.used: Counter[tuple[str, str, str]] = Counter()
        self.prefix = 0
        self._warm: set[str] = set()
        self._model = ""
        self.created = 0
        self.begun = 0
        self.batches: dict[str, _Batch] = {}
        self._named = named
        self._files: dict[str, tuple[str, Tag, list[bytes]]] = {}
        self._ticks = 0
        self._shuffle = random.Random(name).shuffle

    def tick(self) -> None:
        self._ticks += 1
        for batch in self.batches.values():
            if not batch.ended and self._ticks >= batch.ends_at:
                self._end(batch)

    def settle(self) -> None:
        """Lets everything end that was begun, asked for or not: it is paid all the same."""
        for _ in range(LASTS):
            self.tick()

    def left(self) -> list[str]:
        return [*self._files, *(self.batches if self.batch_kind is not None else ())]

    def _end(self, batch: _Batch) -> None:
        batch.ended = True
        rows = batch.rows[: int(len(batch.rows) * batch.share)]
        self._model = batch.model
        said = [self._said(row) for row in rows]
        self._shuffle(said)
        batch.lines = [msgspec.json.encode(each) for each in said]
        if not self.uses_staged_files:
            batch.outputs = [ProviderObject(kind="batch", id=batch.id)]
            return
        for kind, wanted in (("output_file", True), ("error_file", False)):
            good = [
                msgspec.json.encode(each)
                for each in said
                if (each.verdict == "succeeded") == wanted
            ]
            if good:
                batch.outputs.append(self._file(kind, batch.tag, good))
        if self.batch_kind is not None:
            batch.outputs.append(ProviderObject(kind=self.batch_kind, id=batch.id))

    def _said(self, row: _Row) -> _Said:
        if row.text.startswith("bad"):
            return _Said(row.id, "failed", "", self._charged(row, 0))
        if self.failing.get(row.text, 0):
            self.failing[row.text] -= 1
            return _Said(row.id, "again", "")
        self.billed[row.text] += 1
        text = self.say(row.text)
        return _Said(row.id, "succeeded", text, self._charged(row, len(text)))

    def _charged(self, row: _Row, output: int) -> Usage:
        """A row that is refused for what it says is paid too, one that fails is not."""
        usage = Usage(input_tokens=self.prefix + len(row.text), output_tokens=output)
        model = self._model
        if model in self._warm:
            usage.cached_input_tokens = self.prefix
        else:
            usage.cache_write_tokens = usage.cache_write_1h_tokens = self.prefix
        self._warm.add(model)
        self.tokens["input"] += usage.input_tokens
        self.tokens["output"] += usage.output_tokens
        self.used[model, row.text, "input"] += usage.input_tokens
        self.used[model, row.text, "output"] += usage.output_tokens
        return usage

    def _file(self, kind: str, tag: Tag, lines: list[bytes]) -> ProviderObject:
        self.created += 1
        identity = f"{self.name}-file-{self.created}"
        self._files[identity] = (kind, tag, lines)
        return ProviderObject(kind=kind, id=identity)

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        return [self._file("input_file", tag, path.read_bytes().splitlines())]

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        return [
            ProviderObject(kind=kind, id=identity)
            for identity, (kind, owner, _) in self._files.items()
            if _same_shard(owner, tag)
        ]

    def create(
        self, path: Path | None, tag: Tag, group: Group, staged: Sequence[str], rows: int
    ) -> str:
        if self.uses_staged_files:
            if staged[0] not in self._files:
                raise NotVisible("no_file", staged[0])
            lines = self._files[staged[0]][2]
        else:
            assert path is not None
            lines = path.read_bytes().splitlines()
        self.begun += 1
        identity = f"{self.name}-batch-{self.begun}"
        if self.batch_kind is not None:
            self.created += 1
        share = 0.5 if self.expiring else 1.0
        self.expiring = max(self.expiring - 1, 0)
        asked = [_row.decode(line) for line in lines]
        self.sent.update(row.text for row in asked)
        ends_at = self._ticks + LASTS
        self.batches[identity] = _Batch(
            identity, tag, group.model, asked, ends_at, self.late, share
        )
        if self.lost:
            self.lost -= 1
            raise Unavailable("no_answer", "The answer to the create was lost.")
        return identity

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        found: list[str] = []
        unknown: list[str] = []
        for batch in self.batches.values():
            if batch.hidden:
                batch.hidden -= 1
            elif self._named or batch.ended:
                if _same_shard(batch.tag, tag):
                    found.append(batch.id)
            elif len(batch.rows) == rows:
                unknown.append(batch.id)
        if unknown and not found:
            raise Unconfirmed(unknown, "It has no results yet.")
        return found

    def running(self, batch_id: str) -> BatchState | None:
        return None

    def poll(self, batch_id: str) -> BatchState:
        batch = self._batch(batch_id)
        if not batch.ended:
            return BatchState(status="running", outcome=None)
        whole = batch.share == 1.0
        return BatchState(
            status="completed" if whole else "expired",
            outcome="ended",
            complete=whole,
            outputs=batch.outputs,
        )

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        for output in outputs:
            if output in self._files:
                yield from self._files[output][2]
            elif not self.uses_staged_files:
                yield from self._batch(output).lines
            elif output not in self.batches:
                raise Missing("gone", output)

    def cancel(self, batch_id: str) -> None:
        batch = self._batch(batch_id)
        if not batch.ended:
            batch.share = 0.5
            self._end(batch)

    def owned(self, stack: str, since: str) -> Iterator[Owned]:
        named = [(kind, identity, tag) for identity, (kind, tag, _) in self._files.items()]
        if self.batch_kind is not None and self._named:
            named += [(self.batch_kind, each.id, each.tag) for each in self.batches.values()]
        for kind, identity, tag in named:
            if tag.stack == stack:
                yield Owned(
                    kind=kind,
                    id=identity,
                    created_at=self.today,
                    job_id=tag.job_id,
                    shard_id=tag.shard_id,
                )

    def delete(self, file: ProviderFile) -> None:
        if file.id in self._files:
            del self._files[file.id]
        elif file.id in self.batches and file.kind == self.batch_kind:
            del self.batches[file.id]
        else:
            raise Missing("gone", file.id)

    def _batch(self, batch_id: str) -> _Batch:
        if batch_id not in self.batches:
            raise Missing("gone", batch_id)
        return self.batches[batch_id]


def _same_shard(one: Tag, other: Tag) -> bool:
    return (one.stack, one.job_id, one.shard_id) == (other.stack, other.job_id, other.shard_id)
