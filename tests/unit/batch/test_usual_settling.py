"""A row that was sent for the first time and succeeded comes to the same by the shorter way."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch import layout
from functions.batch.collecting import endings
from functions.batch.collecting.addressing import Addressing
from functions.batch.collecting.endings import Ending, KeptAnswer
from functions.batch.collecting.harvesting import Harvest
from functions.batch.collecting.shard_rows import ShardRows
from functions.batch.model import Shard
from functions.batch.pricing import Meter, PlainPrice, Price, PriceList, Rates
from functions.batch.rows import Answer, Group, ReadAnswers, RowError, Usage, UsualAnswer, Weight
from functions.batch.sending.shard_files import WorkRow
from functions.batch.streams import envelope
from functions.batch.streams.fresh import FreshForm, pack_fresh, unpack_fresh
from functions.batch.streams.heads import heads_of
from functions.batch.streams.lines import Transit, pack_row, row_key, unpack_row
from functions.batch.work import ShardManifest, Source
from tests.support.driver import World
from tests.support.twin_provider import TwinDialect, TwinProvider

KEY = "000003-000000017"
LINE = b'{"twin":"twin",\t"model":"m","text":"x","custom_id":"a"}'
_AT = LINE.index(b'"a"')
_FORM = FreshForm(KEY[:7], Weight(rows=1, max_output=300), _AT)
ALIKE = b"".join(_FORM.packed(17, [9], [3], [LINE + b"\n"]))
"""As a mould writes it."""

WEIGHTS = st.builds(
    Weight,
    rows=st.just(1),
    bytes=st.just(5),
    tokens=st.sampled_from([0, 1, 900]),
    max_output=st.sampled_from([0, 300]),
    unbounded=st.sampled_from([0, 1, 3]),
)
assert ALIKE.endswith(b"\t" + LINE + b"\n")
PACKED = st.one_of(
    st.builds(
        lambda weight, route: pack_fresh(KEY, LINE, weight, route),
        WEIGHTS,
        st.sampled_from([None, -1, 2]),
    ),
    st.builds(
        lambda transit: pack_row(KEY, LINE, transit),
        st.builds(
            Transit,
            failures=st.integers(0, 2),
            resends=st.integers(0, 1),
            code=st.sampled_from([None, "x"]),
            cost=st.sampled_from([None, 0, 7]),
            listed=st.sampled_from([None, 0, 7]),
            made=st.booleans(),
            misfits=st.integers(0, 1),
            tokens=st.sampled_from([0, 9]),
        ),
    ),
    st.just(ALIKE),
    st.just(KEY.encode() + b" [1,0,null,null,7,9,true,1]\t" + LINE + b"\n"),
)
HUGE = 10**12
"""The most that is read."""
USAGES = st.builds(
    Usage,
    input_tokens=st.sampled_from([1, 12, 200, 201, 300, HUGE]),
    output_tokens=st.sampled_from([0, 30, HUGE]),
) | st.builds(
    Usage,
    input_tokens=st.sampled_from([0, 12, 300, HUGE]),
    cached_input_tokens=st.sampled_from([0, 0, 5]),
    cache_write_tokens=st.sampled_from([0, 0, 4]),
    output_tokens=st.sampled_from([0, 30]),
    kinds=st.sampled_from([None, None, {"input_audio": 2}]),
    web_searches=st.sampled_from([0, 0, 1]),
    at_list=st.sampled_from([False, False, True]),
)
ANSWERS = st.builds(
    Answer,
    id=st.just(f"r{KEY}-x"),
    verdict=st.sampled_from(["succeeded"] * 7 + ["failed"]),
    response=st.sampled_from([b"{}", b'{"a":"%b %d"}', b'{"a":"%s"}']),
    text=st.sampled_from([b"null", b'"%s"']),
    usage=st.none() | USAGES,
    error=st.sampled_from([None] * 7 + [RowError(code="x", message="y", retryable=False)]),
    cut=st.sampled_from([False] * 7 + [True]),
)
_FREE = Price(input=0, output=0)
_PRICE = Price(input=250, output=2_000, cached_input=25, cache_write=300)
_COSTLY = Price(input=7_500_000, output=37_500_000, cached_input=1, cache_write=1)
_DEAR = Price(input=500, output=3_000, above=200)
RATES: list[Rates | None] = [
    None,
    Rates(listed=[_PRICE], batch=[_DEAR], source="library"),
    Rates(listed=[_PRICE, _DEAR], batch=[_PRICE, _DEAR], source="library"),
    Rates(listed=[_PRICE, _DEAR], batch=[_PRICE], source="library"),
    Rates(listed=[_PRICE], batch=[_PRICE, _DEAR], source="library"),
    Rates(listed=[_COSTLY], batch=[_COSTLY], source="library"),
    Rates(listed=[_PRICE], batch=[Price(input=1, output=None)], source="library"),
    Rates(listed=[Price(input=375, output=3_000)], batch=[_PRICE], source="library"),
    Rates(listed=[Price(input=0, output=7)], batch=[Price(input=0, output=5)], source="library"),
    Rates(listed=[_PRICE], batch=[_FREE], source="library"),
    Rates(listed=[_FREE], batch=[_PRICE], source="library"),
    Rates(listed=[_FREE], batch=[_FREE], source="library"),
]


ONE = Weight(rows=1, bytes=5)
SHARD = Shard(
    job_id="j",
    shard_id="0001",
    round=1,
    provider="twin",
    endpoint="/twin",
    model="m",
    number=1,
    bytes=5,
    rows=1,
    batch_id="b%d",
    complete=True,
)


def custom_id(line: bytes) -> bytes:
    return TwinDialect("twin").custom_id(line)


class Told(Addressing):
    """Answers that were read already, by key."""

    def __init__(self, answers: dict[bytes, Answer]) -> None:
        self._answers = answers

    def answer(self, key: bytes, kept: KeptAnswer | None) -> Answer | None:
        return kept.in_full() if isinstance(kept, Ending) else self._answers[key]


def usual(answer: Answer) -> UsualAnswer | None:
    usage = answer.usage
    if answer.verdict != "succeeded" or answer.error or answer.cut or usage is None:
        return None
    given, made = usage.input_tokens, usage.output_tokens
    plain = given and usage == Usage(input_tokens=given, output_tokens=made)
    return answer.id, answer.response, answer.text, given, made, None if plain else usage


Rows = list[tuple[bytes, Answer]]
ROWS = st.lists(st.tuples(PACKED, ANSWERS), min_size=1, max_size=6)


def settled(rows: Rows, rates: Rates | None, *, shorter: bool) -> Any:
    twin = TwinProvider("twin")
    world = World(dialects=[TwinDialect("twin")], providers={"twin": lambda: twin})
    prices = PriceList(rates={"twin/m": rates})
    world.work.put("j/prices.json", msgspec.json.encode(prices))
    keys = [row_key(3, number) for number in range(len(rows))]
    packed = [
        row.replace(KEY.encode(), key.encode(), 1) for key, (row, _) in zip(keys, rows, strict=True)
    ]
    source = Source(
        key="j/rows", first=keys[0], last=keys[-1], group=Group("twin", "/twin", "m"), weight=ONE
    )
    manifest = ShardManifest(shard_id="0001", sources=[source])
    world.work.put(layout.shard("j", "0001"), msgspec.json.encode(manifest))
    world.work.put("j/rows", b"".join(packed))
    before = {*world.work.stored}
    answers = [answer for _, answer in rows]
    with TemporaryDirectory() as directory:
        collector = world.collector("twin")
        harvest = Harvest(
            SHARD,
            Path(directory),
            None,
            Told({key.encode(): answer for key, answer in zip(keys, answers, strict=True)}),
            ShardRows(SHARD, world.work),
            objects=collector.objects,
            dialect=collector.dialect,
            fitting=collector.fitting,
            max_rounds=collector.max_rounds,
            cancelled=False,
        )
        packed = [row[:-1] for row in packed]
        if shorter:
            said = [usual(answer) for answer in answers]
            read = ReadAnswers.of([each for each in said if each is not None], [])
            made = iter(harvest.endings.of(read))
            kept = [b"the answer" if each is None else next(made) for each in said]
            harvest.settle_all(heads_of(packed, custom_id), kept)
        else:
            for place, (row, answer) in enumerate(zip(packed, answers, strict=True)):
                harvest.settle(place, WorkRow(*unpack_row(row), row), answer)
        collected = harvest.finish()
        stored = {key: data for key, data in world.work.stored.items() if key not in before}
        return collected, harvest.lesson, stored


@pytest.mark.parametrize("rates", RATES)
@settings(max_examples=50)
@given(rows=ROWS, unfolded=st.sampled_from([0, 1 << 40]))
def test_either_way(rates: Rates | None, rows: Rows, unfolded: int) -> None:
    longer = settled(rows, rates, shorter=False)
    with patch.object(endings, "_MOST_UNFOLDED", unfolded):
        assert settled(rows, rates, shorter=True) == longer


TEXTS = [b'"a"', b'"b"', b'"bc"', b"null", b'"not in it"', b'"a"']


@pytest.mark.parametrize("unfolded", [0, 1 << 40])
def test_texts_are_held_once_where_there_would_be_too_many(unfolded: int) -> None:
    """Wherever they stand in their responses, if they do."""
    responses = [
        b'{"text":%b,"pad":%d}' % (b"1" if text.startswith(b'"not') else text, 10**number)
        for number, text in enumerate(TEXTS)
    ]
    responses[3] = b'{"longer":"","text":null}'
    said = [
        ("", response, text, 9, 2, None) for response, text in zip(responses, TEXTS, strict=True)
    ]
    with patch.object(endings, "_MOST_UNFOLDED", unfolded):
        made = endings.Endings(SHARD, Meter(None)).of(ReadAnswers.of(said, []))
    full = [each.in_full() for each in made]
    assert [(each.response, each.text) for each in full] == [*zip(responses, TEXTS, strict=True)]
    whole = [each.whole for each in made]
    assert whole == [bool(unfolded) or text.startswith(b'"not') for text in TEXTS]
    assert [endings.folded(each).in_full() for each in made] == full


def test_costs_that_were_said_long_ago_are_forgotten() -> None:
    price = PlainPrice(250, 2_000, 375, 3_000, 9)
    with patch.object(envelope, "_MOST_COSTS", 2):
        costs = envelope.Costs(price)
        for cost, said in [(1_000, b"1"), (2_000, b"2"), (6_000, b"6"), (1_000, b"1")]:
            listed = b"0.00000000%b" % {b"1": b"15", b"2": b"3", b"6": b"9"}[said]
            assert costs[cost] == b'"cost_usd":0.00000000%b,"list_cost_usd":%b' % (said, listed)
            assert len(costs) <= 2


@pytest.mark.parametrize("tokens", [1, 900])
def test_what_was_never_sent_is_told_from_the_rest(tokens: int) -> None:
    packed = pack_fresh(KEY, LINE, Weight(rows=1, tokens=tokens, max_output=3, unbounded=2))[:-1]
    found = unpack_fresh(packed)
    assert found is not None
    row, at = found
    _, transit, line = unpack_row(packed)
    assert packed[at:] == line
    assert (row.tokens, row.max_output, row.unbounded, row.id_length) == (tokens, 3, 2, 0)
    assert (transit.tokens, transit.max_output, transit.unbounded) == (tokens, 3, 2)


def test_where_an_id_stands_is_kept() -> None:
    found = unpack_fresh(ALIKE[:-1])
    assert found is not None
    row, at = found
    begin = at + row.id_at
    assert ALIKE[begin : begin + row.id_length] == b'"a"'
    _, transit, line = unpack_row(ALIKE[:-1])
    assert line == LINE
    assert (transit.tokens, transit.id_at, transit.id_length) == (9, row.id_at, 3)
