"""Answers as they came, or what was read of them, until their rows come by.

Answers come in any order, rows in theirs. A shard's answers are held in memory as long as they are
not too many; then they go to disk, those to a thousand rows that lie together in extents of one
file, which are read at once when the first of these rows comes. In memory are then one number for
each row, since there may be a million, what is not written yet, and the thousand that is being
read, unless that is very large. The file and its index can be stored and taken up again.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from functions.batch.collecting.endings import Ending, KeptAnswer
from functions.batch.rows import Usage
from functions.batch.streams import envelope
from functions.batch.streams.lines import KEY_LENGTH

_THOUSAND = KEY_LENGTH - 3
"""The digits of a key that its thousand has in common."""

_MOST_HELD = 144 * 1024 * 1024
"""Bytes of answers in memory: those to a full shard of 50,000 rows, if a finished line has two
kilobytes."""

_MOST_BYTES = 16 * 1024 * 1024
"""Of a larger thousand, such as one of images, each answer is read by itself."""

_MOST_AT_ONCE = 8 * 1024 * 1024
"""Of those that are found, bytes that are handed on together."""

_READ, _FOLDED = b"\x96", b"\x97"
"""First bytes of usual answers on disk: no line of JSON begins with them."""

_LONG = 4_096
"""Bytes of a text that is stored but once. The shorter ones of a full shard, 200,000, take 1.6 GB
with their responses at most."""

_BESIDE = 400
"""Bytes that an answer takes in memory, beside its line: it has a key, and numbers."""

_PLACE = 40
"""Bits below an answer's place among its thousand: its length."""

Better = Callable[[KeptAnswer, KeptAnswer], KeptAnswer]
"""Of two answers to one row, in the order in which they came, the one that stays."""


class Drawer(msgspec.Struct, array_like=True):
    """A thousand's answers on disk. `found`: where each lies. `starts` are the places of the
    extents, `positions` where they lie in the file; `size` is the place of the next answer."""

    found: dict[int, int] = {}
    starts: list[int] = []
    positions: list[int] = []
    size: int = 0


