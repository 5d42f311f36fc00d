"""Answers on disk until their rows come by.

Answers come in any order, rows in theirs. What was read of the answers to a thousand rows that lie
together is kept together, in extents of one file, and read at once when the first of these rows
comes. In memory are one number for each row, since there may be a million, what of each thousand is
not written yet, and the thousand that is being read, unless that is very large.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from pathlib import Path

import msgspec

from functions.batch.rows import Answer
from functions.batch.shard_files import key_of

_THOUSAND = -3
"""The digits of a key that tell a thousand rows apart."""

_EXTENT_BYTES = 32_768
_MOST_BYTES = 16 * 1024 * 1024
"""Of a larger thousand, such as one of images, each answer is read by itself."""

_GOOD = 1
_PLACE = 40
"""Bits below an answer's place among its thousand: its length, and whether it succeeded."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class _Drawer:
    """A thousand's answers. `starts` are the places of the extents, `positions` where they lie in
    the file; `written` is the place of what is not there yet, `size` that of the next answer."""

    __slots__ = ("positions", "size", "starts", "unwritten", "written")

    def __init__(self) -> None:
        self.unwritten: list[bytes] = []
        self.written = 0
        self.size = 0
        self.starts: list[int] = []
        self.positions: list[int] = []


class AnswerSpool:
    def __init__(self, directory: Path) -> None:
        self._file = (directory / "answers").open("w+b", buffering=0)
        self._end = 0
        self._drawers: dict[bytes, _Drawer] = {}
        self._found: dict[bytes, int] = {}
        self._open: bytes | None = None
        self._data: bytes | None = None

    def add(self, answer: Answer) -> None:
        """Of two answers to one row the one that succeeded stays, else the last."""
        key = key_of(answer.id).encode()
        if self._found.get(key, 0) & _GOOD:
            return
        name = key[:_THOUSAND]
        drawer = self._drawers.get(name)
        if drawer is None:
            drawer = self._drawers[name] = _Drawer()
        data = _encode(answer)
        size = len(data)
        place = drawer.size
        drawer.unwritten.append(data)
        drawer.size = place + size
        self._found[key] = place << _PLACE | size << 1 | (answer.verdict == "succeeded")
        if drawer.size - drawer.written > _EXTENT_BYTES:
            self._write(drawer)

    def find(self, key: bytes) -> Answer | None:
        """Fast for keys in their order; none may be added any more."""
        where = self._found.get(key)
        if where is None:
            return None
        place = where >> _PLACE
        end = place + ((where & (1 << _PLACE) - 1) >> 1)
        name = key[:_THOUSAND]
        if name != self._open:
            self._open, self._data = name, self._whole(self._drawers[name])
        if self._data is not None:
            return _decode(self._data[place:end])
        return _decode(self._one(self._drawers[name], place, end))

    def _write(self, drawer: _Drawer) -> None:
        left = memoryview(b"".join(drawer.unwritten))
        while left:
            left = left[self._file.write(left) :]
        drawer.starts.append(drawer.written)
        drawer.positions.append(self._end)
        self._end += drawer.size - drawer.written
        drawer.written = drawer.size
        drawer.unwritten.clear()

    def _whole(self, drawer: _Drawer) -> bytes | None:
        if drawer.size > _MOST_BYTES:
            return None
        ends = [*drawer.starts[1:], drawer.written]
        extents = [
            self._read(position, end - start)
            for start, end, position in zip(drawer.starts, ends, drawer.positions, strict=False)
        ]
        return b"".join((*extents, *drawer.unwritten))

    def _one(self, drawer: _Drawer, place: int, end: int) -> bytes:
        if place >= drawer.written:
            return b"".join(drawer.unwritten)[place - drawer.written : end - drawer.written]
        extent = bisect_right(drawer.starts, place) - 1
        position = drawer.positions[extent] + place - drawer.starts[extent]
        return self._read(position, end - place)

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, position)

    def close(self) -> None:
        self._file.close()
