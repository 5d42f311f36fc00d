"""List and batch prices from genai-prices, which others keep: https://github.com/pydantic/genai-prices.

Asked for a batch price that it does not have, the library answers with the list price and does not
say so. So its variants are looked at: where none is for batches, half of list is taken, as all
three providers have it, and the price is marked as derived.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from functions.batch.money import DOLLAR, PER_MILLION_TOKENS, whole
from functions.batch.pricing import Price, Rates, half_of, stacks

PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "vertex": "google"}
"""Ours, as the library calls them."""

BATCH = {"processing": "batch"}
FREE = frozenset({("openai", "moderation")})
"""The library has no price for what costs nothing: https://platform.openai.com/docs/guides/moderation"""

_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
_KINDS = {
    f"{side}_{kind}": field % kind
    for side, field in (
        ("input", "input_%s_mtok"),
        ("cached", "cache_%s_read_mtok"),
        ("output", "output_%s_mtok"),
    )
    for kind in ("audio", "image", "video")
}
_SEARCHES = "web_searches_kcount"
_GOOGLE_VERSION = re.compile(r"(@.*|-\d{3})$")

Found = Decimal | TieredPrices


class PriceLibrary:
    """See `functions.batch.money_ports.Prices`."""

    def __init__(self, at: datetime | None = None) -> None:
        self._at = at or datetime.now(UTC)

    def rates(self, provider: str, model: str) -> Rates | None:
        found = _find(provider, model)
        if found is None:
            return None
        if (provider, found.id) in FREE:
            free = [Price(input=0, output=0)]
            return Rates(listed=free, batch=free, source="library")
        listed = _tiers(found.get_prices(self._at))
        if listed[0].input is None and listed[0].output is None:
            return None
        if self._has_batch_price(found):
            batch = _tiers(found.get_prices(self._at, BATCH))
            return Rates(listed=listed, batch=batch, source="library")
        return Rates(
            listed=listed,
            batch=[half_of(price, stacks=stacks(provider)) for price in listed],
            source="derived_half",
        )

    def _has_batch_price(self, model: ModelInfo) -> bool:
        return any(
            variant.when == BATCH
            and (variant.constraint is None or variant.constraint.active(self._at))
            for variant in model.price_variants or ()
        )


def _find(provider: str, model: str) -> ModelInfo | None:
    library = PROVIDERS.get(provider)
    for name in _names(provider, model) if library else ():
        try:
            return get_snapshot().find_provider_model(name, None, library, None)[1]
        except LookupError:
            continue
    return None


def _names(provider: str, model: str) -> Iterator[str]:
    """Vertex takes a model with its path, and with its version."""
    yield model
    if provider == "vertex":
        name = model.rpartition("/")[2]
        yield name
        yield _GOOGLE_VERSION.sub("", name)


def _tiers(prices: ModelPrice) -> list[Price]:
    found: Mapping[str, Found] = {
        key: value for key, value in vars(prices).items() if isinstance(value, Found)
    }
    borders = {
        tier.start
        for value in found.values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }
    return [_price(found, above) for above in sorted({0, *borders})]


def _price(found: Mapping[str, Found], above: int) -> Price:
    """What the library leaves out costs what its kind does: a cached token, and one that is
    written to a cache, as any other."""
    each = {name: _token(found.get(key), above) for name, key in _FIELDS.items()}
    plain = each["input"]
    written = _first(each["cache_write"], plain)
    kinds = {kind: _token(found.get(field), above) for kind, field in _KINDS.items()}
    searches = found.get(_SEARCHES)
    return Price(
        input=plain,
        output=each["output"],
        cached_input=_first(each["cached_input"], plain),
        cache_write=written,
        cache_write_1h=_first(each["cache_write_1h"], written),
        kinds={kind: price for kind, price in kinds.items() if price is not None},
        web_search=whole(searches * DOLLAR / 1_000) if isinstance(searches, Decimal) else None,
        above=above,
    )


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


def _token(price: Found | None, above: int) -> int | None:
    """Picodollars a token, of requests of more than `above` input tokens."""
    if price is None:
        return None
    if isinstance(price, TieredPrices):
        starts = [tier.price for tier in price.tiers if tier.start <= above]
        price = starts[-1] if starts else price.base
    return whole(price * PER_MILLION_TOKENS)
