"""Answers on disk, for those that do not fit memory.

Those to a thousand rows that lie together, and that were written together, are one extent, which is
read at once when the first of these rows comes; a long answer lies by itself. In memory are one
byte for each row, since there may be a million, a place for each long answer, and the thousand that
was read last. The file and its index can be stored and taken up again.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from functions.batch.collecting.endings import KeptAnswer
from functions.batch.streams.lines import KEY_LENGTH

Better = Callable[[KeptAnswer, KeptAnswer], KeptAnswer]
"""Of two answers to one row, in the order in which they came, the one that stays."""

_ROW = KEY_LENGTH - 3
"""Where in a key the digits begin that its thousand does not have in common."""

_LONG = 8 * 1024
"""Bytes. A thousand answers that are not as long are 8 MB."""

_Extent = tuple[int, int]
"""Where in the file it begins, and how many bytes it has."""


class Drawer(msgspec.Struct, array_like=True):
    """A thousand's answers. `rows`: a byte for each, 1 if it has one. `together`: extents of many.
    `alone`: that of a long one, by row, or of the last of several to a row of which one was long.
    """

    rows: bytearray
    together: list[_Extent]
    alone: dict[int, _Extent]


Index = dict[str, Drawer]
"""By thousand, as keys begin."""


class AnswerFile:
    """`largest`: no answer in the file has more bytes."""

    def __init__(self, path: Path, better: Better) -> None:
        self.path = path
        self.index: Index = {}
        self.largest = 0
        self._better = better
        self._file = path.open("w+b", buffering=0)
        self._end = 0
        self._open: str | None = None
        self._loaded: dict[bytes, KeptAnswer] = {}

    def take_up(self, chunks: Iterable[bytes], index: Index) -> None:
        """A file as it was stored, and its index, before anything is written."""
        for chunk in chunks:
            self._append(chunk)
        self.index = index
        lengths = [length for drawer in index.values() for _, length in drawer.alone.values()]
        self.largest = max((_LONG, *lengths)) if index else 0

    def rows(self, keys: Iterable[bytes]) -> int:
        """How many have an answer, together with those that have these keys."""
        more = sum(not self._has(key) for key in keys)
        return more + sum(drawer.rows.count(1) for drawer in self.index.values())

    def _has(self, key: bytes) -> bool:
        drawer = self.index.get(key[:_ROW].decode())
        return drawer is not None and bool(drawer.rows[int(key[_ROW:])])

    def find(self, keys: Sequence[bytes]) -> list[KeptAnswer | None]:
        """Fast for keys in their order."""
        answers: list[KeptAnswer | None] = []
        for name, some in groupby(keys, _thousand):
            answers += self._find(name.decode(), [*some])
        return answers

    def _find(self, name: str, keys: Sequence[bytes]) -> list[KeptAnswer | None]:
        """Of one thousand."""
        drawer = self.index.get(name)
        if drawer is None:
            return [None] * len(keys)
        if name != self._open:
            self._loaded.clear()
            for extent in drawer.together:
                put(self._loaded, *_many(self._read(extent)), self._better)
            self._open = name
        answers: list[KeptAnswer | None] = [*map(self._loaded.get, keys)]
        if drawer.alone:
            for at, key in enumerate(keys):
                extent = drawer.alone.get(int(key[_ROW:]))
                if extent is not None:
                    answers[at] = self._later(answers[at], _one(self._read(extent)))
        return answers

    def _later(self, before: KeptAnswer | None, answer: KeptAnswer) -> KeptAnswer:
        return answer if before is None else self._better(before, answer)

    def write(self, answers: dict[bytes, KeptAnswer]) -> None:
        """They are taken out of there."""
        thousands: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for key in answers:
            thousands[key[:_ROW]].append(key)
        for name, keys in thousands.items():
            self._write(name.decode(), {key: answers.pop(key) for key in keys})
        self._open = None

    def _write(self, name: str, answers: dict[bytes, KeptAnswer]) -> None:
        drawer = self.index.setdefault(name, Drawer(bytearray(1_000), [], {}))
        together: dict[bytes, KeptAnswer] = {}
        for key, answer in answers.items():
            row = int(key[_ROW:])
            if row not in drawer.alone and size(answer) < _LONG:
                together[key] = answer
            else:
                before = self._find(name, [key])[0] if drawer.rows[row] else None
                extent = self._append(_encode(self._later(before, answer)))
                drawer.alone[row] = extent
                self.largest = max(self.largest, extent[1])
            drawer.rows[row] = 1
        self.largest = max(self.largest, _LONG)
        if together:
            drawer.together.append(self._append(_encode(([*together], [*together.values()]))))

    def _append(self, data: bytes) -> _Extent:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self._end += len(data)
        return self._end - len(data), len(data)

    def _read(self, extent: _Extent) -> bytes:
        position, length = extent
        return os.pread(self._file.fileno(), length, position)

    def close(self) -> None:
        self._file.close()


def put(
    known: dict[bytes, KeptAnswer],
    keys: Sequence[bytes],
    answers: Sequence[KeptAnswer],
    better: Better,
) -> None:
    """Answers that came later than those that are known."""
    more = dict(zip(keys, answers, strict=True))
    if len(more) == len(keys) and known.keys().isdisjoint(more):
        known.update(more)
        return
    for key, answer in zip(keys, answers, strict=True):
        before = known.get(key)
        known[key] = answer if before is None else better(before, answer)


def size(answer: KeptAnswer) -> int:
    """Bytes, about."""
    return len(answer if isinstance(answer, bytes) else answer.rest)


_thousand = itemgetter(slice(_ROW))
_encode = msgspec.msgpack.Encoder().encode
_one = msgspec.msgpack.Decoder(KeptAnswer).decode
_many = msgspec.msgpack.Decoder(tuple[list[bytes], list[KeptAnswer]]).decode
