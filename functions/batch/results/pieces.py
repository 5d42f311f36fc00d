"""One output of a slice, as pieces of an object that all slices write together.

A store takes no piece below 5 MiB but the last one, and nobody knows before what a slice will come
to. So its first bytes, its head, are kept aside: whoever joins the slices puts them into a piece,
together with what the slices before left that came to no more than a head.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from functions.batch.work import Piece

LEAST_PIECE = 5 * 1024 * 1024
MOST_PIECES = 10_000
USUAL_PIECE = 8 * 1024 * 1024


class Written(msgspec.Struct, kw_only=True):
    """What a slice wrote of one output: the bytes of its head, and the pieces after it."""

    head: int
    pieces: list[Piece]

    @property
    def size(self) -> int:
        return self.head + sum(piece.size for piece in self.pieces)


class PieceWriter:
    """`put` stores a piece under its number, from 1 on, and tells its tag; there are at most
    `most` of them. Half of them hold `expected` bytes; the others grow, to hold three times as
    much again."""

    def __init__(
        self,
        put: Callable[[int, bytes], str],
        *,
        most: int,
        expected: int,
        least: int = LEAST_PIECE,
    ) -> None:
        self._put = put
        self._most = most
        self._least = least
        self._size = max(USUAL_PIECE if least == LEAST_PIECE else least, 2 * expected // most)
        self._data = bytearray()
        self.head = b""
        self.pieces: list[Piece] = []

    def write(self, data: bytes) -> None:
        self._data += data
        if len(self._data) >= self._size + self._least:
            self._send_some()

    def _send_some(self) -> None:
        """What stays behind is enough for a piece of its own."""
        if not self.head:
            self.head = self._take(self._least)
        while len(self._data) >= self._next_size() + self._least:
            if len(self.pieces) + 1 >= self._most:
                return
            self._send(self._take(self._next_size()))

    def _next_size(self) -> int:
        used = len(self.pieces) * 4 // self._most
        return self._size * (1, 1, 2, 4)[min(used, 3)]

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._data)[:size])
        del self._data[:size]
        return taken

    def _send(self, data: bytes) -> None:
        number = len(self.pieces) + 1
        self.pieces.append(Piece(number, self._put(number, data), len(data)))

    def finish(self) -> Written:
        """All is a head, then, or the head and pieces that are large enough."""
        if not self.head:
            self.head = self._take(self._least)
        if len(self._data) >= self._least:
            self._send(self._take(len(self._data)))
        self.head += self._take(len(self._data))
        return Written(head=len(self.head), pieces=self.pieces)
