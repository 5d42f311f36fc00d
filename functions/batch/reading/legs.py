"""Reads a range of the input in legs, where one call cannot read it to its end.

A leg ends between two rows, when time gets short or its disk would get full, and is stored as the
result of its own rows. The next one, of this call or of another, goes on where it ended: at a byte
of the input or, of a CSV, at a place in its text. What is compressed is unpacked from its beginning
again, and skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from functions.batch.deadline import Remaining
from functions.batch.reading.data_rows import Row
from functions.batch.reading.tables import Table
from functions.batch.work import RangeResult, Rest

RESERVE = 180
"""Seconds that are kept to store what a leg has read: 7 GB at 40 MB/s, more than fits the disk."""

WORTH_A_LEG = 2 * RESERVE
"""With less than that left, another call begins the next leg."""

MOST_DATA = 1 << 30
"""Bytes of data rows that a leg takes: they are on its disk as they came, and as requests."""

LOOK = 512 * 1024
LOOK_AT_DATA = 16 * 1024
"""Bytes between two looks at the clock. Rows of data, of some fifty bytes each, may take a tenth of
a second each: a document is read for them."""

_ROWS = 64


class Leg:
    """One leg: how long it may go on, and, once it has ended early, where the next one begins.

    `most`: bytes that it may take; 0: any number. `look`: bytes between two looks at the clock."""

    def __init__(self, remaining: Remaining, *, most: int = 0) -> None:
        self._remaining = remaining
        self.most = most
        self.look = LOOK
        self.rest: Rest | None = None

    def _is_over(self, taken: int) -> bool:
        return bool(self.most and taken >= self.most) or self._remaining() < RESERVE

    def chunks(self, chunks: Iterable[bytes], start: int, end: int | None) -> Iterator[bytes]:
        """Up to the end of a line. The chunks begin at `start`; lines that begin at `end` or later
        are of no interest."""
        position = start
        for chunk in chunks:
            at = 0
            while at < len(chunk):
                # Whole lines, as far as there are some: those that are cut cost more to read.
                until = 1 + chunk.rfind(b"\n", at, at + self.look) or at + self.look
                piece = chunk[at:until]
                at = until
                begun, position = position, position + len(piece)
                yield piece
                ends = piece.endswith(b"\n") and position > start + 1
                if ends and self._is_over(begun - start):
                    if end is None or position < end:
                        self.rest = Rest(offset=position)
                    return

    def records(self, table: Table, records: Iterator[Row]) -> Iterator[Row]:
        """Whatever is made of a table's records, one by one."""
        begun = table.taken
        for number, record in enumerate(records, 1):
            yield record
            if number % _ROWS == 0 and self._is_over(table.taken - begun):
                place = table.place()
                if place is not None:
                    self.rest = Rest(place=place)
                    return


def is_unread(results: Iterable[RangeResult]) -> bool:
    """Whether the last leg of a range left something to be read. The results are in order."""
    return any(each.rest is not None for each in {each.range: each for each in results}.values())
