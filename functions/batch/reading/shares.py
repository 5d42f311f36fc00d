"""The tokens of rows that follow each other, of which some alone are weighed.

Each row gets as many as those that are weighed have for its length, in its block and, ever less, in
those before it. What is asked of tokens is sums over rows: the more rows, the nearer they come to
what each would have weighed by itself. So all of the first rows are weighed, since there may be
few; and each row that is much longer than the others, since a sum may be mostly its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

FIRST = 1_000
"""Rows of a range, each of which is weighed."""

_LEAST = 32
_PART = 16
"""Every sixteenth row is weighed, but 32 of them at least."""

_LONG = 4
"""Times the average."""

Weigh = Callable[[Iterable[int]], list[float]]
"""The tokens of rows, which it is asked for by their places."""

_GOLDEN = 0.618_033_988_749_895


class Shares:
    """Of rows that are alike, block after block of them."""

    def __init__(self) -> None:
        self._length = 0.0
        self._tokens = 0.0

    def tokens(self, lengths: list[int], weigh: Weigh, *, number: int, fixed: float) -> list[int]:
        """Of each row; `number` is the number of the first one, `fixed` what each has beside."""
        rows = len(lengths)
        if number < FIRST or rows <= _LEAST:
            return [round(fixed + own) for own in weigh(range(rows))]
        long = _LONG * sum(lengths) / rows
        alone: list[int] = []
        if max(lengths) > long:
            alone = [row for row, length in enumerate(lengths) if length > long]
        some = [row for row in _some_of(rows, number) if not alone or lengths[row] <= long]
        each = self._learned(sum([lengths[row] for row in some]), sum(weigh(some)))
        half_up = fixed + 0.5
        tokens = [int(half_up + each * length) for length in lengths]
        for row, own in zip(alone, weigh(alone), strict=True):
            tokens[row] = round(fixed + own)
        return tokens

    def _learned(self, length: int, tokens: float) -> float:
        """Tokens for a length of one. What was weighed before counts no more than what is now."""
        kept = min(1.0, length / self._length) if self._length else 0.0
        self._length = kept * self._length + length
        self._tokens = kept * self._tokens + tokens
        return self._tokens / self._length if self._length else 0.0


def _some_of(rows: int, number: int) -> Iterable[int]:
    """Places all over the rows, such that no period of the input's falls in with them."""
    many = max(_LEAST, rows // _PART)
    return {int(at * _GOLDEN % 1 * rows) for at in range(number, number + many)}
