"""Which rows fit a mould, and up to where."""

from __future__ import annotations

from unittest.mock import patch

import msgspec
import pytest

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.errors import InvalidRow
from functions.batch.reading.mould import Mould
from functions.batch.reading.moulding import mould_of
from functions.batch.reading.moulds import Moulds
from functions.batch.reading.row_sorter import RowSorter
from functions.batch.rows import ParsedRow, Weight
from functions.batch.streams.lines import unpack_row
from functions.handlers.provider_wiring import DIALECTS
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.alike_lines import BY_NAME, KINDS, ROOMY, line_of
from tests.support.driver import World


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usual_rows_fit(provider: str) -> None:
    rows = [
        spelled(pieces, b"ticket-%d" % at) for at, (pieces, _) in enumerate(templates(provider))
    ]
    mould = mould_of(rows[1], rows[0], BY_NAME[provider], "000000-")
    assert mould is not None
    run = mould.take(b"\n".join(rows[2:]), 0, 2, ROOMY)
    assert run is not None
    assert run.rows == len(rows) - 2
    sums = Weight()
    for row in rows[2:]:
        sums.add(BY_NAME[provider].weigh(row))
    assert run.weight.tokens == pytest.approx(sums.tokens, rel=0.02)
    sums.tokens = run.weight.tokens
    assert run.weight == sums


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "openai no chat"])
def test_rows_of_every_kind_weigh_what_each_does(kind: str) -> None:
    rows = [
        line_of(kind, b"id-%d" % n, b"the first of %d " % n * n, b"%d is next. " % n * 9, b"")
        for n in range(40)
    ]
    mould = mould_of(rows[1], rows[0], BY_NAME[kind], "000000-")
    assert mould is not None
    run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
    assert run is not None
    weighed = [BY_NAME[kind].weigh(row) for row in rows]
    found = [unpack_row(line)[1] for line in b"".join(run.packed).splitlines()]
    assert [each.tokens for each in found] == pytest.approx([row.tokens for row in weighed], abs=1)
    assert [each.max_output for each in found] == [row.max_output for row in weighed]
    assert run.weight.bytes == sum(row.bytes for row in weighed)
    assert run.weight.output == sum(row.output for row in weighed)
    assert len({row.tokens for row in weighed}) > 1


def test_what_only_looks_like_a_text_makes_no_mould() -> None:
    """A list of messages with something else among them is not read as one."""
    rows = [line_of("openai no chat", b"%d" % n, b"a %d" % n, b"b %d" % n, b"") for n in range(2)]
    assert mould_of(rows[1], rows[0], BY_NAME["openai"], "000000-") is None


@pytest.mark.parametrize("refused", [b'"user","content":""', b"these are four words"])
def test_what_only_some_texts_make_valid_makes_no_mould(refused: bytes) -> None:
    class Choosy(OpenAIDialect):
        def parse(self, line: bytes, fields: dict[str, msgspec.Raw]) -> ParsedRow:
            if refused in line:
                raise InvalidRow("choosy", "No.")
            return super().parse(line, fields)

    rows = [line_of("openai", b"id-%d" % n, b"a", b"b %d" % n, b"") for n in range(2)]
    assert mould_of(rows[1], rows[0], OpenAIDialect(), "000000-") is not None
    assert mould_of(rows[1], rows[0], Choosy(), "000000-") is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "openai no chat"])
def test_rows_of_every_kind_are_taken_together(kind: str) -> None:
    data = b"\n".join(
        line_of(kind, b"id-%d" % n, b"first %d" % n, b"second %d" % n, b"") for n in range(200)
    )
    world = World(dialects=DIALECTS, providers={})
    job_id = world.drop("a.jsonl", data)
    world.plan(job_id)
    with patch.object(RowSorter, "take", autospec=True, side_effect=RowSorter.take) as alone:
        world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert 2 <= alone.call_count <= 4


def test_very_long_rows_are_not_kept_to_be_compared() -> None:
    moulds, dialect = Moulds("000000-"), BY_NAME["openai"]
    rows = [line_of("openai", b"id-%d" % n, b"a", b"b%d" % n * (1 << 20), b"") for n in range(3)]
    for row in rows:
        moulds.learn(row, dialect)
    assert moulds.take(rows[2], 0, 0, lambda *_: ROOMY) is None
    shorter = [line_of("openai", b"id-%d" % n, b"a", b"b%d" % n, b"") for n in range(9)]
    for row in shorter:
        moulds.learn(row, dialect)
    assert moulds.take(shorter[2], 0, 0, lambda *_: ROOMY) is not None


def test_moulds_that_nothing_fits_are_forgotten() -> None:
    """Each row of these has another stop word: to try moulds on all of them takes longer than to
    read them."""
    moulds, dialect = Moulds("000000-"), BY_NAME["openai"]
    tried = 0
    with patch.object(Mould, "take", autospec=True, side_effect=Mould.take) as take:
        for n in range(4_096):
            row = line_of("openai", b"id-%d" % n, b"a", b"b %d" % n, b',"stop":"%d"' % n)
            tried += take.call_count
            take.reset_mock()
            assert moulds.take(row, 0, n, lambda *_: ROOMY) is None
            moulds.learn(row, dialect)
    assert tried < 2_000


