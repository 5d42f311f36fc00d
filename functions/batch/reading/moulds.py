"""Rows that differ from the one before them in some texts alone, told by the bytes around these.

Most inputs are written by a program: row for row the same keys, model and instructions, another id
and another text. The dialect says where a row has its texts (`Cut`); what is around them is the
mould. A line that has the same bytes there, and one JSON string in each gap, can only be a request
of the same group with the same limits: its texts are weighed, and nothing else of it is read.

Of the texts some are weighed for all: see `functions.batch.reading.shares`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import takewhile

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.ports import Dialect
from functions.batch.reading.gaps import Around, Gaps
from functions.batch.reading.looking import decode
from functions.batch.reading.shares import Shares
from functions.batch.reading.tokens import text_tokens
from functions.batch.rows import LINK, Cut, Group, ParsedRow, Weight
from functions.batch.streams.fresh import FreshForm
from functions.batch.streams.lines import lines_of

_LEAST_REACH, _MOST_REACH = 4_096, 1 << 20
"""Bytes of lines that are looked at together."""

_MOST = 4
"""Of them are known at a time."""

_RUNS = 64
_SHORT = 4
_PAUSE = 1_000
"""After so many runs with fewer rows than this on average that ended before their block did, so
many rows are read one by one. After so many that fitted none, these are forgotten."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Of rows: how many may be taken together, and how many bytes one may have in a batch."""

    rows: int
    bytes: int


RoomFor = Callable[[Group, Dialect], Room]

_QUOTE = b'"'
_PROBE = b" ".join(b"what is said in %d words" % number for number in range(20))


class Shape(msgspec.Struct, frozen=True):
    """Of lines that fit a mould. `texts`: the gaps whose texts are weighed; `fixed`: the tokens of
    all else. `named`: which gap has the id."""

    around: Around
    fixed: float
    texts: list[int]
    named: int | None


class Run(msgspec.Struct, frozen=True):
    """Rows that follow each other, as pieces of a source, and what they weigh together. `until`:
    where in their block the line behind them begins."""

    rows: int
    packed: list[bytes]
    weight: Weight
    until: int


class Mould:
    def __init__(
        self, dialect: Dialect, cut: Cut, row: ParsedRow, line: bytes, shape: Shape, prefix: str
    ) -> None:
        self.dialect = dialect
        self.group: Group = row.group
        self.shape = shape
        self._weight = row.weight
        self._alone = cut.alone
        self._around = shape.around
        id_at = len(shape.around.head) - 1 if shape.named == 0 else 0
        self._form = FreshForm(prefix, self._weight, id_at)
        uncounted = len(cut.identity or b"") if cut.alone else 0
        self._beyond = self._weight.bytes - len(line) + uncounted
        self._line_bytes = len(line) + 1
        self._reach = _MOST_REACH
        self._alike = True
        self._shares = Shares()

    def take(self, block: bytes, at: int, number: int, room: Room) -> Run | None:
        """The lines from this place on that fit, up to the first that does not; the first of them
        has this number. None if there is none."""
        if not self._around.may_fit(block, at):
            return None
        until = self._window(block, at, room.rows * self._line_bytes)
        window = block[at:until]
        lines = lines_of(window)
        if len(lines) > room.rows:
            del lines[room.rows :]
            until = at + sum(map(len, lines)) - 1
            window = block[at:until]
        size = len(window) + 1
        many, most = len(lines), room.bytes - self._beyond + 1
        if size > most:
            lines = [*takewhile(lambda line: len(line) <= most, lines)]
            window = b"".join(lines)[:-1]
        if not lines:
            return None
        gaps = self._around.cut(window, lines, alike=self._alike)
        taken = gaps.rows
        if taken < many:
            del lines[taken:]
            size = sum(map(len, lines))
        self._alike = taken == many
        end = at + size
        self._reach = min(max(_LEAST_REACH, 4 * self._reach if end > until else size), _MOST_REACH)
        if not taken:
            return None
        tokens = self._tokens(gaps, number)
        ids = [*map((2 * len(_QUOTE)).__add__, gaps.lengths(self.shape.named or 0))]
        packed = self._form.packed(number, tokens, ids, lines)
        size -= taken
        if self._alone and self.shape.named is not None:
            size -= sum(ids)
        return Run(taken, packed, self._together(taken, size, sum(tokens)), end)

    def _window(self, block: bytes, at: int, most: int) -> int:
        """The end of the lines that are looked at together: more of them, the more fitted before,
        since what does not fit is looked at in vain; of no more bytes than there may be room."""
        reach = min(self._reach, most)
        if len(block) - at <= reach:
            return len(block)
        until = block.rfind(b"\n", at, at + reach)
        if until < 0:
            until = block.find(b"\n", at)
        return until if until >= 0 else len(block)

    def _tokens(self, gaps: Gaps, number: int) -> list[int]:
        """Of each row. The bytes of JSON tell better than characters what its share is: where rows
        are in several scripts, the tokens of a character differ by more than those of a byte."""
        fixed = self.shape.fixed
        columns = [gaps.lengths(place) for place in self.shape.texts]
        if not columns:
            return [round(fixed)] * gaps.rows
        lengths = [*map(sum, zip(*columns, strict=True))] if len(columns) > 1 else columns[0]
        texts = [gaps.texts(place) for place in self.shape.texts]
        return self._shares.tokens(lengths, partial(_weigh, texts), number=number, fixed=fixed)

    def _together(self, rows: int, size: int, tokens: int) -> Weight:
        """An answer that repeats its request is as much longer as that is."""
        one = self._weight
        size += rows * self._beyond
        output = rows * (one.output - one.bytes) + size if self._alone else rows * one.output
        return Weight(
            rows=rows,
            bytes=size,
            inputs=rows * one.inputs,
            output=output,
            tokens=tokens,
            max_output=rows * one.max_output,
            unbounded=rows * one.unbounded,
            marked=rows * one.marked,
        )


