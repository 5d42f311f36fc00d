"""Rows that differ from the one before them in some texts alone, told by the bytes around these.

Most inputs are written by a program: row for row the same keys, model and instructions, another id
and another text. The dialect says where a row has its texts (`Cut`); what is around them is the
mould. A line that has the same bytes there, and one JSON string in each gap, can only be a request
of the same group with the same limits: its texts are weighed, and nothing else of it is read.

Of the texts some are weighed for all: see `functions.batch.reading.shares`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count, islice

import msgspec

from functions.batch.ports import Dialect
from functions.batch.reading.shares import shared_tokens
from functions.batch.reading.tokens import text_tokens
from functions.batch.rows import Cut, Group, Limits, Weight
from functions.batch.streams.lines import fresh_form

_MOST = 4
"""An input whose rows take turns between more of them is read row by row."""

LimitsOf = Callable[[Group, Dialect], Limits]

_text = msgspec.json.Decoder(str).decode
_strings = msgspec.json.Decoder(list[str]).decode
_BACKSLASH = ord("\\")


class Shape(msgspec.Struct, frozen=True):
    """A line, but for its gaps. `untils`: of each gap the bytes that follow on it, from its closing
    quote to the opening one of the next, or to the line's end. `texts`: the gaps whose texts are
    weighed; `fixed`: the tokens of all else. `named`: which gap has the id."""

    head: bytes
    untils: list[bytes]
    fixed: float
    texts: list[int]
    named: int | None


class Run(msgspec.Struct, frozen=True):
    """Rows that follow each other, as pieces of a source, and what they weigh together."""

    rows: int
    packed: list[bytes]
    weight: Weight


class Mould:
    def __init__(self, dialect: Dialect, cut: Cut, line: bytes, shape: Shape, prefix: str) -> None:
        self.dialect = dialect
        self.group: Group = cut.row.group
        self._shape = shape
        self._weight = cut.row.weight
        self._alone = cut.alone
        self._id_at = len(shape.head) - 1 if shape.named == 0 else 0
        self._form = fresh_form(prefix, self._weight, self._id_at)
        uncounted = len(cut.identity or b"") if cut.alone else 0
        self._beyond = self._weight.bytes - len(line) + uncounted

    def take(self, rows: list[bytes], at: int, number: int, most_bytes: int) -> Run | None:
        """Those from `at` on that fit, up to the first that does not; the first of them has this
        number. None if there is none."""
        many = len(self._shape.untils)
        raws = self._cut(rows, at, most_bytes - self._beyond)
        texts = _decoded(raws)
        taken = len(texts) // many
        if not taken:
            return None
        del texts[taken * many :]
        del raws[taken * many :]
        lines = rows[at : at + taken]
        tokens = self._tokens(texts, raws, number)
        pieces = [b""] * (2 * taken)
        pieces[::2] = self._heads(number, tokens, raws)
        pieces[1::2] = lines
        pieces[0] = pieces[0][1:]
        pieces.append(b"\n")
        size = sum(map(len, lines))
        if self._alone and self._shape.named is not None:
            size -= sum(map(len, raws[self._shape.named :: many]))
        return Run(taken, pieces, self._together(taken, size, sum(tokens)))

    def _heads(self, number: int, tokens: list[int], raws: list[bytes]) -> list[bytes]:
        """What stands before the lines, from the row with this number on."""
        form = self._form
        if not self._id_at:
            return [form % numbers for numbers in zip(count(number), tokens, strict=False)]
        lengths = map(len, raws[:: len(self._shape.untils)])
        return [form % numbers for numbers in zip(count(number), tokens, lengths, strict=False)]

    def _cut(self, rows: list[bytes], at: int, most_bytes: int) -> list[bytes]:
        """What stands in the gaps of the lines from `at` on that have the mould's bytes around
        them: from a quote to the next that no backslash stands before, or a later such one."""
        raws: list[bytes] = []
        add = raws.append
        head = self._shape.head
        *inner, tail = self._shape.untils
        first = len(head) - 1
        behind = len(tail) - 1
        for line in islice(rows, at, None):
            last = len(line) - behind
            if last > most_bytes - behind or not (line.startswith(head) and line.endswith(tail)):
                break
            begin = first
            for until in inner:
                end = line.find(b'"', begin + 1)
                while end > 0 and (line[end - 1] == _BACKSLASH or not line.startswith(until, end)):
                    end = line.find(b'"', end + 1)
                if end < 0:
                    return raws
                add(line[begin : end + 1])
                begin = end + len(until) - 1
            if last < begin + 2 or line[last - 2] == _BACKSLASH:
                break
            add(line[begin:last])
        return raws

    def _tokens(self, texts: list[str], raws: list[bytes], number: int) -> list[int]:
        """Of each row. The bytes of JSON tell better than characters what its share is: where rows
        are in several scripts, the tokens of a character differ by more than those of a byte."""
        many = len(self._shape.untils)
        columns = [list(map(len, raws[place::many])) for place in self._shape.texts]
        fixed = self._shape.fixed
        if not columns:
            return [round(fixed)] * (len(texts) // many)
        lengths = list(map(sum, zip(*columns, strict=True))) if len(columns) > 1 else columns[0]
        weighed = shared_tokens(lengths, partial(self._text_tokens, texts), number=number)
        return [round(fixed + tokens) for tokens in weighed]

    def _text_tokens(self, texts: list[str], row: int) -> float:
        first = row * len(self._shape.untils)
        return sum([text_tokens(texts[first + place]) for place in self._shape.texts])

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


class Moulds:
    """Those of an input, the last one used first."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._known: list[Mould] = []
        self._before = b""
        self._missed = 0

    def take(
        self, rows: list[bytes], at: int, number: int, limits_of: LimitsOf
    ) -> tuple[Mould, Run] | None:
        """As `Mould.take`, of the first mould that the row at this place fits."""
        known = self._known
        for place, mould in enumerate(known):
            limits = limits_of(mould.group, mould.dialect)
            run = mould.take(rows, at, number, limits.bytes)
            if run is not None:
                self._missed = 0
                if place:
                    known.insert(0, known.pop(place))
                return mould, run
        return None

    def learn(self, line: bytes, dialect: Dialect) -> None:
        """From a usual row that fitted none; less and less often, if nothing comes of it."""
        before, self._before = self._before, line
        self._missed += 1
        if before and not self._missed & (self._missed - 1):
            made = mould_of(line, before, dialect, self._prefix)
            if made is not None:
                self._known = [made, *self._known[: _MOST - 1]]


