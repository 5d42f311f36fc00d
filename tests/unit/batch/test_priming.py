"""One row writes the cache before the others are sent: when, and what becomes of the others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from functions.batch.money import Bill, Estimate
from functions.batch.pricing import Price, PriceList, Rates
from functions.batch.recipe import SharedPrefix, StoredRecipe
from functions.batch.rows import Caps, Group, Limits, Weight
from functions.batch.sending import priming
from functions.batch.sending.reconcile import pack
from functions.batch.spending import canary
from functions.batch.work import Collected, Source
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.money_twins import MemoryPrices
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import LongPrefixes

TOKENS = 20_000
BATCH = Price(input=500_000, output=2_500_000, cached_input=50_000, cache_write_1h=1_000_000)
RATES = Rates(listed=[BATCH], batch=[BATCH], source="library")
RECIPE: dict[str, Any] = {
    "provider": "openai",
    "model": "small",
    "id": "id",
    "system": "You sort. " * 200,
    "prompt": "{{ text }}",
    "cache": "auto",
}
ROWS = 60
ASKED = "waits for approval"


@pytest.fixture
def twin() -> TwinProvider:
    made = TwinProvider("openai")
    made.prefix = TOKENS
    return made


@pytest.fixture
def world(twin: TwinProvider) -> World:
    return World(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        recipes=LongPrefixes(),
        prices=MemoryPrices({f"openai/{model}": RATES for model in ("small", "large")}),
        on_wait=lambda _: twin.tick(),
    )


def drop(world: World, count: int = ROWS, text: str = "text", **more: Any) -> str:
    world.inputs.others["recipe.json"] = json.dumps({**RECIPE, **more}).encode()
    return world.drop("t.jsonl", jsonl([{"id": n, "text": f"{text} {n}"} for n in range(count)]))


def sent(world: World, job_id: str) -> list[tuple[str, str, int, bool]]:
    """Of each batch its round, its model and its rows, and whether the provider heard of it."""
    return [
        (each.shard_id[:2], each.model, each.rows, each.batch_id is not None)
        for each in world.ledger.shards(job_id)
    ]


ALONE = [("01", "small", 1, True), ("02", "small", ROWS - 1, True)]
TOGETHER = [("01", "small", ROWS, True)]


def test_one_row_goes_first_and_its_answer_counts(world: World, twin: TwinProvider) -> None:
    job_id = drop(world)
    summary = world.run(job_id)
    assert (summary["status"], summary["rounds"]) == ("succeeded", 2)
    assert sent(world, job_id) == ALONE
    results = world.result_lines(job_id)
    assert [each["text"] for each in results] == [f"echo text {n}" for n in range(ROWS)]
    assert [each["usage"]["cache_write_tokens"] for each in results] == [TOKENS] + [0] * (ROWS - 1)
    assert set(twin.sent.values()) == {1}
    assert not [subject for subject, _ in world.alerts.sent if ASKED in subject]


@pytest.mark.parametrize(
    ("recipes", "more"),
    [
        (LongPrefixes(), {"cache": "off"}),
        (LongPrefixes(), {"system": "You sort {{ text }}."}),
        (LongPrefixes(tokens=1_000), {}),
        (LongPrefixes(kept_seconds=600), {}),
    ],
    ids=["no cache", "a template", "too short", "kept for minutes"],
)
def test_where_nothing_can_be_read_all_rows_go_at_once(
    world: World, recipes: LongPrefixes, more: dict[str, Any]
) -> None:
    world.recipes = recipes
    job_id = drop(world, **more)
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == TOGETHER


def test_without_a_price_nobody_knows_what_it_saves(world: World) -> None:
    world.prices.table.clear()
    job_id = drop(world)
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == TOGETHER


def test_a_few_rows_are_not_worth_a_batch_of_their_own(world: World) -> None:
    job_id = drop(world, 20)  # two of them would miss, at 2 cents each
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == [("01", "small", 20, True)]


@pytest.mark.parametrize(
    ("rows", "price", "dollars"),
    [
        (1_000, BATCH, 100 * 0.019),
        (1, BATCH, 0),
        (2, BATCH, 0.019),
        (1_000, msgspec.structs.replace(BATCH, cache_write_1h=None), 0),
        (1_000, msgspec.structs.replace(BATCH, cached_input=None), 0),
        (1_000, msgspec.structs.replace(BATCH, cache_write_1h=50_000), 0),
    ],
)
def test_what_it_saves_is_a_write_less_a_read_for_a_tenth_of_the_rows(
    rows: int, price: Price, dollars: float
) -> None:
    prefix = SharedPrefix(tokens=TOKENS, least={"m": TOKENS}, kept_seconds=3_600)
    rates = msgspec.structs.replace(RATES, batch=[price])
    group = Group("p", "e", "m")
    assert priming.saved(prefix, group, rows, rates) == round(dollars * 10**12)
    short = msgspec.structs.replace(prefix, least={"m": TOKENS + 1})
    assert priming.saved(short, group, rows, rates) == 0


def test_each_model_has_a_cache_of_its_own_and_the_others_wait(world: World) -> None:
    """A model with too few rows waits as well: it would keep the cache waiting otherwise."""
    routes = [
        {"when": "id % 2 == 1", "model": "large"},
        {"when": "id == 4", "model": "tiny"},
    ]
    world.prices.table["openai/tiny"] = RATES
    job_id = drop(world, 80, routes=routes)
    assert world.run(job_id)["status"] == "succeeded"
    assert sorted(sent(world, job_id)) == [
        ("01", "large", 1, True),
        ("01", "small", 1, True),
        ("02", "large", 39, True),
        ("02", "small", 38, True),
        ("02", "tiny", 1, True),
    ]


def test_rows_that_interleave_lie_together_by_model(world: World) -> None:
    routes = [{"when": "id % 2 == 1", "model": "large"}]
    world.caps = Caps(rows=10)
    job_id = drop(world, 80, routes=routes)
    assert world.run(job_id)["status"] == "succeeded"
    for each in world.ledger.shards(job_id):
        assert each.model in ("small", "large")
    places = [
        [int(line["custom_id"]) for line in world.result_lines(job_id) if line["batch_id"] == batch]
        for batch in {each.batch_id for each in world.ledger.shards(job_id)}
    ]
    for held in places:
        assert held == sorted(held)
        assert len({place % 2 for place in held}) == 1
        assert max(held) - min(held) == 2 * (len(held) - 1), "no row of the model lies elsewhere"


def test_a_row_that_fails_asks_nobody(world: World, twin: TwinProvider) -> None:
    world.inputs.others["recipe.json"] = json.dumps(RECIPE).encode()
    rows = [{"id": n, "text": f"bad {n}" if n == 0 else f"text {n}"} for n in range(ROWS)]
    job_id = world.drop("t.jsonl", jsonl(rows))
    summary = world.run(job_id)
    assert summary["rows"] == {"total": ROWS, "succeeded": ROWS - 1, "failed": 1, "invalid": 0}
    assert sent(world, job_id) == ALONE
    assert not [subject for subject, _ in world.alerts.sent if ASKED in subject]


def test_a_row_that_fails_for_now_goes_again_with_the_others(
    world: World, twin: TwinProvider
) -> None:
    twin.failing = {"text 0": 2}
    job_id = drop(world)
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == [
        ("01", "small", 1, True),
        ("02", "small", ROWS, True),
        ("03", "small", 1, True),
    ]
    assert (twin.sent["text 0"], twin.billed["text 0"]) == (3, 1)


def test_a_first_row_whose_workflow_broke_is_waited_for(world: World) -> None:
    job_id = begun(world)
    opened = world.open_round(job_id, 2)
    assert [run.name for run in opened.shards] == [f"{job_id}-01-00001-2"]
    world.run_shard(job_id, "openai", "01-00001")
    opened = world.open_round(job_id, 3)
    assert [run.shard_id for run in opened.shards] == ["03-00001"]
    assert world.ledger.shard(job_id, "03-00001").rows == ROWS - 1


def begun(world: World) -> str:
    job_id = drop(world)
    assert world.plan(job_id).next == "shard"
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert world.admit(job_id) == "start"
    world.open_round(job_id, 1)
    return job_id


def test_a_round_that_is_opened_twice_is_the_same(world: World) -> None:
    job_id = begun(world)
    world.prices.table.clear()
    assert [run.shard_id for run in world.open_round(job_id, 1).shards] == ["01-00001"]
    assert world.ledger.shard(job_id, "01-00001").rows == 1


def test_a_cancel_meanwhile_sends_no_more(world: World, twin: TwinProvider) -> None:
    job_id = begun(world)
    world.run_shard(job_id, "openai", "01-00001")
    world.command("Cancel Job", job_id=job_id)
    world.rounds(job_id)
    assert sent(world, job_id) == [("01", "small", 1, True), ("02", "small", ROWS - 1, False)]
    assert sum(twin.sent.values()) == 1


def test_a_canary_writes_the_cache_as_well(world: World, twin: TwinProvider) -> None:
    twin.prefix = 0  # the twins' lines do not hold it, so that the estimate does not know of it
    world.canary_above = ROWS - 1
    job_id = drop(world, 150)
    assert world.run(job_id)["status"] == "succeeded"
    assert [each[:3] for each in sent(world, job_id)] == [("01", "small", 100), ("02", "small", 50)]


def test_without_a_canary_the_cache_is_written_first_all_the_same(world: World) -> None:
    world.canary_above = ROWS - 1
    job_id = drop(world, canary="off")
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == ALONE


def test_a_file_read_in_ranges_has_one_first_row(world: World) -> None:
    world.split_bytes = 500
    job_id = drop(world)
    assert world.run(job_id)["status"] == "succeeded"
    first, *others = sent(world, job_id)
    assert first == ("01", "small", 1, True)
    assert {each[0] for each in others} == {"02"}
    assert [each["custom_id"] for each in world.result_lines(job_id)] == [
        f"{n}" for n in range(ROWS)
    ]


def source(first: int, rows: int, *, opening: bool = True, model: str = "m") -> Source:
    weight = Weight(rows=rows, bytes=10 * rows)
    return Source(
        key=f"{first}",
        first=f"{first:03d}",
        last=f"{first + rows - 1:03d}",
        group=Group("p", "e", model),
        weight=weight,
        opening=Weight(rows=1, bytes=10) if opening else None,
    )


def split(*sources: Source) -> tuple[list[Source], list[Source]]:
    recipe = StoredRecipe(
        key="recipe.json",
        content=msgspec.Raw(b"{}"),
        makes_requests=True,
        provider="p",
        model="m",
        prefix=SharedPrefix(tokens=TOKENS, kept_seconds=3_600),
    )
    return priming.split(sources, recipe, PriceList(rates={"p/m": RATES, "p/other": RATES}))


def test_a_first_source_of_one_row_goes_whole() -> None:
    first, held = split(source(1, ROWS), source(0, 1))
    assert [(each.key, each.take, each.weight.rows) for each in first] == [("0", 0, 1)]
    assert [(each.key, each.skip, each.weight.rows) for each in held] == [("1", 0, ROWS)]


def test_requests_among_the_rows_of_data_share_nothing() -> None:
    other = source(0, ROWS, model="other")
    assert split(other) == ([other], [])
    first, held = split(other, source(ROWS, ROWS))
    assert [each.group.model for each in first] == ["m"]
    assert [each.group.model for each in held] == ["other", "m"]


def test_what_an_earlier_release_read_is_not_cut() -> None:
    old = source(0, ROWS, opening=False)
    assert split(old) == ([old], [])
    first, held = split(old, source(ROWS, 40))
    assert [(each.first, each.take) for each in first] == [(f"{ROWS:03d}", 1)]
    assert [each.weight.rows for each in held] == [ROWS, 39]


def test_what_was_cut_off_is_packed_with_the_rest() -> None:
    _, held = split(source(0, ROWS), source(ROWS, 40))
    limits = Limits(rows=1_000, bytes=1_000, inputs=1_000, output=1_000)
    [shard] = pack(held, 2, lambda _: limits)
    assert (shard.weight.rows, shard.weight.bytes) == (ROWS + 39, 10 * (ROWS + 39))


def test_a_canary_that_wrote_the_cache_is_not_too_dear() -> None:
    """Its rows ran side by side, and each of them paid twice the price of its prefix."""
    came = Collected(
        shard_id="s",
        succeeded=100,
        failed=0,
        parts=[],
        failed_parts=[],
        remainder=[],
        problems={},
        bill=Bill(actual=250, cache_saved=-120),
    )
    assert canary.trouble({"s": came}, {"s": "p/m"}, Estimate(canary=100), []) is None
    came.bill = Bill(actual=250, cache_saved=-40)
    assert canary.trouble({"s": came}, {"s": "p/m"}, Estimate(canary=100), []) is not None
    came.bill = Bill(actual=150, cache_saved=300)
    assert canary.trouble({"s": came}, {"s": "p/m"}, Estimate(canary=100), []) is None
