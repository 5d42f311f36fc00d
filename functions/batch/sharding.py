"""Reads one range of an input and sorts its rows: into sources, one group each, that a batch can
hold; and into the parts of those that can never be sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from functions.batch import envelope, layout
from functions.batch.errors import InputChanged, InvalidRow
from functions.batch.lines import (
    Oversized,
    pack_keyed,
    pack_row,
    range_lines,
    row_key,
    rows_of,
)
from functions.batch.model import (
    Group,
    Job,
    Limits,
    ParsedRow,
    RangeResult,
    Reason,
    RowCounts,
    Source,
)
from functions.batch.ports import Dialect, InputFiles, Ledger, Objects
from functions.batch.reading import Unreadable, decompress, named
from functions.batch.spools import PartSpools, SourceSpool
from functions.batch.tally import Problems

MOST_OPEN_GROUPS = 200
"""Files that a function may hold open are limited; a file with more models than this gets more
and smaller shards."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment's caps below the providers' own limits; 0 means none."""

    rows: int = 0
    bytes: int = 0

    def lower(self, limits: Limits) -> Limits:
        return msgspec.structs.replace(
            limits,
            rows=min(limits.rows, self.rows or limits.rows),
            bytes=min(limits.bytes, self.bytes or limits.bytes),
        )


