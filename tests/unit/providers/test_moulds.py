"""Which rows fit a mould, and up to where."""

from __future__ import annotations

import msgspec
import pytest

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.errors import InvalidRow
from functions.batch.reading.moulding import mould_of
from functions.batch.rows import ParsedRow, Weight
from functions.batch.streams.lines import unpack_row
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.alike_lines import BY_NAME, KINDS, ROOMY, line_of


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


@pytest.mark.parametrize(("strings", "varying"), [(33, 33), (32, 32), (256, 3), (257, 3)])
def test_rows_of_very_many_strings_have_no_mould(strings: int, varying: int) -> None:
    """To find all of them takes longer than to read the row."""
    rows = [
        msgspec.json.encode(
            {
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {
                    "model": "m",
                    "input": [f"text {at} {n * (at < varying)}" for at in range(strings)],
                },
            }
        )
        for n in range(1, 4)
    ]
    mould = mould_of(rows[1], rows[0], BY_NAME["openai"], "000000-")
    assert (mould is not None) == (strings <= 256 and varying <= 32)
    if mould is not None:
        run = mould.take(b"\n".join(rows), 0, 0, ROOMY)
        assert run is not None
        assert run.rows == 3


def test_a_text_that_says_what_a_key_does_asks_for_no_cache() -> None:
    said = rb'"cache_control\": x \"cache_control'.replace(b'"', b'\\"', 1)
    for text in (b"cache_control", said, b"a"):
        line = line_of("anthropic user", b"id", text, text, b"")
        assert BY_NAME["anthropic"].weigh(line).marked == 0
    for colon in (b":", b" : "):
        line = line_of("anthropic blocks", b"id", b"a", b"b", b"")
        line = line.replace(b'"cache_control":', b'"cache_control"' + colon)
        assert BY_NAME["anthropic"].weigh(line).marked == 1
