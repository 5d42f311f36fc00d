"""Rows that differ from each other in some strings alone, told by the bytes around these.

Most inputs are written by a program: row for row the same keys, model and instructions, another id
and another text. What is around these is the mould. A line that has the same bytes there, and one
JSON string in each gap, can only be a request of the same group with the same limits: its texts are
weighed, and nothing else of it is read.

Of the texts some are weighed for all: see `functions.batch.reading.shares`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import takewhile

import msgspec

from functions.batch.ports import Dialect
from functions.batch.reading.gaps import Around, Gaps
from functions.batch.reading.shares import Shares
from functions.batch.reading.tokens import text_tokens
from functions.batch.rows import Cut, Group, ParsedRow, Weight
from functions.batch.streams.fresh import FreshForm
from functions.batch.streams.lines import lines_of

_LEAST_REACH, MOST_REACH = 4_096, 1 << 20
"""Bytes of lines that are looked at together."""

_QUOTES = 2


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows may be taken together, and how many bytes one may have in a batch."""

    rows: int
    bytes: int


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
    """`one`: what a row weighs, on the average of those that were last taken."""

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
        self.one = msgspec.structs.replace(row.weight)
        uncounted = sum(len(each.json) for each in cut.strings if each.role == "id" and cut.alone)
        self._beyond = self._weight.bytes - len(line) + uncounted
        self._reach = MOST_REACH
        self._alike = True
        self._shares = Shares()

    def take(self, block: bytes, at: int, number: int, room: Room) -> Run | None:
        """The lines from this place on that fit, up to the first that does not; the first of them
        has this number. None if there is none."""
        if not self._around.fits(block, at):
            return None
        until = self._window(block, at, room.rows * (self.one.bytes - self._beyond + 1))
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
        self._reach = min(max(_LEAST_REACH, 4 * self._reach if end > until else size), MOST_REACH)
        if not taken:
            return None
        tokens = self._tokens(gaps, number)
        ids = [*map(_QUOTES.__add__, gaps.lengths(self.shape.named or 0))]
        packed = self._form.packed(number, tokens, ids, lines)
        size -= taken
        if self._alone and self.shape.named is not None:
            size -= sum(ids)
        weight = self._together(taken, size, sum(tokens))
        self.one.bytes, self.one.output = -(-weight.bytes // taken), -(-weight.output // taken)
        return Run(taken, packed, weight, end)

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
