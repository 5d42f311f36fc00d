from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from functions.batch.pricing import Meter, Price, Priced, Rates, cost, half_of, plus
from functions.batch.rows import Answer, RowError, Usage
from functions.batch.spending.overrides import KEYS, overridden, problem_of
from tests.support.money_twins import rates_of

PRICE = Price(
    input=300_000,
    output=1_000_000,
    cached_input=30_000,
    cache_write=375_000,
    cache_write_1h=600_000,
    kinds={"input_audio": 900_000, "cached_audio": 90_000, "output_image": 40_000_000},
    web_search=10_000_000_000,
)


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(), 0),
        (Usage(input_tokens=10, output_tokens=3), 6_000_000),
        (Usage(input_tokens=10, cached_input_tokens=8), 2 * 300_000 + 8 * 30_000),
        (
            Usage(input_tokens=10, cache_write_tokens=7, cache_write_1h_tokens=3),
            3 * 300_000 + 4 * 375_000 + 3 * 600_000,
        ),
        (Usage(input_tokens=10, kinds={"input_audio": 4}), 6 * 300_000 + 4 * 900_000),
        (Usage(input_tokens=10, kinds={"input_document": 4}), 10 * 300_000),
        (
            Usage(
                input_tokens=10,
                cached_input_tokens=6,
                kinds={"input_audio": 3, "cached_audio": 4},
            ),
            1 * 300_000 + 2 * 30_000 + 3 * 900_000 + 4 * 90_000,
        ),
        (
            Usage(input_tokens=10, cached_input_tokens=8, kinds={"input_audio": 10}),
            2 * 900_000 + 8 * 30_000,
        ),
        (Usage(output_tokens=9, kinds={"output_image": 9}), 9 * 40_000_000),
        (Usage(web_searches=2), 20_000_000_000),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, amount: int) -> None:
    assert cost(usage, [PRICE]) == amount


def test_a_tier_is_the_price_of_all_tokens() -> None:
    prices = [Price(input=1, output=10), Price(input=2, output=15, above=200)]
    assert cost(Usage(input_tokens=200, output_tokens=1), prices) == 210
    assert cost(Usage(input_tokens=201, output_tokens=1), prices) == 417


@pytest.mark.parametrize(
    "usage",
    [
        Usage(output_tokens=1),
        Usage(input_tokens=1, cached_input_tokens=1),
        Usage(input_tokens=1, cache_write_tokens=1),
        Usage(input_tokens=1, cache_write_tokens=1, cache_write_1h_tokens=1),
        Usage(web_searches=1),
    ],
)
def test_a_price_that_is_missing_makes_the_cost_unknown(usage: Usage) -> None:
    assert cost(usage, [Price(input=1, output=None)]) is None


def test_a_price_that_is_not_needed_may_be_missing() -> None:
    assert cost(Usage(input_tokens=7), [Price(input=2, output=None)]) == 14


def test_half_is_rounded_up_and_searches_are_not_halved() -> None:
    half = half_of(PRICE, stacks=True)
    assert (half.input, half.output, half.cached_input) == (150_000, 500_000, 15_000)
    assert (half.cache_write, half.cache_write_1h) == (187_500, 300_000)
    assert half.kinds == {
        "input_audio": 450_000,
        "cached_audio": 45_000,
        "output_image": 20_000_000,
    }
    assert half.web_search == PRICE.web_search
    assert half_of(Price(input=3, output=None), stacks=True) == Price(input=2, output=None)


def test_googles_discount_for_cached_tokens_takes_the_place_of_the_batchs() -> None:
    assert half_of(PRICE, stacks=False).cached_input == 30_000
    assert half_of(PRICE, stacks=False).kinds["cached_audio"] == 90_000
    plain = Price(input=100, output=10, cached_input=100)
    assert half_of(plain, stacks=False).cached_input == 50


def said(usage: Usage | None, *, verdict: str = "succeeded") -> Answer:
    error = None if verdict == "succeeded" else RowError(code="c", message="m", retryable=False)
    return Answer(id="r", verdict=verdict, usage=usage, error=error)


def test_a_meter_charges_and_sums() -> None:
    meter = Meter(rates_of(0.3, 1.0))
    usage = Usage(input_tokens=2_000, output_tokens=500, cached_input_tokens=0)
    assert meter.charge(said(usage)) == (550_000_000, 1_100_000_000)
    assert meter.charge(said(usage, verdict="failed")) == (550_000_000, 1_100_000_000)
    assert meter.charge(said(None, verdict="again")) == (0, 0)
    bill = meter.bill
    assert (bill.rows, bill.input_tokens, bill.output_tokens) == (2, 4_000, 1_000)
    assert (bill.actual, bill.listed, bill.unpriced, bill.at_list) == (
        1_100_000_000,
        2_200_000_000,
        0,
        0,
    )
    assert (bill.paid, bill.saved, bill.source) == (1_100_000_000, 1_100_000_000, "library")


def test_an_answer_outside_of_the_batch_is_paid_at_list_and_flagged() -> None:
    meter = Meter(rates_of(0.3, 1.0))
    amount = meter.charge(said(Usage(input_tokens=10, at_list=True)))
    assert amount == (3_000_000, 3_000_000)
    assert (meter.bill.at_list, meter.bill.saved) == (1, 0)


