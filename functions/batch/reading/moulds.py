"""The moulds of an input: which are known, and which of them its next rows fit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from functions.batch.ports import Dialect
from functions.batch.reading.mould import MOST_REACH, Mould, Room, Run
from functions.batch.reading.moulding import mould_of

_MOST = 4
"""Are known at a time."""

_CREDIT = 8
_FOR_A_CREDIT = 128
"""To make a mould takes as long as to read some ten rows: so many are made, and another one for
each so many rows that were taken by moulds, or where none was for a long time."""

_RUNS = 64
_SHORT = 8
_PAUSE = 1_000
"""After so many runs with fewer rows than this on average that ended before their block did, so
many rows are read one by one. After so many that fitted none, these are forgotten."""

RoomFor = Callable[[Mould], Room]


class Moulds:
    """Those of an input, the last one used first."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._known: list[Mould] = []
        self._before = b""
        self._missed = 0
        self._runs = 0
        self._rows = 0
        self._pause = _PAUSE
        self._left_alone = 0
        self._credit = float(_CREDIT)

    def take(
        self, block: bytes, at: int, number: int, room_for: RoomFor
    ) -> tuple[Mould, Run] | None:
        """As `Mould.take`, of the first mould that the line at this place fits."""
        known = self._known
        for place, mould in enumerate(known):
            run = mould.take(block, at, number, room_for(mould))
            if run is not None:
                self._missed = 0
                self._credit = min(_CREDIT, self._credit + run.rows / _FOR_A_CREDIT)
                if place:
                    known.insert(0, known.pop(place))
                if run.until <= len(block):
                    self._count(run.rows)
                return mould, run
        return None

    def _count(self, rows: int) -> None:
        """Where rows take turns, to read each by itself is faster: no mould is looked for, for some
        time, and for longer each time that this is found again."""
        self._runs += 1
        self._rows += rows
        if self._runs == _RUNS:
            if self._rows < _SHORT * _RUNS:
                self._known.clear()
                self._left_alone = self._pause
                self._pause *= 2
            else:
                self._pause = _PAUSE
            self._runs = self._rows = 0

    def learn(self, line: bytes, dialect: Dialect) -> None:
        """From a valid row that fitted none; less and less often, if nothing comes of it."""
        if self._left_alone:
            self._left_alone -= 1
            return
        before, self._before = self._before, line if len(line) <= MOST_REACH else b""
        self._missed += 1
        if self._missed % _RUNS == 0:
            self._known.clear()
        if not before or not self._before or self._missed & (self._missed - 1):
            return
        if self._missed < _RUNS:
            if self._credit < 1:
                return
            self._credit -= 1
        made = None
        with suppress(RecursionError):  # of a row that is nested as deep as one may be
            made = mould_of(line, before, dialect, self._prefix)
        if made is not None and all(made.shape != each.shape for each in self._known):
            self._known = [made, *self._known[: _MOST - 1]]