class AnswerSpool:
    """`rows`: how many have an answer."""

    def __init__(self, directory: Path, better: Better) -> None:
        self.path = directory / "answers"
        self.rows = 0
        self._better = better
        self._held: dict[bytes, KeptAnswer] = {}
        self._size = 0
        self._largest = 0
        self._file = self.path.open("w+b", buffering=0)
        self._end = 0
        self._drawers: dict[str, Drawer] = {}
        self._open: str | None = None
        self._data: bytes | None = None

    def add_lines(self, keys: Sequence[bytes], lines: Sequence[bytes]) -> None:
        """Answers as they came, each with the key of its row."""
        self._add_all(keys, lines, [*map(len, lines)])

    def add_endings(self, keys: Sequence[bytes], endings: Sequence[Ending]) -> None:
        """What was read of others."""
        self._add_all(keys, endings, [len(ending.line) for ending in endings])

    def _add_all(
        self, keys: Sequence[bytes], answers: Sequence[KeptAnswer], lengths: list[int]
    ) -> None:
        if not keys:
            return
        held, more = self._held, dict(zip(keys, answers, strict=True))
        if self._drawers or len(more) < len(keys) or not held.keys().isdisjoint(more):
            for key, answer in zip(keys, answers, strict=True):
                self._add(key, answer)
        else:
            held.update(more)
            self.rows += len(keys)
        self._size += sum(lengths) + _BESIDE * len(lengths)
        self._largest = max(self._largest, max(lengths) + _BESIDE)
        if self._size > _MOST_HELD:
            self._write()

    def _add(self, key: bytes, answer: KeptAnswer) -> None:
        known = self._held.get(key)
        if known is None:
            drawer = self._drawers.get(key[:_THOUSAND].decode())
            where = None if drawer is None else drawer.found.get(int(key[_THOUSAND:]))
            if drawer is None or where is None:
                self.rows += 1
            else:
                known = _loaded(self._one(drawer, *_span(where)))
        self._held[key] = answer if known is None else self._better(known, answer)

    def find_all(self, keys: Sequence[bytes]) -> Iterator[list[KeptAnswer | None]]:
        """Some at a time, as many as memory may hold: answers can be a thousand times as large as
        their rows. Fast for keys in their order."""
        held = self._held
        if not self._drawers and len(keys) * self._largest <= _MOST_AT_ONCE:
            yield [*map(held.get, keys)]
            return
        found: list[KeptAnswer | None] = []
        size = 0
        for key in keys:
            answer = held.get(key) or self._find_written(key)
            found.append(answer)
            size += 0 if answer is None else _size(answer)
            if size > _MOST_AT_ONCE:
                yield found
                found, size = [], 0
        yield found

    def _find_written(self, key: bytes) -> KeptAnswer | None:
        name = key[:_THOUSAND].decode()
        drawer = self._drawers.get(name)
        where = None if drawer is None else drawer.found.get(int(key[_THOUSAND:]))
        if drawer is None or where is None:
            return None
        if name != self._open:
            self._open, self._data = name, self._whole(drawer)
        begin, end = _span(where)
        if self._data is None:
            return _loaded(self._one(drawer, begin, end))
        return _loaded(self._data[begin:end])

    def index(self) -> dict[str, Drawer]:
        """Of the file, which has everything then. To be stored with it."""
        self._write()
        return self._drawers

    def take_up(self, chunks: Iterable[bytes], index: dict[str, Drawer]) -> None:
        """A file as it was stored, and its index, before anything is added."""
        for chunk in chunks:
            self._append(chunk)
        self._drawers = index
        self.rows = sum(len(drawer.found) for drawer in index.values())

    def _write(self) -> None:
        """An extent for each thousand of which something is held."""
        held = self._held
        for name, keys in groupby(sorted(held), lambda key: key[:_THOUSAND]):
            drawer = self._drawers.setdefault(name.decode(), Drawer())
            drawer.starts.append(drawer.size)
            drawer.positions.append(self._end)
            answers: list[bytes] = []
            written = drawer.size
            for key in keys:
                answer = _stored(held.pop(key))
                drawer.found[int(key[_THOUSAND:])] = drawer.size << _PLACE | len(answer)
                drawer.size += len(answer)
                answers.append(answer)
                if drawer.size - written > _MOST_AT_ONCE:
                    self._append(b"".join(answers))
                    answers, written = [], drawer.size
            self._append(b"".join(answers))
        self._size = 0
        self._open = None

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self._end += len(data)

    def _whole(self, drawer: Drawer) -> bytes | None:
        if drawer.size > _MOST_BYTES:
            return None
        ends = [*drawer.starts[1:], drawer.size]
        return b"".join(
            self._read(position, end - start)
            for start, end, position in zip(drawer.starts, ends, drawer.positions, strict=True)
        )

    def _one(self, drawer: Drawer, begin: int, end: int) -> bytes:
        extent = bisect_right(drawer.starts, begin) - 1
        position = drawer.positions[extent] + begin - drawer.starts[extent]
        return self._read(position, end - begin)

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, position)

    def close(self) -> None:
        self._file.close()


def _size(answer: KeptAnswer) -> int:
    return len(answer if isinstance(answer, bytes) else answer.line) + _BESIDE


class _Folded(msgspec.Struct, array_like=True, gc=False):
    """A usual answer whose text stands in its response too, as long ones do not stand twice on the
    disk: an answer takes as much of it as of the download. `rest` is its line from behind the text
    on; `text` the place of the text in there, and its length. Otherwise see `Ending`."""

    rest: bytes
    text: tuple[int, int]
    response: int
    given: int
    made: int
    usage: Usage | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Ending).decode
_folded = msgspec.msgpack.Decoder(_Folded).decode


def _stored(answer: KeptAnswer) -> bytes:
    if isinstance(answer, bytes):
        return answer
    if answer.text >= _LONG:
        text, rest = answer.text_and_rest()
        at = rest.find(text)
        if at >= 0:
            place = (at, answer.text)
            return _FOLDED + _encode(
                _Folded(rest, place, answer.response, answer.given, answer.made, answer.usage)
            )
    return _encode(answer)


def _loaded(data: bytes) -> KeptAnswer:
    """As it was before it was written."""
    if data[:1] == _READ:
        return _decode(data)
    if data[:1] != _FOLDED:
        return data
    found = _folded(data[1:])
    begin, length = found.text
    text = found.rest[begin : begin + length]
    line = b"%b%b%b" % (envelope.BEFORE_TEXT, text, found.rest)
    return Ending(line, length, found.response, found.given, found.made, found.usage)


def _span(where: int) -> tuple[int, int]:
    begin = where >> _PLACE
    return begin, begin + (where & (1 << _PLACE) - 1)