@pytest.mark.parametrize(
    ("rates", "usage"),
    [
        (None, Usage(input_tokens=10)),
        (None, None),
        (rates_of(0.3, 1.0), None),
        (rates_of(0.3), Usage(output_tokens=1)),
    ],
)
def test_what_nobody_knows_the_price_of_is_not_free(
    rates: Rates | None, usage: Usage | None
) -> None:
    meter = Meter(rates)
    assert meter.charge(said(usage)) == (None, None)
    assert (meter.bill.rows, meter.bill.unpriced, meter.bill.actual) == (1, 1, 0)
    assert (meter.bill.paid, meter.bill.in_real_time, meter.bill.saved) == (None, None, None)


@pytest.mark.parametrize(("made", "known"), [(10**11, True), (10**12, False)])
def test_an_answer_that_no_money_could_pay_has_no_price(made: int, *, known: bool) -> None:
    """What is known can be stored as a number of 64 bits."""
    price = Price(input=1, output=37_500_000, cached_input=1)
    meter = Meter(Rates(listed=[price], batch=[price], source="library"))
    priced = meter.priced(Usage(input_tokens=9, cached_input_tokens=1, output_tokens=made))
    assert (priced.actual is not None, priced.listed is not None) == (known, known)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(priced), type=Priced) == priced
    assert meter.plain is not None
    assert (made <= meter.plain.most) == known


def test_a_free_model_needs_no_usage() -> None:
    assert Meter(rates_of(0, 0)).charge(said(None)) == (0, 0)


def test_an_unknown_part_makes_a_sum_unknown() -> None:
    assert (plus(1, 2), plus(None, 2), plus(1, None)) == (3, None, None)


PRICES = {
    "openai/gpt-5-mini": {"input": Decimal("0.3"), "output": Decimal("1.0")},
    "vertex/gemini-x": {"input": Decimal(2), "cached_input": Decimal("0.2")},
    "anthropic/claude-x": {
        "input": Decimal(1),
        "output": Decimal(5),
        "cached_input": Decimal("0.1"),
        "cache_write": Decimal("1.25"),
        "batch_input": Decimal("0.4"),
        "batch_output": Decimal("2"),
        "batch_cache_write_1h": Decimal("0.9"),
    },
}


def test_an_override_gives_list_prices_and_a_batch_costs_half() -> None:
    rates = overridden("openai/gpt-5-mini", PRICES)
    assert rates is not None
    assert rates.source == "override"
    [listed], [batch] = rates.listed, rates.batch
    assert (listed.input, listed.output, listed.cached_input) == (300_000, 1_000_000, 300_000)
    assert (batch.input, batch.output, batch.cached_input) == (150_000, 500_000, 150_000)


def test_an_override_may_name_a_batchs_prices() -> None:
    rates = overridden("anthropic/claude-x", PRICES)
    assert rates is not None
    [listed], [batch] = rates.listed, rates.batch
    assert (batch.input, batch.output, batch.cached_input) == (400_000, 2_000_000, 50_000)
    assert (batch.cache_write, batch.cache_write_1h) == (625_000, 900_000)
    assert (listed.cache_write, listed.cache_write_1h) == (1_250_000, 1_250_000)


def test_an_override_for_google_keeps_the_price_of_cached_tokens() -> None:
    rates = overridden("vertex/gemini-x", PRICES)
    assert rates is not None
    assert (rates.batch[0].input, rates.batch[0].cached_input) == (1_000_000, 200_000)
    assert rates.batch[0].output is None


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("openai/gpt-5-mini-2025-08-07", True),
        ("anthropic/claude-x-20251001", True),
        ("vertex/gemini-x-001", True),
        ("vertex/gemini-x@001", True),
        ("openai/gpt-5-mini-pro", False),
        ("openai/gpt-5", False),
        ("anthropic/gpt-5-mini", False),
    ],
)
def test_an_override_holds_for_dated_versions_and_for_no_other_model(
    model: str, found: bool
) -> None:
    assert (overridden(model, PRICES) is not None) == found


def test_the_first_overrides_count_though_the_others_name_a_version() -> None:
    recipes = {"openai/gpt-5-mini": {"input": Decimal(1)}}
    settings = {"openai/gpt-5-mini-2025-08-07": {"input": Decimal(2)}}
    rates = overridden("openai/gpt-5-mini-2025-08-07", recipes, settings)
    assert rates is not None
    assert rates.listed[0].input == 1_000_000


def test_a_dated_version_may_have_prices_of_its_own() -> None:
    dated = {**PRICES, "openai/gpt-5-mini-2025-08-07": {"input": Decimal(9)}}
    rates = overridden("openai/gpt-5-mini-2025-08-07", dated)
    assert rates is not None
    assert rates.listed[0].input == 9_000_000


def test_what_is_wrong_with_an_override_is_said() -> None:
    assert problem_of(dict.fromkeys(KEYS, 1.0)) is None
    assert "'inptu' is no price" in (problem_of({"inptu": 1.0}) or "")
    assert "input is missing" in (problem_of({"output": 1.0}) or "")


@pytest.mark.parametrize(
    "model",
    ["gemini-x", "publishers/google/models/gemini-x", "models/gemini-x-001", "a/b/gemini-x@002"],
)
def test_a_price_of_a_vertex_model_holds_for_its_path(model: str) -> None:
    assert overridden(f"vertex/{model}", {"vertex/gemini-x": {"input": Decimal(1)}}) is not None


def test_a_path_is_part_of_other_providers_names() -> None:
    assert overridden("openai/acme/gpt-x", {"openai/gpt-x": {"input": Decimal(1)}}) is None
