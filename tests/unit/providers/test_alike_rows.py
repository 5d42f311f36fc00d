"""Rows that fit a mould come to what they would come to if each was read by itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.shapes import PROVIDERS
from functions.batch.errors import InvalidRow
from functions.batch.model import CANARY_ROWS
from functions.batch.ports import Dialect
from functions.batch.reading import legs as legs_module
from functions.batch.reading import mould as mould_module
from functions.batch.reading import tokens as tokens_module
from functions.batch.reading.looking import decode, dialect_of
from functions.batch.reading.moulding import mould_of
from functions.batch.reading.moulds import Moulds
from functions.batch.rows import Caps, Weight
from functions.batch.streams.fresh import pack_fresh
from functions.batch.streams.lines import pack_row, unpack_row
from functions.batch.work import RangeResult
from functions.handlers.provider_wiring import DIALECTS
from functions.providers.fields import MOST_MODEL
from tests.support.alike_lines import BY_NAME, KINDS, MODELS, MORE, ROOMY, TEXTS, line_of
from tests.support.driver import World

GAPS = st.sampled_from(TEXTS)


@st.composite
def some_lines(draw: st.DrawFn) -> bytes:
    provider = draw(st.sampled_from(KINDS))
    more = draw(st.sampled_from(MORE[provider]))
    line = line_of(provider, draw(GAPS), draw(GAPS), draw(GAPS), more)
    return draw(
        st.sampled_from([line, line, line, line + b"\r", line + b" ", b"", b"{}", line[:-1]])
    )


@st.composite
def alike_lines(draw: st.DrawFn) -> list[bytes]:
    """Usual ones, but for some of their texts."""
    provider = draw(st.sampled_from(KINDS))
    more = draw(st.sampled_from(MORE[provider]))
    fixed = draw(st.sampled_from([b"", b"Read.", b"user"]))
    model = draw(st.sampled_from([MODELS[provider], MODELS[provider], b"m" * 300]))
    lines: list[bytes] = []
    for number in range(draw(st.integers(2, 12))):
        texts = [b"id-%d" % number, fixed or b"first %d" % number, b"second %d" % number]
        odd = draw(st.dictionaries(st.integers(0, 2), GAPS, max_size=1 if number > 1 else 0))
        for place, text in odd.items():
            texts[place] = text
        lines.append(line_of(provider, *texts, more).replace(MODELS[provider], model))
    return lines


FILES = st.lists(st.one_of(alike_lines(), st.lists(some_lines(), max_size=4)), max_size=6).map(
    lambda parts: [line for part in parts for line in part]
)


@pytest.fixture
def weightless() -> Iterator[None]:
    """Texts without tokens, so that only what is around them is weighed: those of many rows are
    weighed as one, and each row gets its share of that."""
    with patch.object(tokens_module, "adler32", lambda *_: 0):
        yield


def without_places(packed: bytes) -> bytes:
    """Rows as if it was not known where their ids stand, which is found to be true."""
    rows = [unpack_row(line) for line in packed.splitlines()]
    for _, transit, line in rows:
        if transit.id_length:
            dialect = dialect_of(decode(line), DIALECTS)
            assert dialect is not None
            found = line[transit.id_at :][: transit.id_length]
            assert found == dialect.custom_id(line)
            transit.id_at = transit.id_length = 0
    return b"".join(pack_row(key, line, transit) for key, transit, line in rows)


def sharded(data: bytes, caps: Caps, split_bytes: int) -> dict[str, bytes]:
    world = World(dialects=DIALECTS, providers={}, caps=caps, split_bytes=split_bytes)
    job_id = world.drop("a.jsonl", data)
    made = world.plan(job_id)
    if made.next == "shard":
        for piece in msgspec.json.decode(world.work.get(made.manifest)):
            world.shard(job_id, piece)
    return {
        key: without_places(stored) if "/rows/" in key else stored
        for key, stored in world.work.stored.items()
    }


@pytest.mark.usefixtures("weightless")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=FILES,
    rows=st.sampled_from([0, 1, 3]),
    size=st.sampled_from([0, 600]),
    split=st.sampled_from([1 << 29, 900]),
    block=st.sampled_from([1, 700, 1 << 18]),
    reach=st.sampled_from([1, 4_096]),
)
def test_alike_or_not(
    lines: list[bytes], rows: int, size: int, split: int, block: int, reach: int
) -> None:
    data, caps = b"\n".join(lines), Caps(rows=rows, bytes=size)
    with (
        patch.object(legs_module, "LOOK", block),
        patch.object(mould_module, "_LEAST_REACH", reach),
    ):
        found = sharded(data, caps, split)
    with patch.object(Moulds, "take", lambda *_: None):
        assert found == sharded(data, caps, split)


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize("most", [0, 1, 2, 99, 100, 101, 130])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("first", [1, 40])
def test_a_head_ends_and_a_batch_is_full_within_alike_rows(
    provider: str, most: int, first: int
) -> None:
    """After the canary's rows, and after as many as the deployment lets a batch have."""
    texts = [b"text %d" % n * (first if n < 3 else 1) for n in range(270)]
    lines = [line_of(provider, b"id-%d" % n, b"Read.", text, b"") for n, text in enumerate(texts)]
    lines[150:150] = [line_of(provider, b"id", b"Read.", b"long " * 200, b"")] * 3
    data = b"\n".join(lines)
    found = sharded(data, Caps(rows=most), 1 << 29)
    with patch.object(Moulds, "take", lambda *_: None):
        assert found == sharded(data, Caps(rows=most), 1 << 29)
    (result,) = [value for key, value in found.items() if "/ranges/" in key]
    sources = msgspec.json.decode(result, type=RangeResult).sources
    starts = range(0, 273, most or 273)
    assert [int(source.first[7:]) for source in sources] == [*starts]
    assert [source.head and int(source.head.last[7:]) for source in sources] == [
        start + CANARY_ROWS - 1 if min(most or 273, 273 - start) >= CANARY_ROWS else None
        for start in starts
    ]


