"""Puts a job's results together: one line for each input row, in input order.

Nothing is assumed: a row that came back twice is written once, and one of which nothing came back
is written as failed, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from functions.batch import envelope, layout
from functions.batch.lines import row_key
from functions.batch.merging import merged
from functions.batch.model import (
    FINAL_JOB_STATUSES,
    IndexedRow,
    Outputs,
    Part,
    RangeResult,
    Reason,
    RowCounts,
)
from functions.batch.ports import Ledger, Objects, Writer
from functions.batch.reconcile import all_collected, range_results

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
        parts = [part for each in ranges for part in each.parts]
        parts += [part for each in collected for part in each.parts]
        outputs = Outputs()
        counts = RowCounts(total=sum(each.rows for each in ranges))
        if counts.total:
            outputs.results = self._write_results(job_id, ranges, parts, counts)
        failed = [part for each in ranges for part in each.failed]
        failed += [part for each in collected for part in each.failed_parts]
        outputs.failed = self._write_lines(job_id, "failed.jsonl", failed)
        unreadable = [part for each in ranges for part in each.unreadable]
        outputs.invalid = self._write_lines(job_id, "invalid.txt", unreadable)
        self.ledger.update_job(job_id, {"rows": counts, "outputs": outputs})

    def _write_results(
        self,
        job_id: str,
        ranges: list[RangeResult],
        parts: list[Part],
        counts: RowCounts,
    ) -> str:
        key = layout.result(job_id, "results.jsonl")
        index = self.index_results == "on" or (
            self.index_results == "auto" and counts.total <= INDEX_UP_TO
        )
        with self.results.writer(key) as out:
            lines = _numbered(_one_for_each(ranges, merged(parts, self.work)), counts)
            if index:
                expires_at = int(time.time()) + self.retention_days * 86_400
                rows = _indexed(lines, out)
                self.ledger.index_rows(job_id, self.results.uri(key), rows, expires_at)
            else:
                for _, line in lines:
                    out.write(line)
        return self.results.uri(key)

    def _write_lines(self, job_id: str, name: str, parts: list[Part]) -> str | None:
        if not parts:
            return None
        key = layout.result(job_id, name)
        with self.results.writer(key) as out:
            last = b""
            for row, payload in merged(parts, self.work):
                if row != last:
                    out.write(payload + b"\n")
                last = row
        return self.results.uri(key)


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
