"""Puts a job's results together: one line for each input row, in input order.

Nothing is assumed: a row that came back twice is written once, and one of which nothing came back
is written as failed, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Literal

import msgspec

from functions.batch import envelope, layout
from functions.batch.fanning import finish_unsent
from functions.batch.lines import row_key
from functions.batch.merging import merged
from functions.batch.model import FINAL_JOB_STATUSES, Outputs, Reason, RowCounts
from functions.batch.ports import Ledger, Objects, Writer
from functions.batch.reading import named
from functions.batch.recipe import StoredRecipe
from functions.batch.reconcile import all_collected, range_results
from functions.batch.rows import IndexedRow
from functions.batch.sheets import FailedSheet, Records, ResultsSheet
from functions.batch.work import Part, RangeResult

IndexResults = Literal["auto", "on", "off"]
INDEX_UP_TO = 10_000
"""Rows of a job up to which `auto` writes an index."""

_LOST = Reason(
    "unresolved",
    "Nothing came back for this row, and it could not be sent again. Retry it.",
)


class _Identified(msgspec.Struct):
    custom_id: msgspec.Raw


_identified = msgspec.json.Decoder(_Identified)


class Assembler(msgspec.Struct, kw_only=True):
    ledger: Ledger
    work: Objects
    results: Objects
    index_results: IndexResults
    retention_days: int

    def assemble(self, job_id: str) -> None:
        """May run twice: every output appears whole, with the same content."""
        job = self.ledger.job(job_id)
        if job.status in FINAL_JOB_STATUSES or job.verdict is not None:
            return
        if job.status != "planning":
            self.ledger.update_job(job_id, {"status": "assembling"})
        ranges = list(range_results(self.work, job_id))
        collected = list(all_collected(self.work, job_id))
        found = self.work.find(layout.recipe(job_id))
        recipe = None if found is None else msgspec.json.decode(found, type=StoredRecipe)
        parts = [part for each in ranges for part in each.parts]
        parts += [part for each in collected for part in each.parts]
        failed = [part for each in ranges for part in each.failed]
        failed += [part for each in collected for part in each.failed_parts]
        if recipe is not None and recipe.dedupe:
            unsent = finish_unsent(job_id, parts, ranges, self.work)
            parts += unsent.parts
            failed += unsent.failed_parts
        outputs = Outputs()
        counts = RowCounts(total=sum(each.rows for each in ranges))
        if counts.total:
            outputs.results = self._write_results(job_id, ranges, parts, counts, recipe)
            if recipe is not None and recipe.csv:
                outputs.csv = self.results.uri(layout.result(job_id, "results.csv"))
        kind = named(job.key)
        is_csv = kind is not None and kind.format == "csv"
        outputs.failed = self._write_failed(job_id, failed, ranges, is_csv=is_csv)
        outputs.invalid = self._write_invalid(job_id, ranges, is_csv=is_csv)
        self.ledger.update_job(job_id, {"rows": counts, "outputs": outputs})

    def _write_results(
        self,
        job_id: str,
        ranges: list[RangeResult],
        parts: list[Part],
        counts: RowCounts,
        recipe: StoredRecipe | None,
    ) -> str:
        key = layout.result(job_id, "results.jsonl")
        with self.results.writer(key) as out, ExitStack() as stack:
            lines = _numbered(_one_for_each(ranges, merged(parts, self.work)), counts)
            if recipe is not None and recipe.csv:
                other = self.results.writer(layout.result(job_id, "results.csv"))
                sheet = self._sheet(stack.enter_context(other), recipe, ranges)
                lines = _copied(lines, sheet, ranges)
            if self._indexes(counts, recipe):
                expires_at = int(time.time()) + self.retention_days * 86_400
                rows = _indexed(lines, out)
                self.ledger.index_rows(job_id, self.results.uri(key), rows, expires_at)
            else:
                for _, line in lines:
                    out.write(line)
        return self.results.uri(key)

    def _indexes(self, counts: RowCounts, recipe: StoredRecipe | None) -> bool:
        if recipe is not None and recipe.index is not None:
            return recipe.index
        return self.index_results == "on" or (
            self.index_results == "auto" and counts.total <= INDEX_UP_TO
        )

    def _sheet(self, out: Writer, recipe: StoredRecipe, ranges: list[RangeResult]) -> ResultsSheet:
        return ResultsSheet(out, recipe, _columns(ranges), self._records(ranges))

    def _records(self, ranges: list[RangeResult]) -> Records:
        return Records(merged([part for each in ranges for part in each.records], self.work))

    def _write_failed(
        self, job_id: str, parts: list[Part], ranges: list[RangeResult], *, is_csv: bool
    ) -> str | None:
        """A row of data as it came; what was made of it is ours."""
        if not parts:
            return None
        key = layout.result(job_id, "failed.csv" if is_csv else "failed.jsonl")
        records = self._records(ranges)
        with self.results.writer(key) as out:
            sheet = FailedSheet(out, _columns(ranges)) if is_csv else None
            for row, payload in _once(merged(parts, self.work)):
                record = records.find(row)
                if sheet is None:
                    out.write((payload if record is None else record) + b"\n")
                elif record is not None:
                    sheet.add(record)
        return self.results.uri(key)

    def _write_invalid(self, job_id: str, ranges: list[RangeResult], *, is_csv: bool) -> str | None:
        parts = [part for each in ranges for part in each.unreadable]
        if not parts:
            return None
        key = layout.result(job_id, "invalid.txt")
        with self.results.writer(key) as out:
            for _, payload in _once(merged(parts, self.work)):
                line = msgspec.json.decode(payload, type=str).encode() if is_csv else payload
                out.write(line + b"\n")
        return self.results.uri(key)


def _columns(ranges: list[RangeResult]) -> list[str]:
    """In the order in which they came up."""
    return list(dict.fromkeys(name for each in ranges for name in each.columns))


def _once(lines: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    last = b""
    for row, payload in lines:
        if row != last:
            yield row, payload
        last = row


def _copied(
    lines: Iterable[tuple[int, bytes]], sheet: ResultsSheet, ranges: Iterable[RangeResult]
) -> Iterator[tuple[int, bytes]]:
    """Passes lines on, and into the sheet."""
    keys = (row_key(piece.range, row) for piece in ranges for row in range(piece.rows))
    for key, (row, line) in zip(keys, lines, strict=True):
        sheet.add(key.encode(), line)
        yield row, line


def _one_for_each(
    ranges: Iterable[RangeResult], lines: Iterator[tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """The payload of every row of every range, in order."""
    key, payload = next(lines, (b"", b""))
    for piece in ranges:
        for row in range(piece.rows):
            wanted = row_key(piece.range, row).encode()
            if key != wanted:
                yield envelope.unresolved(_LOST)
                continue
            yield payload
            while key == wanted:
                key, payload = next(lines, (b"", b""))


def _numbered(tails: Iterable[bytes], counts: RowCounts) -> Iterator[tuple[int, bytes]]:
    """Row numbers and finished lines; counts them by status on the way."""
    for row, tail in enumerate(tails):
        match tail[:1]:
            case envelope.SUCCEEDED:
                counts.succeeded += 1
            case envelope.INVALID:
                counts.invalid += 1
            case _:
                counts.failed += 1
        yield row, envelope.numbered(row, tail)


def _indexed(lines: Iterable[tuple[int, bytes]], out: Writer) -> Iterator[IndexedRow]:
    """Writes every line, and passes on those that have a `custom_id` to be found by."""
    offset = 0
    for row, line in lines:
        out.write(line)
        custom_id: object = msgspec.json.decode(_identified.decode(line).custom_id)
        if isinstance(custom_id, str):
            yield IndexedRow(row, custom_id, line, offset)
        offset += len(line)
