"""How long a provider asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan

MOST_SECONDS = 3_600.0
"""However long a provider asks for: after an hour it is asked again, and may say so again."""


def retry_after(header: str | None) -> float | None:
    """Seconds, of either form of `Retry-After`: a number, or a date (RFC 9110, 10.2.3). None
    where there is none, or nothing to be read from it."""
    seconds = None if header is None else _seconds(header)
    if seconds is None or isnan(seconds):
        return None
    return min(max(seconds, 0.0), MOST_SECONDS)


def _seconds(header: str) -> float | None:
    try:
        return float(header)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return (until - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
