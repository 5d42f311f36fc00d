from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from functions.providers.waiting import retry_after


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
