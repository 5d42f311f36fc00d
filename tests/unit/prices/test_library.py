"""A price that is used is the library's, for every model that it has."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as LibraryUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from functions.batch.money import DOLLAR
from functions.batch.pricing import cost
from functions.batch.rows import Usage
from functions.prices.library import BATCH, PROVIDERS, PriceLibrary

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SIZES = (1_000, 150_000, 250_000, 300_000)


def models() -> list[tuple[str, str]]:
    return [
        (ours, model.id)
        for ours, theirs in PROVIDERS.items()
        for provider in get_snapshot().providers
        if provider.id == theirs
        for model in provider.models
        if PriceLibrary(NOW).rates(ours, model.id) is not None
    ]


def asked(provider: str, model: str, usage: LibraryUsage, context: dict[str, str] | None) -> int:
    found = calc_price(
        usage,
        model,
        provider_id=PROVIDERS[provider],
        genai_request_timestamp=NOW,
        price_context=context,
    )
    return int((found.total_price * DOLLAR).to_integral_value())


@pytest.mark.parametrize(("provider", "model"), models(), ids=lambda part: part)
def test_what_tokens_cost_is_what_the_library_says(provider: str, model: str) -> None:
    rates = PriceLibrary(NOW).rates(provider, model)
    assert rates is not None
    made = 0 if rates.listed[0].output is None else 700
    for size in SIZES:
        usage = Usage(input_tokens=size, output_tokens=made)
        theirs = LibraryUsage(input_tokens=size, output_tokens=made)
        assert cost(usage, rates.listed) == asked(provider, model, theirs, None)
        if rates.source == "library":
            assert cost(usage, rates.batch) == asked(provider, model, theirs, BATCH)
        else:
            listed = cost(usage, rates.listed)
            assert listed is not None
            assert cost(usage, rates.batch) == -(-listed // 2)


def test_cached_tokens_and_both_kinds_of_cache_writes() -> None:
    rates = PriceLibrary(NOW).rates("anthropic", "claude-haiku-4-5")
    assert rates is not None
    usage = Usage(
        input_tokens=1_000,
        cached_input_tokens=400,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        output_tokens=50,
        web_searches=3,
    )
    theirs = LibraryUsage(
        input_tokens=1_000,
        cache_read_tokens=400,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        output_tokens=50,
        web_searches=3,
    )
    for context, prices in ((None, rates.listed), (BATCH, rates.batch)):
        assert cost(usage, prices) == asked("anthropic", "claude-haiku-4-5", theirs, context)


def test_googles_cached_tokens_keep_their_price_in_a_batch() -> None:
    rates = PriceLibrary(NOW).rates("vertex", "gemini-2.5-flash")
    assert rates is not None
    assert rates.source == "library"
    assert rates.batch[0].cached_input == rates.listed[0].cached_input == 30_000


def test_tokens_that_are_not_text_have_their_own_price() -> None:
    rates = PriceLibrary(NOW).rates("vertex", "gemini-2.5-flash")
    assert rates is not None
    usage = Usage(input_tokens=100, kinds={"input_audio": 60})
    theirs = LibraryUsage(input_tokens=100, input_audio_tokens=60)
    assert cost(usage, rates.batch) == asked("vertex", "gemini-2.5-flash", theirs, BATCH)


def test_tokens_that_are_not_text_have_their_own_price_from_a_cache_too() -> None:
    rates = PriceLibrary(NOW).rates("vertex", "gemini-2.5-flash")
    assert rates is not None
    usage = Usage(
        input_tokens=100,
        cached_input_tokens=50,
        kinds={"input_audio": 20, "cached_audio": 40},
    )
    theirs = LibraryUsage(
        input_tokens=100, cache_read_tokens=50, input_audio_tokens=60, cache_audio_read_tokens=40
    )
    for context, prices in ((None, rates.listed), (BATCH, rates.batch)):
        assert cost(usage, prices) == asked("vertex", "gemini-2.5-flash", theirs, context)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "text-embedding-3-small"),
        ("anthropic", "claude-opus-4-1"),
        ("vertex", "gemini-embedding-001"),
    ],
)
def test_where_the_library_has_no_batch_price_half_of_list_is_taken(
    provider: str, model: str
) -> None:
    """The library itself gives the list price then, and does not say so."""
    rates = PriceLibrary(NOW).rates(provider, model)
    assert rates is not None
    assert rates.source == "derived_half"
    plain = LibraryUsage(input_tokens=1_000_000)
    assert asked(provider, model, plain, BATCH) == asked(provider, model, plain, None)
    assert rates.listed[0].input == 2 * (rates.batch[0].input or 0) > 0


def test_a_batch_price_holds_from_its_day() -> None:
    early = PriceLibrary(datetime(2020, 1, 1, tzinfo=UTC)).rates("openai", "gpt-5-mini")
    assert early is not None
    variants = get_snapshot().find_provider_model("gpt-5-mini", None, "openai", None)[1]
    begins = [each.constraint for each in variants.price_variants or () if each.when == BATCH]
    assert (early.source == "derived_half") == (begins[0] is not None)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("openai", "gpt-5-minix"),
        ("openai", "tts-1"),
        ("vertex", "gemma-3"),
        ("vertex", "text-embedding-005"),
        ("elsewhere", "gpt-5-mini"),
    ],
)
def test_a_model_that_nobody_knows_the_price_of_has_none(provider: str, model: str) -> None:
    assert PriceLibrary(NOW).rates(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model", "same"),
    [
        ("openai", "gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("vertex", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("vertex", "gemini-2.5-flash-001", "gemini-2.5-flash"),
    ],
)
def test_versions_and_paths_are_known(provider: str, model: str, same: str) -> None:
    library = PriceLibrary(NOW)
    assert library.rates(provider, model) == library.rates(provider, same) is not None


def test_moderations_are_free() -> None:
    rates = PriceLibrary(NOW).rates("openai", "omni-moderation-latest")
    assert rates is not None
    assert cost(Usage(input_tokens=9), rates.batch) == 0


def test_prices_are_whole_picodollars() -> None:
    """None is rounded: the finest price has six places, in dollars per million tokens."""
    for provider, model in models():
        found = get_snapshot().find_provider_model(model, None, PROVIDERS[provider], None)[1]
        for price in vars(found.get_prices(NOW)).values():
            if isinstance(price, Decimal):
                assert (price * 1_000_000) % 1 == 0, model
