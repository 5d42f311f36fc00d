"""Answers on disk until their rows come by.

Answers come in any order, rows in theirs. What was read of the answers to a thousand rows that lie
together is kept together, in extents of one file, and read at once when the first of these rows
comes. In memory are one number for each row, since there may be a million, what is not written yet,
and the thousand that is being read, unless that is very large. The file and its index can be stored
and taken up again.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

import msgspec

from functions.batch.lines import KEY_LENGTH
from functions.batch.rows import Answer
from functions.batch.shard_files import key_of

_THOUSAND = KEY_LENGTH - 3
"""The digits of a key that its thousand has in common."""

_NUMBERS = {f"{number:03d}": number for number in range(1_000)}
_UNWRITTEN_BYTES = 8 * 1024 * 1024
_MOST_BYTES = 16 * 1024 * 1024
"""Of a larger thousand, such as one of images, each answer is read by itself."""

_GOOD = 1
_PLACE = 40
"""Bits below an answer's place among its thousand: its length, and whether it succeeded."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class Drawer(msgspec.Struct, array_like=True):
    """A thousand's answers. `found`: where each lies. `starts` are the places of the extents,
    `positions` where they lie in the file; `written` is the place of what is not there yet, `size`
    that of the next answer."""

    found: dict[int, int] = {}
    starts: list[int] = []
    positions: list[int] = []
    written: int = 0
    size: int = 0
    unwritten: list[bytes] = []


class AnswerSpool:
    """`rows`: how many have an answer."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "answers"
        self.rows = 0
        self._file = self.path.open("w+b", buffering=0)
        self._end = 0
        self._unwritten = 0
        self._drawers: dict[str, Drawer] = {}
        self._open: str | None = None
        self._data: bytes | None = None

    def add(self, answer: Answer) -> None:
        """Of two answers to one row the one that succeeded stays, else the last. An id that can be
        no row's is left out."""
        key = key_of(answer.id)
        name = key[:_THOUSAND]
        number = _NUMBERS.get(key[_THOUSAND:])
        if number is None:
            return
        drawer = self._drawers.get(name)
        if drawer is None:
            drawer = self._drawers[name] = Drawer()
        known = drawer.found.get(number)
        if known is None:
            self.rows += 1
        elif known & _GOOD:
            return
        data = _encode(answer)
        size = len(data)
        place = drawer.size
        drawer.unwritten.append(data)
        drawer.size = place + size
        drawer.found[number] = place << _PLACE | size << 1 | (answer.verdict == "succeeded")
        self._unwritten += size
        if self._unwritten > _UNWRITTEN_BYTES:
            self._write()

    def find(self, key: bytes) -> Answer | None:
        """Fast for keys in their order; none may be added any more."""
        text = key.decode()
        name = text[:_THOUSAND]
        drawer = self._drawers.get(name)
        where = None if drawer is None else drawer.found.get(_NUMBERS[text[_THOUSAND:]])
        if drawer is None or where is None:
            return None
        place = where >> _PLACE
        end = place + ((where & (1 << _PLACE) - 1) >> 1)
        if name != self._open:
            self._open, self._data = name, self._whole(drawer)
        if self._data is not None:
            return _decode(self._data[place:end])
        return _decode(self._one(drawer, place, end))

    def index(self) -> dict[str, Drawer]:
        """Of the file, which has everything then. To be stored with it."""
        self._write()
        return self._drawers

    def take_up(self, chunks: Iterable[bytes], index: dict[str, Drawer]) -> None:
        """A file as it was stored, and its index, before anything is added."""
        for chunk in chunks:
            self._append(chunk)
            self._end += len(chunk)
        self._drawers = index
        self.rows = sum(len(drawer.found) for drawer in index.values())

    def _write(self) -> None:
        """An extent for each thousand that has something to be written."""
        pieces: list[bytes] = []
        for drawer in self._drawers.values():
            if drawer.unwritten:
                pieces += drawer.unwritten
                drawer.unwritten.clear()
                drawer.starts.append(drawer.written)
                drawer.positions.append(self._end)
                self._end += drawer.size - drawer.written
                drawer.written = drawer.size
        self._append(b"".join(pieces))
        self._unwritten = 0

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _whole(self, drawer: Drawer) -> bytes | None:
        if drawer.size > _MOST_BYTES:
            return None
        ends = [*drawer.starts[1:], drawer.written]
        extents = [
            self._read(position, end - start)
            for start, end, position in zip(drawer.starts, ends, drawer.positions, strict=False)
        ]
        return b"".join((*extents, *drawer.unwritten))

    def _one(self, drawer: Drawer, place: int, end: int) -> bytes:
        if place >= drawer.written:
            return b"".join(drawer.unwritten)[place - drawer.written : end - drawer.written]
        extent = bisect_right(drawer.starts, place) - 1
        position = drawer.positions[extent] + place - drawer.starts[extent]
        return self._read(position, end - place)

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, position)

    def close(self) -> None:
        self._file.close()
