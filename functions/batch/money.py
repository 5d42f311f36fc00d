"""Money as whole picodollars, 1e-12 dollars: a token at $0.30 per million costs 300,000 of them.

Whole numbers add up exactly, in whatever order; dollars are for showing, and for JSON.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

import msgspec

DOLLAR = 10**12
PER_MILLION_TOKENS = DOLLAR // 1_000_000
"""Picodollars a token of a price of one dollar per million tokens."""

PriceSource = Literal["library", "override", "derived_half"]


def picodollars(dollars: Decimal | float | str) -> int:
    """Of dollars as somebody wrote them: 0.1 is a tenth, not the double that is nearest to it."""
    return whole(Decimal(str(dollars)) * DOLLAR)


def whole(amount: Decimal) -> int:
    return int(amount.to_integral_value(rounding=ROUND_HALF_UP))


def dollars(amount: int | None) -> float | None:
    """The double nearest to the amount, for JSON."""
    return None if amount is None else amount / DOLLAR


def number(amount: int | None) -> bytes:
    """The amount in dollars as a JSON number: all of its digits, no exponent."""
    if amount is None:
        return b"null"
    cents, rest = divmod(abs(amount), DOLLAR)
    sign = b"-" if amount < 0 else b""
    return sign + (b"%d.%012d" % (cents, rest)).rstrip(b"0").rstrip(b".")


def shown(amount: int | None) -> str:
    """For people: cents, or as many digits as a small amount needs to be told from nothing."""
    if amount is None:
        return "unknown"
    value = Decimal(amount) / DOLLAR
    places = 2
    while places < 6 and amount and abs(value) < Decimal(10) ** (1 - places):
        places += 1
    return f"${value:,.{places}f}"


class JobLimits(msgspec.Struct, kw_only=True):
    """What a recipe says of money, in dollars; `prices` as the setting of that name has them."""

    max_cost_usd: Decimal | None = None
    approve_above_usd: Decimal | None = None
    prices: dict[str, dict[str, Decimal]] = {}


class Estimate(msgspec.Struct, kw_only=True):
    """What a job is expected to cost at batch prices, in picodollars; null where a price or a
    limit is not known. `high` is what it may cost at most: every limit on output used in full.

    `unpriced` are the models without a price, `unbounded` the rows without a limit on output.
    `canary` is what the rows that go first are expected to cost, where some do.
    """

    low: int | None = None
    expected: int | None = None
    high: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: list[str] = []
    unbounded: int = 0
    canary: int | None = None


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a job may spend at most, in picodollars, and how that was found: by how many percent the
    tokens of each model (`provider/model`) were taken, and with which allowance for rows without a
    limit on their output."""

    most: int
    percents: dict[str, int]
    allowance: int | None = None


class Bill(msgspec.Struct, kw_only=True):
    """What answers cost, from the usage that the provider reported with each, in picodollars.

    `rows` are the answers that were billed, `listed` is their price in real time. `unpriced` of
    them cost what nobody knows: they are in neither sum. `at_list`: served, and paid, outside of
    the batch. `cache_saved`: how much more the same tokens cost without a prompt cache; negative if
    writing to it cost more than reading saved. `source`: where the price is from; null if there is
    none.
    """

    rows: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    actual: int = 0
    listed: int = 0
    unpriced: int = 0
    at_list: int = 0
    cache_saved: int = 0
    source: PriceSource | None = None

    def add(self, other: Bill) -> None:
        self.rows += other.rows
        self.input_tokens += other.input_tokens
        self.cached_input_tokens += other.cached_input_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.output_tokens += other.output_tokens
        self.actual += other.actual
        self.listed += other.listed
        self.unpriced += other.unpriced
        self.at_list += other.at_list
        self.cache_saved += other.cache_saved
        self.source = self.source or other.source

    @property
    def paid(self) -> int | None:
        """Null if a part of it is not known."""
        return None if self.unpriced else self.actual

    @property
    def in_real_time(self) -> int | None:
        return None if self.unpriced else self.listed

    @property
    def saved(self) -> int | None:
        return None if self.unpriced else self.listed - self.actual
