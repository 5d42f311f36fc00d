from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from functions.providers.waiting import MOST_SECONDS, retry_after


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", None)]
)
def test_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_a_date() -> None:
    asked = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert asked is not None
    assert 85 < asked <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("header", ["inf", "1e400", "31536000", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_nobody_is_waited_for_longer_than_an_hour_at_once(header: str) -> None:
    assert retry_after(header) == MOST_SECONDS


@pytest.mark.parametrize("header", ["nan", "", "Wed, 99 Foo 20", "Mon, 01 Jan 0001 00:00:00 +2359"])
def test_what_cannot_be_read_asks_for_nothing(header: str) -> None:
    assert not retry_after(header)