class RangeOfInput(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes `[start, end)` of an input; `end` null: to its end."""

    number: int
    start: int
    end: int | None


def shard_range(
    job: Job,
    piece: RangeOfInput,
    *,
    ledger: Ledger,
    inputs: InputFiles,
    objects: Objects,
    dialects: Sequence[Dialect],
    caps: Caps,
) -> RangeResult | None:
    """Stores the range's rows and returns what it held; once stored, it is not read again.

    An input that cannot be read to its end rejects the job (None): nothing was sent yet.
    """
    stored = objects.find(layout.range_result(job.job_id, piece.number))
    if stored is not None:
        return msgspec.json.decode(stored, type=RangeResult)
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(_RowSorter(job, piece.number, objects, dialects, caps, Path(directory))) as sorter,
    ):
        try:
            for line in rows_of(_lines(job, piece, inputs), at_start=piece.start == 0):
                sorter.take(line)
        except (Unreadable, InputChanged) as error:
            reason = Reason(error.code, str(error))
            ledger.update_job(job.job_id, {"verdict": "rejected", "reason": reason})
            return None
        result = sorter.finish()
    objects.put(layout.range_result(job.job_id, piece.number), msgspec.json.encode(result))
    return result


def _lines(job: Job, piece: RangeOfInput, inputs: InputFiles) -> Iterator[bytes | Oversized]:
    kind = named(job.key)
    chunks = inputs.chunks(job, max(piece.start - 1, 0))
    if kind is not None and kind.compressed:
        chunks = decompress(chunks)
    return range_lines(chunks, piece.start, piece.end)


class _RowSorter:
    def __init__(
        self,
        job: Job,
        number: int,
        objects: Objects,
        dialects: Sequence[Dialect],
        caps: Caps,
        directory: Path,
    ) -> None:
        self._job_id = job.job_id
        self._number = number
        self._objects = objects
        self._dialects = dialects
        self._caps = caps
        self._directory = directory
        self._counts = RowCounts()
        self._open: dict[Group, SourceSpool] = {}
        self._limits: dict[Group, Limits] = {}
        self._sources: list[Source] = []
        self._stored = 0
        self._parts = PartSpools(objects, directory)
        self._problems = Problems()
        origin = f"range-{number:06d}"
        self._part = layout.part(self._job_id, origin)
        self._failed = layout.failed_part(self._job_id, origin)
        self._unreadable = layout.unreadable_part(self._job_id, origin)

    def take(self, line: bytes | Oversized) -> None:
        key = row_key(self._number, self._counts.total)
        self._counts.total += 1
        fields: dict[str, msgspec.Raw] = {}
        dialect: Dialect | None = None
        try:
            if isinstance(line, Oversized):
                raise InvalidRow(
                    "too_large",
                    f"The line has {line.size} bytes: more than any provider takes in a batch.",
                    readable=False,
                )
            fields = decode(line)
            dialect = self._dialect(fields)
            self._keep(key, line, dialect.parse(line, fields), dialect)
        except InvalidRow as error:
            data = line.excerpt if isinstance(line, Oversized) else line
            raw = fields.get("custom_id", b"null")
            custom_id = bytes(raw) if dialect is None else dialect.custom_id(data)
            self._set_aside(key, data, error, custom_id)

    def _dialect(self, fields: dict[str, msgspec.Raw]) -> Dialect:
        for dialect in self._dialects:
            if dialect.claims(fields):
                return dialect
        raise _unknown_shape(fields)

    def _keep(self, key: str, line: bytes, row: ParsedRow, dialect: Dialect) -> None:
        limits = self._limits.get(row.group)
        if limits is None:
            limits = self._limits[row.group] = self._caps.lower(dialect.limits(row.group))
        if row.weight.bytes > limits.bytes:
            raise InvalidRow(
                "too_large",
                f"The row needs {row.weight.bytes} bytes; a batch file holds {limits.bytes}.",
            )
        spool = self._open.get(row.group)
        if spool is not None and not spool.weight.plus(row.weight).fits(limits):
            self._store(self._open.pop(row.group))
            spool = None
        if spool is None:
            spool = self._open_spool(row.group)
        spool.add(key, pack_row(key, line), row.weight)

    def _open_spool(self, group: Group) -> SourceSpool:
        if len(self._open) >= MOST_OPEN_GROUPS:
            fullest = max(self._open, key=lambda other: self._open[other].weight.bytes)
            self._store(self._open.pop(fullest))
        self._stored += 1
        key = layout.rows(self._job_id, f"range-{self._number:06d}", self._stored)
        spool = self._open[group] = SourceSpool(group, key, self._directory)
        return spool

    def _store(self, spool: SourceSpool) -> None:
        self._sources.append(spool.store(self._objects))

    def _set_aside(self, key: str, line: bytes, error: InvalidRow, custom_id: bytes) -> None:
        self._counts.invalid += 1
        reason = Reason(error.code, error.message)
        self._problems.note(reason)
        tail = envelope.invalid(reason, custom_id)
        self._parts.add(self._part, key, pack_keyed(key, tail))
        original = self._failed if error.readable else self._unreadable
        self._parts.add(original, key, pack_keyed(key, line))

    def close(self) -> None:
        for spool in self._open.values():
            spool.close()
        self._parts.close()

    def finish(self) -> RangeResult:
        for spool in self._open.values():
            self._store(spool)
        return RangeResult(
            range=self._number,
            rows=self._counts.total,
            invalid=self._counts.invalid,
            sources=sorted(self._sources, key=lambda source: source.first),
            parts=self._parts.store(self._part),
            failed=self._parts.store(self._failed),
            unreadable=self._parts.store(self._unreadable),
            problems=self._problems.by_code,
        )


def decode(line: bytes) -> dict[str, msgspec.Raw]:
    """The line's top-level keys. Raises `InvalidRow` for what is not a JSON object in UTF-8."""
    if b"\0" in line:
        raise InvalidRow("nul_character", r"The line holds a NUL byte (\0).", readable=False)
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise InvalidRow(
                "not_utf8",
                f"The line is not UTF-8 (byte {error.start}). Save the file as UTF-8.",
                readable=False,
            ) from error
    try:
        return _fields.decode(line)
    except msgspec.ValidationError as error:
        raise InvalidRow(
            "not_an_object", "The line is JSON, but no object ({…}).", readable=False
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRow("not_json", f"The line is not JSON: {error}.", readable=False) from error


def _unknown_shape(fields: dict[str, msgspec.Raw]) -> InvalidRow:
    return InvalidRow(
        "needs_recipe",
        "This is a data row: it needs a recipe.yaml in the file's folder. Lines without one are "
        '{"custom_id", "method", "url", "body"} for OpenAI, {"custom_id", "params"} for '
        'Anthropic, {"custom_id", "model", "request"} for Gemini.',
    )