def test_a_file_of_two_kinds_has_two_moulds() -> None:
    kinds = [
        [spelled(pieces, b"ticket-%d" % at) for at, (pieces, _) in enumerate(templates(provider))]
        for provider in PROVIDERS
    ]
    moulds, whole = Moulds("000000-"), 0
    for number, rows in enumerate(zip(*kinds, strict=True)):
        for dialect, row in zip((BY_NAME[name] for name in PROVIDERS), rows, strict=True):
            if moulds.take(row, 0, number, lambda *_: ROOMY) is None:
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
        run = mould.take(block, at, len(found), ROOMY)
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
        run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
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
        run = mould.take(block, at, 0, ROOMY)
        assert run is not None
        taken.append(run.rows)
        at = run.until + len(between) + 1
    assert taken == [5, 2, 5]


def test_rows_that_take_turns_are_read_one_by_one() -> None:
    """Which is faster than to look for the mould of each; and looked at again some time later."""
    dialect = BY_NAME["openai"]
    moulds = Moulds("000000-")

    def taken(block: bytes) -> int:
        found = moulds.take(block, 0, 0, lambda *_: ROOMY)
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


def test_an_image_in_the_row_itself_does_not_fit_links() -> None:
    """It is measured, and as large as it is."""
    rows = [line_of("openai image", b"id-%d" % n, b"What is it?", b"%d" % n, b"") for n in range(9)]
    mould = mould_of(rows[1], rows[0], BY_NAME["openai"], "000000-")
    assert mould is not None
    rows[5] = rows[5].replace(b"https://a.b/5", b"data:image/png;base64,iVBORw0KGgo=")
    run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
    assert run is not None
    assert run.rows == 5
    inside = [row.replace(b"https://a.b/", b"data:image/png;base64,") for row in rows[:2]]
    assert mould_of(inside[1], inside[0], BY_NAME["openai"], "000000-") is not None
    told = mould_of(inside[1], inside[0], BY_NAME["openai"], "000000-")
    assert told is not None
    assert told.take(rows[5], 0, 0, ROOMY) is None


@pytest.mark.parametrize(
    ("more", "same"),
    [
        (b',"metadata":{"ticket":"id-%d"}', True),
        (b',"metadata":{"ticket":"id-%d","again":"id-%d"},"user":"id-%d"', True),
        (b',"metadata":{"ticket":"b %d"}', True),
        (b',"stop":"id-%d"', False),
        (b',"stop":["b %d"]', False),
    ],
)
def test_what_stands_at_several_places_is_told_apart(more: bytes, *, same: bool) -> None:
    """Where all of them are strings that may differ."""
    rows = [
        line_of("openai", b"id-%d" % n, b"a", b"b %d" % n, more.replace(b"%d", b"%d" % n))
        for n in range(12)
    ]
    mould = mould_of(rows[1], rows[0], BY_NAME["openai"], "000000-")
    assert (mould is not None) == same
    if mould is not None:
        run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
        assert run is not None
        assert run.rows == 12
        for line, row in zip(b"".join(run.packed).splitlines(), rows, strict=True):
            transit = unpack_row(line)[1]
            assert transit.tokens == BY_NAME["openai"].weigh(row).tokens
            found = row[transit.id_at :][: transit.id_length]
            assert found == BY_NAME["openai"].custom_id(row)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "anthropic user", "vertex"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_key_that_is_there_twice_makes_no_mould_that_is_wrong(kind: str, place: int) -> None:
    """The last one counts: here it says what a string before it does."""
    rows: list[bytes] = []
    for n in range(4):
        first, second = [b"same %d" % n, b"b %d" % n][:: 1 if place else -1]
        line = line_of(kind, b"id", first, second, b"")
        rows.append(line[:-1] + b',"custom_id":"same %d"}' % n)
    mould = mould_of(rows[1], rows[0], BY_NAME[kind], "000000-")
    if mould is not None:
        run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
        for line in b"".join(run.packed if run else []).splitlines():
            _, transit, row = unpack_row(line)
            assert transit.tokens == BY_NAME[kind].weigh(row).tokens
            found = row[transit.id_at :][: transit.id_length]
            assert transit.id_length == 0 or found == BY_NAME[kind].custom_id(row)


def test_an_id_that_may_be_another_string_makes_no_mould() -> None:
    """A key twice, and the only other string says the same: which is which cannot be told."""
    rows = [
        b'{"custom_id":"id","params":{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role"'
        b':"user","content":[{"type":"image","source":{"type":"url","url":"u%d"}}]}]},'
        b'"custom_id":"u%d"}' % (n, n)
        for n in range(2)
    ]
    once = [row.replace(b'"custom_id":"id",', b"") for row in rows]
    assert mould_of(once[1], once[0], BY_NAME["anthropic"], "000000-") is not None
    assert mould_of(rows[1], rows[0], BY_NAME["anthropic"], "000000-") is None
