"""How long batches take, from their creation to the moment at which their end was seen, by the
clock on the wall.

A histogram for each provider and model, in buckets that grow by the square root of two: bucket 0
is below one second, bucket `n` ends at `2 ** (n / 2)` seconds. So a quantile is met within 41 %,
and a model's history fits into a few numbers that only ever grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

ENOUGH = 10
"""Batches of a model before anything is said of its next one."""

LAST = 40
"""The bucket of all that takes twelve days or longer; no provider lets a batch live so long."""

MEDIAN, LATE = 0.5, 0.9
"""Parts of all jobs that are expected to have ended by then."""

EARLY = 0.1

Histogram = Mapping[int, int]
"""Batches by bucket."""


class Awaited(msgspec.Struct, frozen=True, kw_only=True):
    """So many batches of a model that are sent at once, after `delay_seconds`."""

    histogram: Histogram
    batches: int
    delay_seconds: int = 0


def bucket_of(seconds: float) -> int:
    return 0 if seconds < 1 else min(math.floor(2 * math.log2(seconds)) + 1, LAST)


def end_of(bucket: int) -> float:
    """In seconds."""
    return 2 ** (bucket / 2)


def begin_of(bucket: int) -> float:
    return 0.0 if bucket == 0 else end_of(bucket - 1)


def first_wait(histogram: Histogram, *, least: int, most: int) -> int:
    """Seconds from a batch's creation to the first question how it is doing: half of what nine of
    ten batches take longer than, between the two limits. What is learned on a shortened clock is
    short, so that the wait stays the least there."""
    if sum(histogram.values()) < ENOUGH:
        return least
    early = _quantile(histogram, EARLY)
    return min(max(int(begin_of(early) / 2), least), max(most, least))


def finish(awaited: Iterable[Awaited], part: float) -> int | None:
    """Seconds after which all batches have ended in `part` of the cases, each taking its time
    independently of the others. None where there are none, or a model is not known well enough.

    Waiting for room at the provider is not in it, and neither are later rounds.
    """
    known = list(awaited)
    if not known or any(sum(each.histogram.values()) < ENOUGH for each in known):
        return None
    ends = sorted(
        {each.delay_seconds + end_of(bucket) for each in known for bucket in each.histogram}
    )
    for seconds in ends:
        if math.prod(_ended(each, seconds) for each in known) >= part:
            return math.ceil(seconds)
    return math.ceil(ends[-1])


def _ended(each: Awaited, seconds: float) -> float:
    """The chance that all of a model's batches have ended by then."""
    ended = sum(
        count
        for bucket, count in each.histogram.items()
        if each.delay_seconds + end_of(bucket) <= seconds
    )
    return (ended / sum(each.histogram.values())) ** each.batches


def _quantile(histogram: Histogram, part: float) -> int:
    left = part * sum(histogram.values())
    for bucket in sorted(histogram):
        left -= histogram[bucket]
        if left <= 0:
            return bucket
    raise ValueError("The histogram is empty.")