def _decoded(raws: list[bytes]) -> list[str]:
    """The strings, up to the first that is none, or holds a NUL, which no provider takes.

    Each begins with a quote and ends with another that is not escaped, so that together they have
    two quotes or more for each. As many strings as raws can therefore only be these.
    """
    try:
        texts = _strings(b"[%b]" % b",".join(raws))
    except ValueError:
        texts = []
    if len(texts) == len(raws) and "\0" not in "".join(texts):
        return texts
    sound: list[str] = []
    for raw in raws:
        try:
            text = _text(raw)
        except ValueError:
            break
        if "\0" in text:
            break
        sound.append(text)
    return sound


def mould_of(line: bytes, before: bytes, dialect: Dialect, prefix: str) -> Mould | None:
    """What the line has in common with the one before it. None for an unusual line, and for one
    whose texts cannot be told from the rest of it, or of which nothing differs."""
    cut = dialect.cut(line)
    if cut is None:
        return None
    texts = [term for term in cut.terms if type(term) is bytes and term not in before]
    named = [cut.identity] if cut.identity is not None else []
    places = {raw: line.find(raw) for raw in (*named, *texts)}
    if not places or len(places) < len(named) + len(texts):
        return None
    if any(line.rfind(raw) != at for raw, at in places.items()):
        return None
    found = sorted(places, key=places.__getitem__)
    ends = [*(places[raw] for raw in found[1:]), len(line) - 1]
    shape = Shape(
        head=line[: places[found[0]] + 1],
        untils=[
            line[places[raw] + len(raw) - 1 : end + 1] for raw, end in zip(found, ends, strict=True)
        ],
        fixed=sum(_fixed(term) for term in cut.terms if term not in texts),
        texts=[found.index(raw) for raw in texts],
        named=None if cut.identity is None else found.index(cut.identity),
    )
    return Mould(dialect, cut, line, shape, prefix)


def _fixed(term: float | bytes) -> float:
    return text_tokens(_text(term)) if isinstance(term, bytes) else term
