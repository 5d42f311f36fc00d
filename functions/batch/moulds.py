"""Rows that differ from the one before them in some texts alone, told by the bytes around these.

Most inputs are written by a program: row for row the same keys, model and instructions, another id
and another text. The dialect says where a row has its texts (`Cut`); what is around them is the
mould. A line that has the same bytes there, and one JSON string in each gap, can only be a request
of the same group with the same limits: its texts are weighed, and nothing else of it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import msgspec

from functions.batch.lines import fresh_form
from functions.batch.ports import Dialect
from functions.batch.rows import Cut, Group, Limits, Weight
from functions.batch.tokens import text_tokens

_MOST = 4
"""An input whose rows take turns between more of them is read row by row."""

LimitsOf = Callable[[Group, Dialect], Limits]

_text = msgspec.json.Decoder(str).decode


class Gap(msgspec.Struct, frozen=True):
    """A place where any string may stand. `until`: the bytes that follow on it, from its closing
    quote to the opening one of the next gap, or to the line's end. `more`: what is added to the
    tokens after those of its text; null for an id, which has none."""

    until: bytes
    more: list[float] | None


class Run(msgspec.Struct, frozen=True):
    """Rows that follow each other, as lines of a source, and what they weigh together."""

    packed: list[bytes]
    weight: Weight


class Mould:
    """`head` and each gap's `until` are the line, but for its gaps; `start` are the tokens before
    those of the first gap."""

    def __init__(
        self,
        dialect: Dialect,
        cut: Cut,
        line: bytes,
        head: bytes,
        start: float,
        gaps: list[Gap],
        prefix: str,
    ) -> None:
        self.dialect = dialect
        self.group: Group = cut.row.group
        self._weight = cut.row.weight
        self._alone = cut.alone
        self._head = head
        self._start = start
        *self._gaps, self._last = [(gap.until, gap.more) for gap in gaps]
        self._form = fresh_form(prefix, self._weight)
        self._named = len(cut.identity or b"")
        self._beyond = self._weight.bytes - len(line) + (self._named if cut.alone else 0)

    def take(self, rows: list[bytes], at: int, number: int, most_bytes: int) -> Run | None:
        """Those from `at` on that fit, up to the first that does not; the first of them has this
        number. None if there is none."""
        packed: list[bytes] = []
        add, form, alone, tokens_of = packed.append, self._form, self._alone, self._tokens
        most_bytes -= self._beyond
        size = total = 0
        for line in islice(rows, at, None):
            tokens = tokens_of(line)
            counted = len(line) - self._named if alone else len(line)
            if tokens is None or counted > most_bytes:
                break
            add(form % (number, tokens, line))
            number += 1
            size += counted
            total += tokens
        return Run(packed, self._together(len(packed), size, total)) if packed else None

    def _tokens(self, line: bytes) -> int | None:
        """Null for a line that does not fit. Leaves the length of its id in `_named`."""
        until, more = self._last
        if not (line.startswith(self._head) and line.endswith(until)):
            return None
        if b"\\" in line and b"\\u0000" in line:
            return None
        begin = len(self._head) - 1
        tokens = self._start
        try:
            for inner, terms in self._gaps:
                end = line.index(b'"', begin + 1)
                while not line.startswith(inner, end):
                    end = line.index(b'"', end + 1)
                text = _text(line[begin : end + 1])
                if terms is None:
                    self._named = end + 1 - begin
                else:
                    tokens += text_tokens(text)
                    for term in terms:
                        tokens += term
                begin = end + len(inner) - 1
            end = len(line) - len(until) + 1
            text = _text(line[begin:end])
        except ValueError:
            return None
        if more is None:
            self._named = end - begin
            return round(tokens)
        tokens += text_tokens(text)
        for term in more:
            tokens += term
        return round(tokens)

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


def mould_of(line: bytes, before: bytes, dialect: Dialect, prefix: str) -> Mould | None:
    """What the line has in common with the one before it. None for an unusual line, and for one
    whose texts cannot be told from the rest of it, or of which nothing differs."""
    cut = dialect.cut(line)
    if cut is None:
        return None
    texts = [term for term in cut.terms if type(term) is bytes and term not in before]
    named = [cut.identity] if cut.identity is not None else []
    places = {raw: line.find(raw) for raw in (*named, *texts)}
    found = sorted(places, key=places.__getitem__)
    if len(places) < len(named) + len(texts) or [raw for raw in found if raw in texts] != texts:
        return None
    if not places or any(line.rfind(raw) != at for raw, at in places.items()):
        return None
    start, more = _sums(cut, texts)
    ends = [*(places[raw] for raw in found[1:]), len(line) - 1]
    gaps = [
        Gap(line[places[raw] + len(raw) - 1 : until + 1], more.get(raw))
        for raw, until in zip(found, ends, strict=True)
    ]
    return Mould(dialect, cut, line, line[: places[found[0]] + 1], start, gaps, prefix)


def _sums(cut: Cut, texts: list[bytes]) -> tuple[float, dict[bytes, list[float]]]:
    """What the tokens are before the first of the texts, and what is added after each: one by one
    and in their order, so that the sum is the very same."""
    start = 0.0
    more: dict[bytes, list[float]] = {}
    terms: list[float] | None = None
    for term in cut.terms:
        if type(term) is bytes and term in texts:
            terms = more[term] = []
            continue
        tokens = text_tokens(_text(term)) if isinstance(term, bytes) else term
        if terms is None:
            start += tokens
        else:
            terms.append(tokens)
    return start, more
