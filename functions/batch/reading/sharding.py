"""Reads one range of an input and sorts its rows: into sources, one group each, that a batch can
hold; and into the parts of those that can never be sent."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.deadline import Remaining, unlimited
from functions.batch.depth import headroom
from functions.batch.errors import BadRecipe, InputChanged, InvalidRow
from functions.batch.ledger_ports import Ledger
from functions.batch.model import Job, Reason, RowCounts
from functions.batch.ports import Dialect, InputFiles, Objects, Recipes
from functions.batch.reading.data_rows import (
    DataRow,
    Documents,
    RowOfNothing,
    line_rows,
    make,
    table_rows,
)
from functions.batch.reading.identity import IdentitySpool
from functions.batch.reading.legs import MOST_DATA, WORTH_A_LEG, Leg
from functions.batch.reading.looking import decode, dialect_of, is_utf8
from functions.batch.reading.moulds import Moulds
from functions.batch.reading.range_input import RangeInput, RangeOfInput
from functions.batch.reading.tables import BadTable, Table
from functions.batch.reading.unpacking import MAX_UNZIPPED_BYTES, Unreadable
from functions.batch.recipe import MadeRow, StoredRecipe
from functions.batch.rows import Group, Limits, ParsedRow, Weight
from functions.batch.streams import envelope
from functions.batch.streams.lines import Oversized, each, pack_fresh, pack_keyed, row_key
from functions.batch.streams.spools import PartSpools, SourceSpool
from functions.batch.tally import Problems
from functions.batch.work import RangeResult, Rest, Source

MOST_OPEN_GROUPS = 200
"""Files that a function may hold open are limited; a file with more models than this gets more
and smaller shards."""


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


def shard_range(
    job: Job,
    piece: RangeOfInput,
    *,
    ledger: Ledger,
    inputs: InputFiles,
    objects: Objects,
    dialects: Sequence[Dialect],
    recipes: Recipes,
    caps: Caps,
    remaining: Remaining = unlimited,
    max_unzipped_bytes: int = MAX_UNZIPPED_BYTES,
) -> RangeResult | None:
    """Stores the range's rows and returns what it held; once stored, it is not read again.

    Where the time that is `remaining` does not suffice, what is returned is a leg that has a
    `rest`: the same call again goes on with it.

    An input that cannot be read to its end rejects the job (None): nothing was sent yet.
    """
    source = RangeInput(job, piece, inputs, max_unzipped_bytes)
    reader = _Reader(job, piece.number, source, Documents(job, inputs), recipes, objects)
    last: RangeResult | None = None
    for number in count():
        key = layout.range_result(job.job_id, piece.number, number)
        stored = objects.find(key)
        if stored is not None:
            last = msgspec.json.decode(stored, type=RangeResult)
        elif last is not None and remaining() < WORTH_A_LEG and not reader.fresh:
            return last
        else:
            try:
                last = reader.read(number, last, Leg(remaining), dialects, caps)
            except (Unreadable, InputChanged, BadTable, BadRecipe) as error:
                reason = Reason(error.code, str(error))
                ledger.update_job(job.job_id, {"verdict": "rejected", "reason": reason})
                return None
            objects.put(key, msgspec.json.encode(last))
        if last.rest is None:
            return last
    raise AssertionError("unreachable")


class _Reader:
    """Of one range of an input. `fresh`: it has read no leg of it yet."""

    def __init__(
        self,
        job: Job,
        number: int,
        source: RangeInput,
        documents: Documents,
        recipes: Recipes,
        objects: Objects,
    ) -> None:
        self.fresh = True
        self._job = job
        self._number = number
        self._source = source
        self._documents = documents
        self._recipes = recipes
        self._objects = objects
        self._recipe: StoredRecipe | None = None

    def read(
        self,
        number: int,
        before: RangeResult | None,
        leg: Leg,
        dialects: Sequence[Dialect],
        caps: Caps,
    ) -> RangeResult:
        if self.fresh:
            found = self._objects.find(layout.recipe(self._job.job_id))
            if found is not None:
                self._recipe = msgspec.json.decode(found, type=StoredRecipe)
        self.fresh = False
        with (
            tempfile.TemporaryDirectory() as directory,
            closing(
                _RowSorter(
                    self._job,
                    self._number,
                    self._objects,
                    dialects,
                    caps,
                    Path(directory),
                    self._recipe,
                    leg=number,
                    first=0 if before is None else before.span.end,
                )
            ) as sorter,
        ):
            rest = None if before is None else before.rest
            if self._recipe is None or not self._recipe.makes_requests:
                for block in self._source.blocks(leg, rest):
                    if isinstance(block, Oversized):
                        sorter.take(block)
                    else:
                        sorter.take_all(block)
            else:
                leg.most = MOST_DATA
                self._make_requests(self._recipe, leg, rest, sorter)
            return sorter.finish(leg.rest)

    def _make_requests(
        self, recipe: StoredRecipe, leg: Leg, rest: Rest | None, sorter: _RowSorter
    ) -> None:
        with closing(self._recipes.maker(recipe)) as maker:
            if self._source.is_csv:
                table = Table(self._source.chunks(0), recipe.encoding, self._source.chunks)
                sorter.columns = dict.fromkeys(table.columns)
                rows = table_rows(table, recipe)
                if rest is not None:
                    table.go_to(rest.place)
                rows = leg.records(table, rows)
            else:
                lines = each(self._source.blocks(leg, rest))
                rows = line_rows(lines, sorter.dialects, sorter.columns if recipe.csv else None)
            make(rows, maker, sorter, self._documents)


class _RowSorter:
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

    def take_all(self, rows: list[bytes]) -> None:
        """As `take` one after the other, but those that are alike at once."""
        at = 0
        while at < len(rows):
            taken = self._take_alike(rows, at) if self._recipe is None else 0
            if not taken:
                self.take(rows[at])
            at += taken or 1

    def _take_alike(self, rows: list[bytes], at: int) -> int:
        """Takes the next rows, as many as are alike; how many."""
        number = self._counts.total
        found = self._moulds.take(rows, at, number, self._limits_of)
        if found is None:
            return 0
        mould, run = found
        taken = run.rows
        spool = self._open.get(mould.group)
        limits = self._limits_of(mould.group, mould.dialect)
        if spool is None or not spool.takes_all(run.weight, limits):
            for line in rows[at : at + taken]:
                self.take(line)
            return taken
        first, last = f"{self._prefix}{number:09d}", f"{self._prefix}{number + taken - 1:09d}"
        spool.add_all(first, last, run.packed, run.weight)
        self._counts.total += taken
        return taken

    def take(self, line: bytes | Oversized) -> None:
        key = self._next_key()
        fields: dict[str, msgspec.Raw] = {}
        dialect = self._last
        if dialect is not None and type(line) is bytes and self._recipe is None and is_utf8(line):
            row = dialect.parse_usual(line)
            if row is not None and row.weight.bytes <= self._limits_of(row.group, dialect).bytes:
                self._keep(key, line, row, dialect)
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
