"""What the files of a job's results hold, row by row: of the whole job, or of a slice of its rows.

Nothing is assumed: a row that came back twice is written once, and one of which nothing came back
is written as failed, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from functions.batch.model import Reason, RowCounts
from functions.batch.ports import Objects, Writer
from functions.batch.recipe import StoredRecipe
from functions.batch.results.sheets import FailedSheet, Records, ResultsSheet
from functions.batch.rows import INLINE_BYTES, IndexedRow
from functions.batch.streams import envelope
from functions.batch.streams.lines import row_key
from functions.batch.streams.merging import Between, merged
from functions.batch.work import Part, RangeResult, Span

_LOST = Reason(
    "unresolved",
    "Nothing came back for this row, and it could not be sent again. Retry it.",
)


class _Identified(msgspec.Struct):
    custom_id: msgspec.Raw


_identified = msgspec.json.Decoder(_Identified)
_text = msgspec.json.Decoder(str)


class Rows(msgspec.Struct, kw_only=True):
    """Rows that follow each other in the job, `first` being the number of the first, and the parts
    that have something of them. Parts of a slice may hold other rows, too: only what is `between`
    is meant. `columns`: of the input, in the order in which they came up."""

    spans: list[Span]
    parts: list[Part]
    failed: list[Part]
    unreadable: list[Part]
    records: list[Part]
    columns: list[str]
    is_csv: bool
    first: int = 0
    between: Between | None = None

    @property
    def count(self) -> int:
        return sum(span.end - span.start for span in self.spans)


def columns_of(ranges: Iterable[RangeResult]) -> list[str]:
    return list(dict.fromkeys(name for each in ranges for name in each.columns))


def result_lines(
    rows: Rows, work: Objects, recipe: StoredRecipe | None, counts: RowCounts, csv: Writer | None
) -> Iterator[tuple[int, bytes]]:
    """Row numbers and the lines of `results.jsonl`. They are counted by status on the way, and
    copied into the sheet where there is one."""
    lines = merged(rows.parts, work, rows.between)
    numbered = _numbered(_one_for_each(rows.spans, lines), rows.first, counts)
    if recipe is None or csv is None:
        return numbered
    sheet = ResultsSheet(csv, recipe, rows.columns, _records(rows, work), header=not rows.first)
    return _copied(numbered, sheet, rows.spans)


def write_failed(rows: Rows, work: Objects, out: Writer) -> None:
    """A row of data as it came; what was made of it is ours."""
    records = _records(rows, work)
    sheet = FailedSheet(out, rows.columns, header=not rows.first) if rows.is_csv else None
    for row, payload in _once(merged(rows.failed, work, rows.between)):
        record = records.find(row)
        if sheet is None:
            out.write((payload if record is None else record) + b"\n")
        elif record is not None:
            sheet.add(record)


def write_invalid(rows: Rows, work: Objects, out: Writer) -> None:
    for _, payload in _once(merged(rows.unreadable, work, rows.between)):
        line = msgspec.json.decode(payload, type=str).encode() if rows.is_csv else payload
        out.write(line + b"\n")


def indexed(lines: Iterable[tuple[int, bytes]], out: Writer) -> Iterator[IndexedRow]:
    """Writes every line, and passes on those that have a `custom_id` to be found by. Of a long one
    its place: whoever stores some rows at once has none of its bytes in memory."""
    offset = 0
    for row, line in lines:
        out.write(line)
        custom_id = bytes(_identified.decode(line).custom_id)
        # Other JSON may hold a number that is too large to be read, or lie too deep.
        if custom_id.startswith(b'"'):
            identity = _text.decode(custom_id)
            if len(line) <= INLINE_BYTES:
                yield IndexedRow(row, identity, line, offset)
            else:
                yield IndexedRow(row, identity, b"", offset, len(line))
        offset += len(line)


def _records(rows: Rows, work: Objects) -> Records:
    return Records(merged(rows.records, work, rows.between))


def _once(lines: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    last = b""
    for row, payload in lines:
        if row != last:
            yield row, payload
        last = row


def _copied(
    lines: Iterable[tuple[int, bytes]], sheet: ResultsSheet, spans: Sequence[Span]
) -> Iterator[tuple[int, bytes]]:
    """Passes lines on, and into the sheet."""
    keys = (row_key(span.range, row) for span in spans for row in range(span.start, span.end))
    for key, (row, line) in zip(keys, lines, strict=True):
        sheet.add(key.encode(), line)
        yield row, line


def _one_for_each(spans: Iterable[Span], lines: Iterator[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The payload of every row of every span, in order."""
    key, payload = next(lines, (b"", b""))
    for span in spans:
        for row in range(span.start, span.end):
            wanted = row_key(span.range, row).encode()
            if key != wanted:
                yield envelope.unresolved(_LOST)
                continue
            yield payload
            while key == wanted:
                key, payload = next(lines, (b"", b""))


def _numbered(tails: Iterable[bytes], first: int, counts: RowCounts) -> Iterator[tuple[int, bytes]]:
    """Row numbers and finished lines; counts them by status on the way."""
    for row, tail in enumerate(tails, first):
        match tail[:1]:
            case envelope.SUCCEEDED:
                counts.succeeded += 1
            case envelope.INVALID:
                counts.invalid += 1
            case _:
                counts.failed += 1
        yield row, envelope.numbered(row, tail)