def _weigh(texts: list[list[str]], rows: Iterable[int]) -> list[float]:
    """The tokens of these rows."""
    if len(texts) == 1:
        (one,) = texts
        return [text_tokens(one[row]) for row in rows]
    return [sum([text_tokens(each[row]) for each in texts]) for row in rows]


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

    def take(
        self, block: bytes, at: int, number: int, room_for: RoomFor
    ) -> tuple[Mould, Run] | None:
        """As `Mould.take`, of the first mould that the line at this place fits."""
        known = self._known
        for place, mould in enumerate(known):
            run = mould.take(block, at, number, room_for(mould.group, mould.dialect))
            if run is not None:
                self._missed = 0
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
        before, self._before = self._before, line if len(line) <= _MOST_REACH else b""
        self._missed += 1
        if self._missed % _RUNS == 0:
            self._known.clear()
        if before and self._before and not self._missed & (self._missed - 1):
            made = mould_of(line, before, dialect, self._prefix)
            if made is not None and all(made.shape != each.shape for each in self._known):
                self._known = [made, *self._known[: _MOST - 1]]


def mould_of(line: bytes, before: bytes, dialect: Dialect, prefix: str) -> Mould | None:
    """What the line has in common with the one before it. None for one of which nothing differs, or
    whose texts cannot be told from the rest of it, or for which they are more than texts."""
    cut, row = dialect.cut(line), _parsed(line, dialect)
    if cut is None or row is None:
        return None
    named = [] if cut.identity is None else [cut.identity]
    texts = [raw for raw in cut.texts if raw not in before]
    links = [raw for raw in cut.links if raw not in before]
    gaps = [*named, *texts, *(raw for raw in cut.free if raw not in before), *links]
    places = {raw: line.find(raw) for raw in gaps}
    if not places or len(places) < len(gaps):
        return None
    if any(line.rfind(raw) != at for raw, at in places.items()):
        return None
    found = sorted(places, key=places.__getitem__)
    begins = [places[raw] + (len(LINK) if raw in links else len(_QUOTE)) for raw in found]
    pieces = [line[: begins[0]]]
    for raw, end in zip(found, [*begins[1:], None], strict=True):
        pieces.append(line[places[raw] + len(raw) - len(_QUOTE) : end])
    around = Around(pieces[0], pieces[1:-1], pieces[-1] + b"\n")
    empty = _parsed(around.filled([b""] * around.gaps), dialect)
    if empty is None:
        return None
    shape = Shape(
        around,
        fixed=empty.tokens,
        texts=[found.index(raw) for raw in texts],
        named=None if cut.identity is None else found.index(cut.identity),
    )
    mould = Mould(dialect, cut, row, line, shape, prefix)
    return mould if _tells(mould, dialect) else None


def _tells(mould: Mould, dialect: Dialect) -> bool:
    """Whether it says of a line what the dialect does. It may not where what looks like a text is
    something else, in a request that is odd."""
    around = mould.shape.around
    line = around.filled([_PROBE] * around.gaps)
    row, run = _parsed(line, dialect), mould.take(line, 0, 0, Room(rows=1, bytes=1 << 62))
    if row is None or run is None:
        return False
    tokens = run.weight.tokens if abs(run.weight.tokens - row.weight.tokens) <= 1 else -1
    return (row.group, msgspec.structs.replace(row.weight, tokens=tokens)) == (
        mould.group,
        run.weight,
    )


def _parsed(line: bytes, dialect: Dialect) -> ParsedRow | None:
    try:
        return dialect.parse(line, decode(line))
    except (InvalidRow, RecursionError):
        return None
