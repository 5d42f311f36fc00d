"""Gives the rows that were not sent, because another row of their job asked for the same, what that
one came to: its answer, or its failure."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.ports import Objects
from functions.batch.repeats.deduped import Copied, Saving, find_deduped
from functions.batch.rows import RowError
from functions.batch.streams import envelope
from functions.batch.streams.lines import KEY_LENGTH
from functions.batch.streams.merging import merged
from functions.batch.streams.sorted_parts import SortedParts
from functions.batch.streams.sorting import Ahead, LineSorter
from functions.batch.tally import Problems
from functions.batch.work import Part, RangeResult

_error = msgspec.json.Decoder(RowError | None).decode


class Unsent(msgspec.Struct):
    """Parts of the rows of a job that deduplication left out."""

    parts: list[Part]
    failed_parts: list[Part]


def finish_unsent(
    job_id: str, parts: list[Part], ranges: list[RangeResult], work: Objects
) -> Unsent:
    """`parts`: what those came to that were sent. What is stored is stored anew each time. A row
    whose other one came to nothing is in no part."""
    deduped = find_deduped(work, job_id)
    if deduped is None:
        return Unsent([], [])
    if not deduped.copies:
        return Unsent(deduped.parts, [])
    with tempfile.TemporaryDirectory() as directory:
        copied = _Fan(job_id, Path(directory), work).out(deduped.copies, parts, ranges)
    work.put(layout.copied(job_id), msgspec.json.encode(copied))
    return Unsent(deduped.parts + copied.parts, copied.failed_parts)


class _Fan:
    def __init__(self, job_id: str, directory: Path, work: Objects) -> None:
        self._work = work
        self._saving = Saving()
        self._problems = Problems()
        name = partial(layout.copied_part, job_id)
        self._lines = SortedParts(work, directory, "lines", partial(name, "rows"))
        self._originals = SortedParts(work, directory, "originals", partial(name, "failed"))
        self._failed = LineSorter(directory, "failed")

    def out(self, copies: list[Part], parts: list[Part], ranges: list[RangeResult]) -> Copied:
        for key, custom_id, told in _met(merged(copies, self._work), merged(parts, self._work)):
            tail = envelope.cached(told, custom_id, sent_in=told.round)
            self._lines.add(b"%b %b" % (key, tail))
            if told.status == "succeeded":
                self._saving.add(bytes(told.cost_usd))
            else:
                self._failed.add(key)
                error = _error(told.error)
                if error is not None:
                    self._problems.note(error)
        if self._failed.count:
            self._find_originals(ranges)
        return Copied(
            parts=self._lines.store(),
            failed_parts=self._originals.store(),
            problems=self._problems.by_code,
            within=self._saving,
        )

    def _find_originals(self, ranges: list[RangeResult]) -> None:
        """The lines of the rows that failed lie with those of the rows that were sent."""
        failed = Ahead(self._failed.sorted())
        sources = [source for piece in ranges for source in piece.sources]
        for key, row in merged(sources, self._work):
            if failed.at(key) is not None:
                self._originals.add(b"%b %b" % (key, row.partition(b"\t")[2]))


def _met(
    copies: Iterator[tuple[bytes, bytes]], finished: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes, envelope.Told]]:
    """Key and `custom_id` of each row that waits, with what the row came to that was sent. Of a
    row that came back twice the first counts, as it does in the results."""
    key, tail = next(finished, (b"", b""))
    last = b""
    told: envelope.Told | None = None
    for sent, waiting in copies:
        if sent != last:
            last, told = sent, None
            while key and key < sent:
                key, tail = next(finished, (b"", b""))
            if key == sent:
                told = envelope.told_by_tail(tail)
        if told is not None:
            yield waiting[:KEY_LENGTH], waiting[KEY_LENGTH + 1 :], told