def read_whole(dialect: Dialect, number: int, line: bytes) -> tuple[bytes, Weight] | None:
    try:
        row = dialect.parse(line, decode(line))
    except InvalidRow:
        return None
    packed = pack_fresh(f"000000-{number:09d}", line, row.weight)
    return without_places(packed), row.weight


NO_STRING = b"\1"
"""Stands for a quote that is missing."""


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize("provider", KINDS)
def test_no_two_texts_make_up_for_each_other(provider: str) -> None:
    """What is read together is told apart: every pair of texts, sound or not, at any two places of
    rows that follow each other."""
    dialect = BY_NAME[provider]

    def rows_with(odd: dict[int, bytes]) -> list[bytes]:
        texts = [b"id-7", b"first 7", b"second 7", b"id-8", b"first 8", b"second 8"]
        for place, text in odd.items():
            texts[place] = text
        rows = [line_of(provider, *texts[at : at + 3], b"") for at in (0, 3)]
        return [row.replace(b'"%b"' % NO_STRING, b'"') for row in rows]

    mould = mould_of(*rows_with({}), dialect, "000000-")
    assert mould is not None
    known: dict[tuple[int, bytes], tuple[bytes, Weight] | None] = {}
    for places in combinations(range(6), 2):
        for texts in product([*TEXTS, NO_STRING], repeat=2):
            rows = rows_with(dict(zip(places, texts, strict=True)))
            run = mould.take(b"\n".join(rows), 0, 7, ROOMY)
            sums, packed = Weight(), b""
            for number, row in enumerate(rows[: run.rows if run else 0], 7):
                if (number, row) not in known:
                    known[number, row] = read_whole(dialect, number, row)
                whole = known[number, row]
                assert whole is not None, rows
                packed += whole[0]
                sums.add(whole[1])
            if run is not None:
                assert (without_places(b"".join(run.packed)), run.weight) == (packed, sums)


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize(
    ("provider", "more"), [(provider, more) for provider in KINDS for more in MORE[provider]]
)
def test_a_mould_weighs_as_the_longer_way(provider: str, more: bytes) -> None:
    """Whatever is said beside the texts."""
    dialect = BY_NAME[provider]
    rows = [
        line_of(provider, b"id-%d" % at, b"first %d" % at, b"second %d" % at, more)
        for at in range(4)
    ]
    mould = mould_of(rows[1], rows[0], dialect, "000000-")
    if mould is None:
        assert read_whole(dialect, 1, rows[1]) is None or "no chat" in provider
        return
    run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
    assert run is not None
    sums, packed = Weight(), b""
    for number, row in enumerate(rows):
        whole = read_whole(dialect, number, row)
        assert whole is not None
        packed += whole[0]
        sums.add(whole[1])
    assert (without_places(b"".join(run.packed)), run.weight) == (packed, sums)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("longer", [0, 1])
def test_no_mould_has_a_name_that_no_model_has(provider: str, longer: int) -> None:
    name = b"m" * (MOST_MODEL + longer)
    rows = [
        line_of(provider, b"id-%d" % at, b"a", b"b %d" % at, b"").replace(MODELS[provider], name)
        for at in range(2)
    ]
    assert (mould_of(*rows, BY_NAME[provider], "000000-") is None) == bool(longer)
    assert (read_whole(BY_NAME[provider], 0, rows[0]) is None) == bool(longer)


@pytest.mark.parametrize("custom_id", [b"5", b"0.5", b"false", b"[]", b"{}"])
def test_an_id_that_is_no_string_is_not_passed_over_for_another(custom_id: bytes) -> None:
    rows = [
        line_of("vertex", b"id-%d" % at, b"Read.", b"text %d" % at, b"")[:-1]
        + b',"custom_id":%b}' % custom_id
        for at in range(2)
    ]
    assert BY_NAME["vertex"].custom_id(rows[0]) == custom_id
    assert mould_of(rows[1], rows[0], BY_NAME["vertex"], "000000-") is None
