"""CSV that goes back to people: `results.csv` and `failed.csv`, written row by row.

What a spreadsheet would run as a formula is guarded with a leading `'`
(https://owasp.org/www-community/attacks/CSV_Injection); plain numbers are not. A cell that is
guarded already gets one more, so that taking one off always gives the input back.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec

from functions.batch.ports import Writer
from functions.batch.reading.tables import DELIMITERS
from functions.batch.recipe import StoredRecipe

_RUNS = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-](?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")


class _Error(msgspec.Struct):
    code: str
    message: str


class _Result(msgspec.Struct):
    status: str
    custom_id: msgspec.Raw
    text: msgspec.Raw
    error: _Error | None = None
    cost_usd: msgspec.Raw = msgspec.Raw(b"null")


_result = msgspec.json.Decoder(_Result).decode
_cells = msgspec.json.Decoder(list[str]).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str | None).decode


class _Schema(msgspec.Struct):
    properties: dict[str, msgspec.Raw] = {}


def guarded(cell: str) -> str:
    if _RUNS.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


class _Rows:
    """A CSV writer over a stream of bytes: UTF-8, lines end as RFC 4180 has it."""

    def __init__(self, out: Writer) -> None:
        self._out = out
        self._csv = csv.writer(self)

    def write(self, text: str, /) -> int:
        self._out.write(text.encode())
        return len(text)

    def head(self, columns: Sequence[str]) -> None:
        """In quotes where a name holds what divides the columns of other tables: whoever reads the
        file again has to tell by its header what divides these."""
        odd = any(each in name for name in columns for each in DELIMITERS)
        quoting = csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
        csv.writer(self, quoting=quoting).writerow(columns)

    def row(self, cells: Sequence[str]) -> None:
        self._csv.writerow(cells)


class Records:
    """The input's rows by key, to be asked for in order."""

    def __init__(self, records: Iterator[tuple[bytes, bytes]]) -> None:
        self._records = records
        self._next = next(records, None)

    def find(self, key: bytes) -> bytes | None:
        while self._next is not None and self._next[0] < key:
            self._next = next(self._records, None)
        return self._next[1] if self._next is not None and self._next[0] == key else None


class ResultsSheet:
    """The input's columns, then `status`, `text` or the schema's fields, `error` and `cost_usd`.
    Of an input without columns, which holds requests, there is the `custom_id`."""

    def __init__(
        self,
        out: Writer,
        recipe: StoredRecipe,
        columns: Sequence[str],
        records: Records,
        *,
        header: bool = True,
    ) -> None:
        self._rows = _Rows(out)
        self._records = records
        self._columns = list(columns)
        self._fields: list[str] | None = None
        if recipe.schema is not None:
            schema = msgspec.json.decode(recipe.schema, type=_Schema)
            self._fields = list(schema.properties) or None
        if header:
            own = ["status", *(self._fields or ["text"]), "error", "cost_usd"]
            self._rows.row([guarded(name) for name in (*(self._columns or ["custom_id"]), *own)])

    def add(self, key: bytes, line: bytes) -> None:
        """`line` is the row's line of `results.jsonl`."""
        result = _result(line)
        error = "" if result.error is None else f"{result.error.code}: {result.error.message}"
        cells = [*self._input(key, result), result.status, *self._said(result), error]
        self._rows.row([*(guarded(cell) for cell in cells), _cell(result.cost_usd)])

    def _input(self, key: bytes, result: _Result) -> list[str]:
        if not self._columns:
            return [_cell(result.custom_id)]
        record = self._records.find(key)
        if record is None:
            return [""] * len(self._columns)
        if record.startswith(b"["):
            return _cells(record)
        found = _fields(record)
        return [_cell(found[name]) if name in found else "" for name in self._columns]

    def _said(self, result: _Result) -> list[str]:
        text = _text(result.text) or ""
        if self._fields is None:
            return [text]
        try:
            found = _fields(text)
        except (msgspec.DecodeError, RecursionError):
            found = {}
        return [_cell(found[name]) if name in found else "" for name in self._fields]


def _cell(raw: msgspec.Raw) -> str:
    """A text as it is, null as nothing, all else as JSON."""
    data = bytes(raw)
    if data == b"null":
        return ""
    return cast("str", msgspec.json.decode(data)) if data.startswith(b'"') else data.decode()


class FailedSheet:
    """The input's own rows under its header, as they were: it may be dropped again."""

    def __init__(self, out: Writer, columns: Sequence[str], *, header: bool = True) -> None:
        self._rows = _Rows(out)
        if header:
            self._rows.head(columns)

    def add(self, record: bytes) -> None:
        self._rows.row(_cells(record))
