"""What the summary tells of a prompt cache, held to the books of the provider itself."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from functions.batch.money import DOLLAR
from functions.batch.pricing import Meter, Price, Rates
from functions.batch.rows import Answer, Usage
from functions.recipes.caching import least_tokens
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.money_twins import MemoryPrices
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes

PREFIX = 5_000
INPUT, CACHED, WRITTEN, OUTPUT = 1_000_000, 100_000, 2_000_000, 4_000_000
BATCH = Price(input=INPUT, cached_input=CACHED, cache_write_1h=WRITTEN, output=OUTPUT)
LISTED = Price(
    input=2 * INPUT, cached_input=2 * CACHED, cache_write_1h=2 * WRITTEN, output=2 * OUTPUT
)
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-5-mini",
    "system": "You sort. " * 200,
    "prompt": "{{ text }}",
    "cache": "auto",
}


def summary_of(rows: list[Any], prefix: int, *, priced: bool = True, **more: Any) -> dict[str, Any]:
    twin = TwinProvider("openai")
    twin.prefix = prefix
    rates = Rates(listed=[LISTED], batch=[BATCH], source="library")
    world = World(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        recipes=TwinRecipes(),
        prices=MemoryPrices({"openai/gpt-5-mini": rates} if priced else {}),
        on_wait=lambda _: twin.tick(),
    )
    if more.pop("recipe", True):
        world.inputs.others["recipe.json"] = json.dumps({**RECIPE, **more}).encode()
    return world.run(world.drop("t.jsonl", jsonl(rows)))


def data(count: int) -> list[Any]:
    return [{"text": f"row {number}"} for number in range(count)]


def test_what_a_cache_saved_is_told() -> None:
    cache = summary_of(data(10), PREFIX)["cache"]
    read, texts = 9 * PREFIX, 10 * len("row 0")
    saved = read * (INPUT - CACHED) - PREFIX * (WRITTEN - INPUT)
    assert cache == {
        "cached_input_tokens": read,
        "cache_write_tokens": PREFIX,
        "hit_rate": round(read / (10 * PREFIX + texts), 4),
        "saved_usd": saved / DOLLAR,
        "note": None,
    }


def test_a_write_that_nobody_read_cost_more_than_it_saved() -> None:
    cache = summary_of(data(1), PREFIX)["cache"]
    assert cache["hit_rate"] == 0
    assert cache["saved_usd"] == -PREFIX * (WRITTEN - INPUT) / DOLLAR


def test_what_was_saved_is_null_where_no_price_is_known() -> None:
    cache = summary_of(data(2), PREFIX, priced=False)["cache"]
    assert cache["cached_input_tokens"] == PREFIX
    assert cache["saved_usd"] is None


def test_a_prefix_that_is_too_short_is_told() -> None:
    cache = summary_of(data(2), 0)["cache"]
    assert (cache["cached_input_tokens"], cache["hit_rate"], cache["saved_usd"]) == (0, 0, 0)
    assert re.fullmatch(
        r"The beginning that rows share has about [67]\d0 tokens, too few to be cached: "
        r"gpt-5-mini needs 1,024\.",
        cache["note"],
    )


def test_what_the_provider_reports_counts_more_than_the_estimate() -> None:
    assert summary_of(data(2), 900)["cache"]["note"] is None


def test_tools_are_part_of_what_rows_share() -> None:
    tools = [
        {"type": "function", "function": {"name": f"f{n}", "parameters": {}}} for n in range(99)
    ]
    assert summary_of(data(2), 0, params={"tools": tools})["cache"]["note"] is None


def test_a_template_is_shared_by_no_two_rows() -> None:
    cache = summary_of(data(2), 0, system="You sort {{ text }}. " * 200)["cache"]
    assert cache["note"] == "system is a template, so rows share no beginning that could be cached."


def test_a_job_that_sent_nothing_has_no_hit_rate() -> None:
    cache = summary_of([{"text": ""}], 0)["cache"]
    assert (cache["hit_rate"], cache["saved_usd"], cache["note"]) == (None, 0, None)


def test_without_a_recipe_a_cache_is_told_where_one_was_used() -> None:
    rows = [
        {"twin": "openai", "model": "gpt-5-mini", "text": f"row {n}", "custom_id": None}
        for n in range(2)
    ]
    cache = summary_of(rows, PREFIX, recipe=False)["cache"]
    assert cache["cached_input_tokens"] == PREFIX
    assert cache["note"] is None
    assert "cache" not in summary_of(rows, 0, recipe=False)
    assert "cache" not in summary_of(data(2), 0, cache="off")


def test_outside_of_the_batch_the_cache_is_worth_its_list_price() -> None:
    meter = Meter(Rates(listed=[LISTED], batch=[BATCH], source="library"))
    usage = Usage(input_tokens=10, cached_input_tokens=8, at_list=True)
    meter.charge(Answer(id="a", verdict="succeeded", usage=usage))
    assert meter.bill.cache_saved == 8 * 2 * (INPUT - CACHED)


def test_a_cache_of_other_tokens_than_text_is_worth_their_price() -> None:
    price = msgspec.structs.replace(LISTED, kinds={"input_audio": 900, "cached_audio": 90})
    meter = Meter(Rates(listed=[price], batch=[price], source="library"))
    usage = Usage(
        input_tokens=10, cached_input_tokens=8, kinds={"input_audio": 1, "cached_audio": 8}
    )
    meter.charge(Answer(id="a", verdict="succeeded", usage=usage))
    assert meter.bill.cache_saved == 8 * (900 - 90)


@pytest.mark.parametrize(
    ("provider", "model", "least"),
    [
        ("openai", "gpt-5-mini", 1_024),
        ("anthropic", "claude-haiku-4-5", 4_096),
        ("anthropic", "claude-haiku-4-5-20251001", 4_096),
        ("anthropic", "claude-sonnet-4-20250514", 1_024),
        ("anthropic", "claude-sonnet-4-0", 1_024),
        ("anthropic", "claude-3-5-haiku-latest", 2_048),
        ("anthropic", "claude-opus-4-7", 2_048),
        ("anthropic", "claude-opus-5-5", 512),
        ("anthropic", "claude-opus-9", None),
        ("vertex", "gemini-2.5-flash", 2_048),
        ("vertex", "publishers/google/models/gemini-3-flash-preview", 4_096),
        ("vertex", "gemma", None),
    ],
)
def test_the_fewest_tokens_that_a_model_caches(
    provider: str, model: str, least: int | None
) -> None:
    assert least_tokens(provider, model) == least
