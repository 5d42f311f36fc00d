"""How long to wait before the next lap. Pure: laps and summed waits go in, seconds come out, so
that the same decisions fall on a shortened clock."""

from __future__ import annotations

HOUR = 3_600
DAY = 86_400

STUCK_SECONDS = {"vertex": 98 * HOUR}
"""Vertex may queue a job for 72 hours and then run it for 24. The others end theirs after 24."""

STUCK_DEFAULT = 26 * HOUR

LOOK_UP_SECONDS = 330
"""Between two look-ups after a create whose outcome is unknown. Three of them outlast the longest
time that a function which may still be creating can live (15 minutes)."""

_MANY_LAPS = 1_000
_LAZY_SECONDS = 900


def poll_wait(lap: int, waited: int, *, least: int, most: int, asked: float | None = None) -> int:
    """A tenth of the time that has passed, between the two limits, and never sooner than the
    provider asks. After 1,000 laps at least 15 minutes: an execution's history ends at 25,000
    events, and 1,500 laps must last for the four days that a Vertex job may take."""
    wait = min(max(waited // 10, least), most)
    if lap >= _MANY_LAPS:
        wait = max(wait, _LAZY_SECONDS)
    return max(wait, int(asked or 0) + (1 if asked and asked % 1 else 0))


def trouble_wait(
    troubles: int, *, first: int = 30, most: int = 3_600, asked: float | None = None
) -> int:
    """Doubles from `first` with every lap in a row that met trouble."""
    return max(min(first * 2 ** min(troubles, 16), most), int(asked or 0))


def blocked_wait(troubles: int) -> int:
    """While a person has to act: from five minutes to a day."""
    return trouble_wait(troubles, first=300, most=DAY)


def room_wait(ahead: int, lap: int) -> int:
    """While others hold the enqueued tokens: who is next looks every half minute."""
    wait = min(30 * (1 + ahead), 300)
    return max(wait, _LAZY_SECONDS) if lap >= _MANY_LAPS else wait


def pace_wait(into: float, before: int, this: int, most: int) -> int:
    """Until a window of an hour has room for one more create again. `into` is how many seconds of
    the clock hour have passed, `before` and `this` what was created in the last and in this one."""
    if this >= most or not before:
        return max(int(HOUR - into), 30)
    free_at = HOUR * (1 - (most - this - 1) / before)
    return min(max(int(free_at - into) + 1, 30), _LAZY_SECONDS)
