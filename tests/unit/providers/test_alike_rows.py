"""Rows that fit a mould come to what they would come to if each was read by itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.errors import InvalidRow
from functions.batch.ports import Dialect
from functions.batch.reading import moulds as moulds_module
from functions.batch.reading import tokens as tokens_module
from functions.batch.reading.looking import decode, dialect_of
from functions.batch.reading.moulds import Moulds, mould_of
from functions.batch.reading.shares import FIRST
from functions.batch.rows import Caps, Weight
from functions.batch.streams import lines as lines_module
from functions.batch.streams.fresh import pack_fresh
from functions.batch.streams.lines import pack_row, unpack_row
from functions.handlers.provider_wiring import DIALECTS
from functions.providers.fields import MOST_MODEL
from tests.support.driver import World

BY_NAME = {dialect.provider: dialect for dialect in DIALECTS}

_OPENAI = (
    b'{"custom_id":"%b","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-5-mini",'
    b'"messages":[{"role":"system","content":"%b"},{"role":"user","content":"%b"}]%b}}'
)
_ANTHROPIC = (
    b'{"custom_id": "%b", "params": {"model": "claude-haiku-4-5", "max_tokens": 9, "system": '
    b'"Sort.", "messages": [{"role": "user", "content": "%b"}, {"role": "assistant", "content": '
    b'"%b"}]%b}}'
)
_VERTEX = (
    b'{"request":{"systemInstruction":{"parts":[{"text":"%b"}]},"contents":[{"role":"user","parts":'
    b'[{"text":"Read."},{"text":"%b"}]}]%b},"model":"gemini-2.5-flash","key":"%b"}'
)
_HUGE = b"%d" % (1 << 63)
_MODELS = {"openai": b"gpt-5-mini", "anthropic": b"claude-haiku-4-5", "vertex": b"gemini-2.5-flash"}
_MORE = {
    "openai": [
        b"",
        b',"max_tokens":9',
        b',"n":2,"max_tokens":%b' % _HUGE,
        b',"tools":[{"type":"function"}]',
        b',"stream":true',
    ],
    "anthropic": [
        b"",
        b',"max_tokens":%b' % _HUGE,
        b',"metadata":{"user_id":"1"}',
        b',"temperature":1',
        b',"x":1',
    ],
    "vertex": [
        b"",
        b',"generationConfig":{"maxOutputTokens":9}',
        b',"generationConfig":{"maxOutputTokens":%b}' % _HUGE,
        b',"labels":{"a":"b"}',
    ],
}


def line_of(provider: str, name: bytes, first: bytes, second: bytes, more: bytes) -> bytes:
    match provider:
        case "openai":
            return _OPENAI % (name, first, second, more)
        case "anthropic":
            return _ANTHROPIC % (name, first, second, more)
        case _:
            return _VERTEX % (first, second, more, name)


TEXTS = [
    *(
        b"a",
        b"b",
        b"",
        b"Read.",
        b"user",
        "\u00e9\u4e2d\U0001f600".encode(),
        b"x" * 400,
        b"y" * 3_000,
    ),
    *(
        b'a","b',
        b"a\\",
        b'a\\"',
        b'a\\"b',
        b"a\\\\",
        b'"',
        b'a"',
        b'"b',
        b",",
        b'a","',
        b'","b',
    ),
    *(
        b"\\u0000",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\\ud83d\\ude00",
        b"\t",
        b"\x7f",
    ),
    *(
        b',"b',
        b'"},{"role":"user","content":"',
        b'\\"},{\\"role\\":\\"user\\"',
        b"\\n  a",
        b"\\q",
        b"%d%b",
    ),
]
GAPS = st.sampled_from(TEXTS)


@st.composite
def some_lines(draw: st.DrawFn) -> bytes:
    provider = draw(st.sampled_from(PROVIDERS))
    more = draw(st.sampled_from(_MORE[provider]))
    line = line_of(provider, draw(GAPS), draw(GAPS), draw(GAPS), more)
    return draw(
        st.sampled_from([line, line, line, line + b"\r", line + b" ", b"", b"{}", line[:-1]])
    )


@st.composite
def alike_lines(draw: st.DrawFn) -> list[bytes]:
    """Usual ones, but for some of their texts."""
    provider = draw(st.sampled_from(PROVIDERS))
    more = draw(st.sampled_from(_MORE[provider]))
    fixed = draw(st.sampled_from([b"", b"Read.", b"user"]))
    model = draw(st.sampled_from([_MODELS[provider], _MODELS[provider], b"m" * 300]))
    lines: list[bytes] = []
    for number in range(draw(st.integers(2, 12))):
        texts = [b"id-%d" % number, fixed or b"first %d" % number, b"second %d" % number]
        odd = draw(st.dictionaries(st.integers(0, 2), GAPS, max_size=1 if number > 1 else 0))
        for place, text in odd.items():
            texts[place] = text
        lines.append(line_of(provider, *texts, more).replace(_MODELS[provider], model))
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
        patch.object(lines_module, "BLOCK_BYTES", block),
        patch.object(moulds_module, "_LEAST_REACH", reach),
    ):
        found = sharded(data, caps, split)
    with patch.object(Moulds, "take", lambda *_: None):
        assert found == sharded(data, caps, split)


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
@pytest.mark.parametrize("provider", PROVIDERS)
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
            run = mould.take(b"\n".join(rows), 0, 7, 1 << 30)
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
    ("provider", "more"), [(provider, more) for provider in PROVIDERS for more in _MORE[provider]]
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
        assert dialect.parse_usual(rows[1]) is None
        return
    run = mould.take(b"\n".join(rows), 0, 0, 1 << 30)
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
        line_of(provider, b"id-%d" % at, b"a", b"b %d" % at, b"").replace(_MODELS[provider], name)
        for at in range(2)
    ]
    assert (mould_of(*rows, BY_NAME[provider], "000000-") is None) == bool(longer)
    assert (read_whole(BY_NAME[provider], 0, rows[0]) is None) == bool(longer)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usual_rows_fit(provider: str) -> None:
    rows = [
        spelled(pieces, b"ticket-%d" % at) for at, (pieces, _) in enumerate(templates(provider))
    ]
    mould = mould_of(rows[1], rows[0], BY_NAME[provider], "000000-")
    assert mould is not None
    run = mould.take(b"\n".join(rows[2:]), 0, 2, 1 << 30)
    assert run is not None
    assert run.rows == len(rows) - 2
    sums = Weight()
    for row in rows[2:]:
        sums.add(BY_NAME[provider].weigh(row))
    assert run.weight.tokens == pytest.approx(sums.tokens, rel=0.02)
    sums.tokens = run.weight.tokens
    assert run.weight == sums


CORPUS = Path(__file__).resolve().parents[2] / "corpus"
KINDS = [
    ["english"],
    ["chinese"],
    ["python"],
    ["english", "chinese"],
    ["english", "german", "python", "json"],
    ["arabic", "hindi", "english"],
]


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
@pytest.mark.parametrize("length", [90, 900, 9_000])
def test_rows_weigh_together_what_each_weighs(kinds: list[str], length: int) -> None:
    """And each of them about that, if they are of one kind."""
    words = [(CORPUS / f"{kind}.txt").read_text() for kind in kinds]
    rows: list[bytes] = []
    for number in range(2 + 200_000 // length):
        text = words[number % len(words)]
        begin = number * 37 % max(1, len(text) - length)
        text = (text * (1 + length // len(text)))[begin : begin + length]
        raw = msgspec.json.encode(text)[1:-1]
        rows.append(line_of("openai", b"id-%d" % number, b"Read.", raw, b""))
    dialect = BY_NAME["openai"]
    mould = mould_of(rows[1], rows[0], dialect, "000000-")
    assert mould is not None
    run = mould.take(b"\n".join(rows), 0, FIRST, 1 << 30)
    first = mould.take(b"\n".join(rows), 0, FIRST - 1, 1 << 30)
    assert run is not None
    assert first is not None
    rows = rows[: run.rows]
    assert len(rows) * length > 60_000
    alone = [dialect.weigh(row).tokens for row in rows]
    assert run.weight.tokens == pytest.approx(sum(alone), rel=0.06)
    assert first.weight.tokens == pytest.approx(sum(alone), abs=len(rows) / 100)
    each = [unpack_row(line)[1].tokens for line in b"".join(run.packed).splitlines()]
    assert sum(each) == run.weight.tokens
    if len(kinds) == 1 and length > 500:
        assert each == pytest.approx(alone, rel=0.35)


@pytest.mark.parametrize("at", [0, 7, 100, 199])
def test_a_long_row_among_short_ones_is_weighed_by_itself(at: int) -> None:
    """However dense it is, and wherever it stands."""
    rows = [
        line_of("openai", b"id-%d" % n, b"", b"Some words, row %d." % n, b"") for n in range(200)
    ]
    hashes = (CORPUS / "hashes.txt").read_text()[:4_000]
    rows[at] = line_of("openai", b"id", b"", msgspec.json.encode(hashes)[1:-1], b"")
    dialect = BY_NAME["openai"]
    mould = mould_of(rows[51], rows[50], dialect, "000000-")
    assert mould is not None
    run = mould.take(b"\n".join(rows), 0, FIRST, 1 << 30)
    assert run is not None
    alone = [dialect.weigh(row).tokens for row in rows]
    each = [unpack_row(line)[1].tokens for line in b"".join(run.packed).splitlines()]
    assert each[at] == alone[at]
    assert sum(each) == pytest.approx(sum(alone), rel=0.02)


def test_a_file_of_two_kinds_has_two_moulds() -> None:
    kinds = [
        [spelled(pieces, b"ticket-%d" % at) for at, (pieces, _) in enumerate(templates(provider))]
        for provider in PROVIDERS
    ]
    moulds, whole = Moulds("000000-"), 0
    for number, rows in enumerate(zip(*kinds, strict=True)):
        for dialect, row in zip((BY_NAME[name] for name in PROVIDERS), rows, strict=True):
            if moulds.take(row, 0, number, lambda group, dialect: dialect.limits(group)) is None:
                moulds.learn(row, dialect)
                whole += 1
    assert whole < 20


@pytest.mark.parametrize("behind", [b"", b"\n", b"\n\n", b"\n ", b"\n{}", b"\n\n{}"])
@pytest.mark.parametrize("ids", ["id-%02d", "id-%d"])
@pytest.mark.parametrize("more", [[b""], [b"", b',"max_tokens":9']])
def test_the_last_rows_of_a_block_end_with_one_newline(
    behind: bytes, ids: str, more: list[bytes]
) -> None:
    """Whatever stands behind them."""
    rows = [
        line_of("openai", (ids % n).encode(), b"a", b"b %d" % n, more[n % len(more)])
        for n in range(12)
    ]
    mould = mould_of(rows[2], rows[0], BY_NAME["openai"], "000000-")
    assert mould is not None
    block, at, found = b"\n".join(rows) + behind, 0, list[bytes]()
    while at < len(block):
        run = mould.take(block, at, len(found), 1 << 30)
        until = 1 + block.find(b"\n", at) or len(block) + 1
        if run is not None:
            found += b"".join(run.packed).split(b"\n")
            assert found.pop() == b""
            until = run.until
        at = until
    assert [unpack_row(packed)[2] for packed in found] == rows[:: len(more)]


def test_ids_that_end_with_a_backslash_fit() -> None:
    for ids in (b"id-%02d\\\\", b"id-%d\\\\"):
        rows = [line_of("openai", ids % n, b"a", b"b %d" % n, b"") for n in range(12)]
        mould = mould_of(rows[1], rows[0], BY_NAME["openai"], "000000-")
        assert mould is not None
        run = mould.take(b"\n".join(rows), 0, 0, 1 << 30)
        assert run is not None
        assert run.rows == len(rows)


@pytest.mark.parametrize("between", [b"", b" ", b"{}"])
def test_rows_before_another_line_fit_too(between: bytes) -> None:
    rows = [line_of("openai", b"id-%d" % n, b"a %d" % n, b"b", b"") for n in range(12)]
    mould = mould_of(rows[1], rows[0], BY_NAME["openai"], "000000-")
    assert mould is not None
    block = b"\n".join([*rows[:5], between, *rows[5:7], between, *rows[7:]])
    at, taken = 0, []
    while at < len(block):
        run = mould.take(block, at, 0, 1 << 30)
        assert run is not None
        taken.append(run.rows)
        at = run.until + len(between) + 1
    assert taken == [5, 2, 5]


def test_rows_that_take_turns_are_read_one_by_one() -> None:
    """Which is faster than to look for the mould of each; and looked at again some time later."""
    limits_of = lambda group, dialect: dialect.limits(group)  # noqa: E731
    dialect = BY_NAME["openai"]
    moulds = Moulds("000000-")

    def taken(block: bytes) -> int:
        found = moulds.take(block, 0, 0, limits_of)
        if found is None:
            moulds.learn(block.partition(b"\n")[0], dialect)
        return 0 if found is None else found[1].rows

    def of_kind(kind: int, number: int) -> bytes:
        return line_of("openai", b"id-%d" % number, b"x", b"b", b',"max_tokens":%d' % kind)

    found = [taken(of_kind(n % 2, n) + b"\n" + of_kind(1 - n % 2, n)) for n in range(1_000)]
    assert sum(found) < 100
    assert not any(found[200:])
    alike = b"\n".join(of_kind(1, n) for n in range(50))
    found = [taken(alike) for _ in range(2_000)]
    assert found[-1] == 50


@pytest.mark.parametrize("custom_id", [b"5", b"0.5", b"false", b"[]", b"{}"])
def test_an_id_that_is_no_string_is_not_passed_over_for_another(custom_id: bytes) -> None:
    rows = [
        line_of("vertex", b"id-%d" % at, b"Read.", b"text %d" % at, b"")[:-1]
        + b',"custom_id":%b}' % custom_id
        for at in range(2)
    ]
    assert BY_NAME["vertex"].custom_id(rows[0]) == custom_id
    assert mould_of(rows[1], rows[0], BY_NAME["vertex"], "000000-") is None
