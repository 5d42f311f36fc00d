"""Rows of data, on their way to becoming requests: read one by one, made some at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from functions.batch.errors import BadRecipe, InvalidRow
from functions.batch.model import Job
from functions.batch.ports import Dialect, InputFiles, RequestMaker
from functions.batch.reading.looking import decode, dialect_of
from functions.batch.reading.tables import MOST_CHARACTERS, BadRecord, Table
from functions.batch.recipe import MadeRow, StoredRecipe
from functions.batch.streams.lines import Oversized

FILES = "_files/"
MOST_DOCUMENT = 32_000_000
"""Bytes read of a document: above what any provider takes in a request."""

SHARED_BY = 3
"""Rows that have to name a document, of those that are made at once, for it to be cached: writing
it costs twice its price, so that two rows would pay more than without."""

_AT_ONCE = 8
_MOST_ROWS = 200
_MOST_BYTES = 1024 * 1024
_MOST_COLUMNS = 1_000

_encode = msgspec.json.Encoder().encode


class DataRow(msgspec.Struct, frozen=True):
    """`fields` is what a template sees, as a JSON object; `record` is the row as it is kept."""

    fields: bytes
    record: bytes


class RowOfNothing(msgspec.Struct, frozen=True):
    """A record that is no row; `text` is what is shown of it."""

    error: InvalidRow
    text: bytes


Row = DataRow | RowOfNothing | bytes | Oversized
"""Lines are requests already, or broken."""


class Sorter(Protocol):
    def take(self, line: bytes | Oversized) -> None: ...

    def take_made(self, row: DataRow, made: MadeRow) -> None: ...

    def take_nothing(self, row: RowOfNothing) -> None: ...


class Documents:
    """Objects of the inbox that rows name, below `_files/` in the job's folder."""

    def __init__(self, job: Job, inputs: InputFiles) -> None:
        self._job = job
        self._inputs = inputs
        folder = job.key.rpartition("/")[0]
        self._folder = f"{folder}/{FILES}" if folder else FILES
        self._shared: set[str] = set()

    def attached(self, made: list[MadeRow], maker: RequestMaker) -> Iterator[MadeRow]:
        if not any(row.document for row in made):
            yield from made
            return
        named = Counter(row.document for row in made if row.document)
        self._shared = {
            name for name, rows in named.items() if rows >= SHARED_BY or name in self._shared
        }
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(made), _AT_ONCE):
                some = made[start : start + _AT_ONCE]
                for row, found in zip(some, pool.map(self._fetch, some), strict=True):
                    yield self._put_in(row, found, maker) if row.document else row

    def _fetch(self, row: MadeRow) -> bytes | None:
        key = self._key(row.document)
        return None if key is None else self._inputs.beside(self._job, key, MOST_DOCUMENT + 1)

    def _key(self, name: str) -> str | None:
        """Keys may be given whole, or from `_files/` on."""
        if name.startswith(self._folder):
            return name
        return self._folder + name.removeprefix(FILES) if name.startswith(FILES) else None

    def _put_in(self, row: MadeRow, found: bytes | None, maker: RequestMaker) -> MadeRow:
        try:
            if found is None:
                raise InvalidRow(
                    "no_document",
                    f"s3_key is {_encode(row.document).decode()}; there is no such object below "
                    f"{self._folder} in the inbox.",
                )
            shared = row.document in self._shared
            line = maker.attached(row.line, row.document, found, shared=shared)
        except InvalidRow as error:
            custom_id = bytes(decode(row.line)["custom_id"])
            return MadeRow(code=error.code, message=error.message, custom_id=custom_id)
        return msgspec.structs.replace(row, line=line)


def table_rows(table: Table, recipe: StoredRecipe) -> Iterator[Row]:
    """Raises `BadRecipe` where the table has no column that the recipe's id names."""
    columns = table.columns
    if columns and recipe.id is not None and recipe.id not in columns:
        raise BadRecipe(
            f"{recipe.key}: id is {_encode(recipe.id).decode()}; the file's columns are "
            f"{', '.join(columns)}."
        )
    for record in table.rows():
        if isinstance(record, BadRecord):
            error = InvalidRow(record.code, record.message, readable=False)
            yield RowOfNothing(error, _encode(_shown(record.text)))
        else:
            yield DataRow(_encode(dict(zip(columns, record, strict=True))), _encode(record))


def _shown(text: str) -> str:
    """With what could not be decoded marked as such."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def line_rows(
    lines: Iterator[bytes | Oversized], dialects: Sequence[Dialect], columns: dict[str, None] | None
) -> Iterator[Row]:
    """JSONL, told apart by each line's shape. `columns` is filled with the names that come up."""
    for line in lines:
        if isinstance(line, Oversized):
            yield line
            continue
        try:
            fields = decode(line)
        except InvalidRow:
            yield line
            continue
        if dialect_of(fields, dialects) is not None:
            yield line
        elif len(line) > MOST_CHARACTERS:
            error = InvalidRow(
                "too_large", f"The row has {len(line)} bytes; allowed are {MOST_CHARACTERS}."
            )
            yield RowOfNothing(error, line)
        else:
            if columns is not None and len(columns) < _MOST_COLUMNS:
                columns.update(dict.fromkeys(fields))
            yield DataRow(line, line)


def make(rows: Iterator[Row], maker: RequestMaker, sorter: Sorter, documents: Documents) -> None:
    """Hands every row on in its order."""
    waiting: list[Row] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row.fields) if isinstance(row, DataRow) else 0
        if len(waiting) >= _MOST_ROWS or size >= _MOST_BYTES:
            _hand_on(waiting, maker, sorter, documents)
            waiting, size = [], 0
    _hand_on(waiting, maker, sorter, documents)


def _hand_on(rows: list[Row], maker: RequestMaker, sorter: Sorter, documents: Documents) -> None:
    data = [row for row in rows if isinstance(row, DataRow)]
    made = documents.attached(maker.make([row.fields for row in data]) if data else [], maker)
    for row in rows:
        if isinstance(row, DataRow):
            sorter.take_made(row, next(made))
        elif isinstance(row, RowOfNothing):
            sorter.take_nothing(row)
        else:
            sorter.take(row)
