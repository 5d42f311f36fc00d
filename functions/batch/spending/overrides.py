"""Prices that people set, in dollars per million tokens, where the library has none or others.

`{"openai/gpt-5-mini": {"input": 0.3, "output": 1.0}}`: list prices. A batch costs half of them,
unless a key that begins with `batch_` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec

from functions.batch.money import picodollars
from functions.batch.pricing import Price, Rates, half_of, stacks

LIST_KEYS = ("input", "output", "cached_input", "cache_write", "cache_write_1h")
KEYS = (*LIST_KEYS, *(f"batch_{key}" for key in LIST_KEYS))

Overrides = Mapping[str, Mapping[str, Decimal]]

_VERSION = re.compile(r"(?:[-@](?:20\d{6}|20\d{2}-\d{2}-\d{2}|\d{3}))$")


def problem_of(prices: Mapping[str, object]) -> str | None:
    """What is wrong with a model's prices, or None."""
    unknown = [key for key in prices if key not in KEYS]
    if unknown:
        return f"{unknown[0]!r} is no price; there are {', '.join(KEYS)}"
    return None if "input" in prices else "the price of input is missing"


def _names(model: str) -> Iterator[str]:
    """Without its version, and, as Vertex takes a model with its path, without that."""
    names = [model]
    if model.startswith("vertex/"):
        names.append(f"vertex/{model.rpartition('/')[2]}")
    for name in names:
        yield name
        yield _VERSION.sub("", name)


def overridden(model: str, *overrides: Overrides) -> Rates | None:
    """`model` is `provider/model`. A price of a model holds for its dated versions too, unless
    they have one of their own, and for the path by which Vertex may name it. The first of the
    overrides that has one counts."""
    prices = next(
        (each[name] for each in overrides for name in _names(model) if name in each), None
    )
    if prices is None:
        return None
    amounts = {key: picodollars(value) // 1_000_000 for key, value in prices.items()}
    plain = amounts["input"]
    written = amounts.get("cache_write", plain)
    listed = Price(
        input=plain,
        output=amounts.get("output"),
        cached_input=amounts.get("cached_input", plain),
        cache_write=written,
        cache_write_1h=amounts.get("cache_write_1h", written),
    )
    half = half_of(listed, stacks=stacks(model.partition("/")[0]))
    own = {key: amounts[f"batch_{key}"] for key in LIST_KEYS if f"batch_{key}" in amounts}
    return Rates(listed=[listed], batch=[msgspec.structs.replace(half, **own)], source="override")
