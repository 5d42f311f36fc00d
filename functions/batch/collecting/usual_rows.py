"""Finishes rows that were sent for the first time, by no recipe, and whose answer is a usual one.

Most rows of most shards are such. Of each only what its line needs is put together; what is summed
up is summed up for many of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from functions.batch.collecting.endings import Ending
from functions.batch.learning import Learned
from functions.batch.model import Answered
from functions.batch.pricing import Meter
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
        self._charge(endings)
        self._learn(heads, endings)
        return b"".join(pieces)

    def _charge(self, endings: Sequence[Ending]) -> None:
        priced = [each.priced for each in endings if each.priced is not None]
        plain = [each for each in endings if each.priced is None] if priced else endings
        if priced:
            self._meter.charge_all(priced)
        if plain:
            given, made = [each.given for each in plain], [each.made for each in plain]
            self._meter.charge_plain(len(plain), sum(given), sum(made))

    def _learn(self, heads: Heads, endings: Sequence[Ending]) -> None:
        """One of which no input is told teaches nothing."""
        tokens, bounds, counts = heads.tokens, heads.max_output, heads.unbounded
        given, made = [each.given for each in endings], [each.made for each in endings]
        if not all(given):
            columns = (tokens, bounds, counts, made, given)
            tokens, bounds, counts, made, given = [[*compress(each, given)] for each in columns]
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
                rows=len(given),
                tokens=sum(tokens),
                input_tokens=sum(given),
                bounded=len(bounded),
                max_output=sum(bounds),
                bounded_output=sum(bounded),
                unbounded=sum([count for _, count in free]),
                unbounded_output=sum([output for output, _ in free]),
            )
        )
