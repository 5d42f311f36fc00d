"""The tokens of rows that follow each other, of which some alone are weighed.

Each row gets as many as those that are weighed have for its length. What is asked of tokens is sums
over rows: the more rows, the nearer they come to what each would have weighed by itself. So all of
the first rows are weighed, since there may be few; and each row that is much longer than the
others, since a sum may be mostly its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

FIRST = 2_000
"""Rows of a range, each of which is weighed."""

_LEAST = 32
_PART = 8
"""Every eighth row is weighed, but 32 of them at least."""

_LONG = 4
"""Times the average."""

Weigh = Callable[[Iterable[int]], list[float]]
"""The tokens of rows, which it is asked for by their places."""

_GOLDEN = 0.618_033_988_749_895


def shared_tokens(lengths: list[int], weigh: Weigh, *, number: int, fixed: float) -> list[int]:
    """Of each row; `number` is the number of the first one, `fixed` what each has beside."""
    if number < FIRST:
        return [round(fixed + own) for own in weigh(range(len(lengths)))]
    long = _LONG * sum(lengths) / len(lengths)
    alone: list[int] = []
    if max(lengths) > long:
        alone = [row for row, length in enumerate(lengths) if length > long]
    some = [row for row in _some_of(len(lengths), number) if not alone or lengths[row] <= long]
    known = sum([lengths[row] for row in some])
    each = sum(weigh(some)) / known if known else 0.0
    half_up = fixed + 0.5
    tokens = [int(half_up + each * length) for length in lengths]
    for row, own in zip(alone, weigh(alone), strict=True):
        tokens[row] = round(fixed + own)
    return tokens


def _some_of(rows: int, number: int) -> Iterable[int]:
    """Places all over the rows, such that no period of the input's falls in with them."""
    if rows <= _LEAST:
        return range(rows)
    many = max(_LEAST, rows // _PART)
    return {int(at * _GOLDEN % 1 * rows) for at in range(number, number + many)}
