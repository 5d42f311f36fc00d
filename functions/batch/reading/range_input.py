"""A range of an input as its bytes and lines, whichever way it is packed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from functions.batch.model import Job
from functions.batch.ports import InputFiles
from functions.batch.reading.legs import Leg
from functions.batch.reading.unpacking import bounded, decompress, named, skipped
from functions.batch.streams.lines import Oversized, plain_blocks, range_blocks
from functions.batch.work import Rest


class RangeOfInput(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes `[start, end)` of an input; `end` null: to its end."""

    number: int
    start: int
    end: int | None


class RangeInput:
    """`most`: bytes that are read of what is compressed."""

    def __init__(self, job: Job, piece: RangeOfInput, inputs: InputFiles, most: int) -> None:
        self._job = job
        self._piece = piece
        self._inputs = inputs
        self._most = most
        kind = named(job.key)
        self._compressed = kind is not None and kind.compressed
        self.is_csv = kind is not None and kind.format == "csv"

    def blocks(self, leg: Leg, rest: Rest | None) -> Iterator[bytes | Oversized]:
        """The lines of a leg, some at a time."""
        start = self._piece.start if rest is None else rest.offset
        begin, end = max(start - 1, 0), self._piece.end
        chunks = leg.chunks(self.chunks(begin), begin, end)
        blocks = range_blocks(chunks, start, end, block_bytes=leg.look)
        return plain_blocks(blocks, at_start=start == 0)

    def chunks(self, start: int) -> Iterator[bytes]:
        """From a byte of the unpacked input on."""
        if not self._compressed:
            return self._inputs.chunks(self._job, start)
        chunks = decompress(self._inputs.chunks(self._job, 0))
        return skipped(bounded(chunks, self._most), start)
