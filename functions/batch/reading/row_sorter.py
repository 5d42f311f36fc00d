"""Sorts rows: into sources, one group each, that a batch can hold; and into the parts of those that
can never be sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.depth import headroom
from functions.batch.errors import InvalidRow
from functions.batch.model import Job, Reason, RowCounts
from functions.batch.ports import Dialect, Objects
from functions.batch.reading.data_rows import (
    DataRow,
    RowOfNothing,
)
from functions.batch.reading.identity import IdentitySpool
from functions.batch.reading.looking import decode, dialect_of, is_utf8
from functions.batch.reading.mould import Mould, Room
from functions.batch.reading.moulds import Moulds
from functions.batch.recipe import MadeRow, StoredRecipe
from functions.batch.rows import Caps, Group, Limits, ParsedRow, Weight
from functions.batch.streams import envelope
from functions.batch.streams.fresh import pack_fresh
from functions.batch.streams.lines import Oversized, is_blank, pack_keyed, row_key
from functions.batch.streams.spools import PartSpools, SourceSpool, room_beside
from functions.batch.tally import Problems
from functions.batch.work import RangeResult, Rest, Source

MOST_OPEN_GROUPS = 200
"""Files that a function may hold open are limited; a file with more models than this gets more
and smaller shards."""


class RowSorter:
    """Of one leg of a range; `first` is its first row's number. Rows must come in order."""

    def __init__(
        self,
        job: Job,
        number: int,
        objects: Objects,
        dialects: Sequence[Dialect],
        caps: Caps,
        directory: Path,
        recipe: StoredRecipe | None,
        *,
        leg: int = 0,
        first: int = 0,
    ) -> None:
        self.dialects = dialects
        self.columns: dict[str, None] = {}
        self._recipe = recipe
        self._job_id = job.job_id
        self._number = number
        self._prefix = row_key(number, 0)[:-9]
        self._objects = objects
        self._caps = caps
        self._directory = directory
        self._first = first
        self._counts = RowCounts(total=first)
        self._open: dict[Group, SourceSpool] = {}
        self._limits: dict[Group, Limits] = {}
        self._sources: list[Source] = []
        self._stored = 0
        self._parts = PartSpools(objects, directory)
        self._problems = Problems()
        origin = self._origin = f"range-{number:06d}" + (f"-leg-{leg:04d}" if leg else "")
        self._part = layout.part(self._job_id, origin)
        self._failed = layout.failed_part(self._job_id, origin)
        self._unreadable = layout.unreadable_part(self._job_id, origin)
        self._records = layout.record_part(self._job_id, origin)
        self._identities: IdentitySpool | None = None
        if recipe is not None and recipe.dedupe:
            key = layout.identities(self._job_id, origin)
            self._identities = IdentitySpool(recipe, key, directory)
        self._routes: dict[int, int] = {}
        self._last: Dialect | None = None  # whose the row before was: most files have one
        self._moulds = Moulds(self._prefix)

    def take_all(self, block: bytes) -> None:
        """The rows among its lines: as `take` one after the other, but those that are alike at
        once."""
        at = 0
        while at < len(block):
            until = self._take_alike(block, at) if self._recipe is None else at
            at = until if until > at else self._take_line(block, at)

    def _take_line(self, block: bytes, at: int, *, alike: bool = False) -> int:
        """Where the next one begins."""
        until = 1 + block.find(b"\n", at) or len(block) + 1
        line = block[at : until - 1]
        if not is_blank(line):
            self.take(line, alike=alike)
        return until

    def _take_alike(self, block: bytes, at: int) -> int:
        """Takes the next rows, as many as are alike; where in the block the others begin."""
        number = self._counts.total
        found = self._moulds.take(block, at, number, self._room_for)
        if found is None:
            return at
        mould, run = found
        spool = self._open.get(mould.group)
        limits = self._limits_of(mould.group, mould.dialect)
        if not (Weight() if spool is None else spool.weight).holds(run.weight, limits):
            return self._take_line(block, at, alike=True)  # It is full: the row opens another.
        spool = spool or self._open_spool(mould.group, run.weight)
        last = number + run.rows - 1
        first_key, last_key = f"{self._prefix}{number:09d}", f"{self._prefix}{last:09d}"
        spool.add_all(first_key, last_key, run.packed, run.weight)
        self._counts.total += run.rows
        return run.until

    def _room_for(self, mould: Mould) -> Room:
        """At least one row has to be tried, to find that the source is full."""
        limits = self._limits_of(mould.group, mould.dialect)
        spool, one = self._open.get(mould.group), mould.one
        used = Weight() if spool is None else spool.weight
        rows = min(
            room_beside(used.rows, limits),
            (limits.bytes - used.bytes) // one.bytes,
            (limits.output - used.output) // max(1, one.output),
        )
        return Room(rows=max(1, rows), bytes=limits.bytes)

    def take(self, line: bytes | Oversized, *, alike: bool = False) -> None:
        """`alike`: it fits a mould."""
        key = self._next_key()
        fields: dict[str, msgspec.Raw] = {}
        dialect = self._last
        if dialect is not None and type(line) is bytes and self._recipe is None and is_utf8(line):
            row = dialect.parse_usual(line)
            if row is not None and row.weight.bytes <= self._limits_of(row.group, dialect).bytes:
                self._keep(key, line, row, dialect)
                if not alike:
                    self._moulds.learn(line, dialect)
                return
        dialect = None
        try:
            if isinstance(line, Oversized):
                raise InvalidRow(
                    "too_large",
                    f"The line has {line.size} bytes: more than any provider takes in a batch.",
                    readable=False,
                )
            fields = decode(line)
            dialect = dialect_of(fields, self.dialects)
            if dialect is None:
                raise _unknown_shape()
            if self._recipe is not None and dialect.provider == self._recipe.provider:
                line, fields = self._with_model(line, fields)
            self._keep(key, line, dialect.parse(line, fields), dialect)
            self._last = dialect
            if self._recipe is None and not alike:
                self._moulds.learn(line, dialect)
        except (InvalidRow, RecursionError) as error:
            data = line.excerpt if isinstance(line, Oversized) else line
            raw = fields.get("custom_id", b"null")
            with headroom(1):
                custom_id = bytes(raw) if dialect is None else dialect.custom_id(data)
            self._set_aside(key, data, _invalid(error), custom_id)

    def take_made(self, row: DataRow, made: MadeRow) -> None:
        """What a recipe made of a row of data."""
        key = self._next_key()
        self._parts.add(self._records, key, pack_keyed(key, row.record))
        custom_id = made.custom_id
        try:
            if made.code:
                raise InvalidRow(made.code, made.message)
            fields = decode(made.line)
            custom_id = bytes(fields["custom_id"])
            dialect = dialect_of(fields, self.dialects)
            if dialect is None:
                raise _unknown_shape()
            parsed = dialect.parse(made.line, fields)
            self._keep(key, made.line, parsed, dialect, made.route)
            self._routes[made.route] = self._routes.get(made.route, 0) + 1
        except (InvalidRow, RecursionError) as error:
            # Its record is kept already, and stands in for it.
            self._set_aside(key, b"", _invalid(error), custom_id)

    def take_nothing(self, row: RowOfNothing) -> None:
        self._set_aside(self._next_key(), row.text, row.error, b"null")

    def _next_key(self) -> str:
        key = f"{self._prefix}{self._counts.total:09d}"
        self._counts.total += 1
        return key

    def _with_model(
        self, line: bytes, fields: dict[str, msgspec.Raw]
    ) -> tuple[bytes, dict[str, msgspec.Raw]]:
        """A request that leaves its model to the recipe: Gemini's may."""
        recipe = self._recipe
        if recipe is None or recipe.model is None or "request" not in fields or "model" in fields:
            return line, fields
        fields = {"model": msgspec.Raw(msgspec.json.encode(recipe.model)), **fields}
        return msgspec.json.encode(fields), fields

    def _keep(
        self, key: str, line: bytes, row: ParsedRow, dialect: Dialect, route: int | None = None
    ) -> None:
        group, weight = row.group, row.weight
        limits = self._limits_of(group, dialect)
        if weight.bytes > limits.bytes:
            raise InvalidRow(
                "too_large",
                f"The row needs {weight.bytes} bytes; a batch file holds {limits.bytes}.",
            )
        spool = self._open.get(group)
        if spool is not None and not spool.weight.holds(weight, limits):
            self._store(self._open.pop(group))
            spool = None
        if spool is None:
            spool = self._open_spool(group, weight)
        spool.add(key, pack_fresh(key, line, weight, route), weight)
        if self._identities is not None:
            self._identities.add(key, line, row, dialect, spool.key, made=route is not None)

    def _limits_of(self, group: Group, dialect: Dialect) -> Limits:
        limits = self._limits.get(group)
        if limits is None:
            limits = self._limits[group] = self._caps.lower(dialect.limits(group))
        return limits

    def _open_spool(self, group: Group, first: Weight) -> SourceSpool:
        if len(self._open) >= MOST_OPEN_GROUPS:
            fullest = max(self._open, key=lambda other: self._open[other].weight.bytes)
            self._store(self._open.pop(fullest))
        self._stored += 1
        key = layout.rows(self._job_id, self._origin, self._stored)
        shares = self._recipe is not None and self._recipe.prefix is not None
        opening = Weight().plus(first) if shares else None
        spool = SourceSpool(group, key, self._directory, opening=opening)
        self._open[group] = spool
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
        if self._identities is not None:
            self._identities.close()

    def finish(self, rest: Rest | None) -> RangeResult:
        for spool in self._open.values():
            self._store(spool)
        return RangeResult(
            range=self._number,
            rows=self._counts.total - self._first,
            start=self._first,
            rest=rest,
            invalid=self._counts.invalid,
            sources=sorted(self._sources, key=lambda source: source.first),
            parts=self._parts.store(self._part),
            failed=self._parts.store(self._failed),
            unreadable=self._parts.store(self._unreadable),
            problems=self._problems.by_code,
            records=self._parts.store(self._records),
            columns=list(self.columns),
            routes=self._routes,
            identities=self._identities and self._identities.store(self._objects),
        )


def _invalid(error: InvalidRow | RecursionError) -> InvalidRow:
    if isinstance(error, InvalidRow):
        return error
    return InvalidRow("too_deep", "The row is nested too deep: no provider takes so many levels.")


def _unknown_shape() -> InvalidRow:
    return InvalidRow(
        "needs_recipe",
        "This is a data row: it needs a recipe.yaml in the file's folder. Lines without one are "
        '{"custom_id", "method", "url", "body"} for OpenAI, {"custom_id", "params"} for '
        'Anthropic, {"custom_id", "model", "request"} for Gemini.',
    )
