"""Finishes rows that were sent for the first time, by no recipe, and whose answer is a usual one.

Most rows of most shards are such. Of each only what its line needs is put together; what is summed
up is summed up for many of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from functions.batch.collecting.endings import Ending
from functions.batch.learning import Learned
from functions.batch.model import Answered
from functions.batch.pricing import Meter
from functions.batch.rows import Weight
from functions.batch.streams import envelope
from functions.batch.streams.heads import Heads


class UsualRows:
    """Of one shard. What they come to is added to `meter`, `counts` and `lesson`."""

    def __init__(self, meter: Meter, counts: Answered, lesson: Learned) -> None:
        self._meter = meter
        self._counts = counts
        self._lesson = lesson

    def finish(self, heads: Heads, endings: Sequence[Ending]) -> bytes:
        """The finished lines of rows of which nothing but the heads is needed."""
        pieces: list[bytes] = [envelope.AFTER_KEY] * (5 * len(endings))
        pieces[::5] = heads.keys
        pieces[2::5] = heads.custom_ids
        pieces[3::5] = [
            b"" if each.whole else envelope.BEFORE_TEXT + each.rest[each.begin : each.end]
            for each in endings
        ]
        pieces[4::5] = [each.rest for each in endings]
        self._counts.succeeded += len(endings)
        if self._meter.plain is None or [each for each in endings if each.usage is not None]:
            for row, ending in enumerate(endings):
                self._charge(heads, row, ending)
        else:
            self._sum_up(heads, endings)
        return b"".join(pieces)

    def _charge(self, heads: Heads, row: int, ending: Ending) -> None:
        """One whose price is not that of every other."""
        full = ending.in_full()
        self._meter.charge(full)
        if full.usage is not None:
            weight = Weight(
                rows=1,
                tokens=heads.tokens[row],
                max_output=heads.max_output[row],
                unbounded=heads.unbounded[row],
            )
            self._lesson.note(weight, full.usage)

    def _sum_up(self, heads: Heads, endings: Sequence[Ending]) -> None:
        given = sum([ending.given for ending in endings])
        made = [ending.made for ending in endings]
        self._meter.charge_plain(len(endings), given, sum(made))
        bounds, counts = heads.max_output, heads.unbounded
        bounded, free = made, list[tuple[int, int]]()
        if not all(bounds):
            bounded = [output for output, most in zip(made, bounds, strict=True) if most]
            free = [
                (output, count)
                for output, most, count in zip(made, bounds, counts, strict=True)
                if count and not most
            ]
        self._lesson.add(
            Learned(
                rows=len(endings),
                tokens=sum(heads.tokens),
                input_tokens=given,
                bounded=len(bounded),
                max_output=sum(bounds),
                bounded_output=sum(bounded),
                unbounded=sum([count for _, count in free]),
                unbounded_output=sum([output for output, _ in free]),
            )
        )
