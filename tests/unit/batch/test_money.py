from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch.money import DOLLAR, dollars, number, picodollars, shown


@pytest.mark.parametrize(
    ("given", "amount"),
    [
        (0.1, DOLLAR // 10),
        ("0.000000000001", 1),
        ("0.0000000000005", 1),
        (Decimal("12.5"), 12_500_000_000_000),
        (3, 3 * DOLLAR),
    ],
)
def test_dollars_are_read_as_they_are_written(given: float | str | Decimal, amount: int) -> None:
    assert picodollars(given) == amount


@given(st.integers(-(10**20), 10**20))
def test_a_number_has_all_digits_and_no_exponent(amount: int) -> None:
    text = number(amount).decode()
    assert "e" not in text.lower()
    assert Decimal(text) * DOLLAR == amount
    assert len(text.partition(".")[2]) <= 12
    assert json.loads(text) == dollars(amount)


def test_what_is_not_known_is_null_and_not_zero() -> None:
    assert (number(None), dollars(None), shown(None)) == (b"null", None, "unknown")
    assert (number(0), dollars(0), shown(0)) == (b"0", 0.0, "$0.00")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (11 * DOLLAR, "$11.00"),
        (1_234_567 * DOLLAR, "$1,234,567.00"),
        (DOLLAR // 4, "$0.25"),
        (105_000_000, "$0.00010"),
        (70_000, "$0.000000"),
    ],
)
def test_people_see_cents_or_what_little_there_is(amount: int, text: str) -> None:
    assert shown(amount) == text
