from __future__ import annotations

import gzip
import zlib
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch.reading.unpacking import Named, Unreadable, decompress, named
from functions.batch.rows import Weight
from functions.batch.streams import fresh
from functions.batch.streams.fresh import FreshForm, pack_fresh
from functions.batch.streams.lines import (
    Oversized,
    Transit,
    each,
    iter_lines,
    lines_of,
    pack_row,
    plain_blocks,
    range_blocks,
    row_key,
    rows_of,
    split,
    unpack_row,
)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.lists(st.sampled_from([b"\n", b"a", b"\r", b"x" * 9])).map(b"".join))
def test_lines_of_a_block_are_what_stands_between_newlines(block: bytes) -> None:
    assert split(block) == block.split(b"\n")
    assert b"".join(lines_of(block)) == block + b"\n"
    assert [line[:-1] for line in lines_of(block)] == block.split(b"\n")


def test_a_long_line_is_not_copied() -> None:
    line = b"x" * 9
    assert split(line)[0] is line


@given(
    data=st.lists(st.sampled_from([b"\n", b"ab", b"\r", "\u2028".encode(), b"x" * 9])),
    size=st.integers(1, 12),
)
def test_lines_are_the_same_however_the_bytes_are_cut(data: list[bytes], size: int) -> None:
    whole = b"".join(data)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert list(iter_lines(cut(whole, size))) == expected


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=30),
    ends=st.booleans(),
    split=st.integers(1, 40),
    size=st.integers(1, 9),
)
def test_every_line_belongs_to_exactly_one_range(
    lines: list[bytes], ends: bool, split: int, size: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    starts = [*range(0, len(data), split)] or [0]
    found: list[bytes | Oversized] = []
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        found += each(range_blocks(cut(data[max(start - 1, 0) :], size), start, end))
    assert found == list(iter_lines([data]))


def test_a_line_that_is_too_long_is_not_kept() -> None:
    lines = list(iter_lines([b"ab\n", b"x" * 50, b"y" * 50, b"z\nlast"], max_bytes=20))
    assert lines[0] == b"ab"
    assert isinstance(lines[1], Oversized)
    assert lines[1].size == 101
    assert lines[2] == b"last"


def test_a_long_line_at_a_range_border_is_counted_in_full() -> None:
    data = b"a" * 30 + b"\nb\nc\n"
    first = list(range_blocks([data], 0, 31, max_bytes=5))
    second = list(each(range_blocks([data[30:]], 31, None, max_bytes=5)))
    assert [isinstance(line, Oversized) for line in first] == [True]
    assert second == [b"b", b"c"]


def test_rows_are_lines_without_what_editors_add() -> None:
    lines = [b"\xef\xbb\xbfone\r", b"", b" \t ", b"\r", b"two\r\r", b"\rthree\r"]
    rows = [b"one", b"two\r", b"\rthree"]
    for blocks in (lines, [b"\n".join(lines)]):
        assert list(rows_of(plain_blocks(blocks, at_start=True))) == rows
    assert list(plain_blocks([b"\xef\xbb\xbfx"], at_start=False)) == [b"\xef\xbb\xbfx"]


def test_a_row_comes_back_as_it_was_packed() -> None:
    transit = Transit(2, 3, "code", "tab\tand \N{SNOWMAN}")
    line = b'{"a":\t"b"}'
    packed = pack_row(row_key(3, 17), line, transit)
    assert packed.endswith(b"\n")
    assert unpack_row(packed[:-1]) == ("000003-000000017", transit, line)
    assert unpack_row(pack_row(row_key(0, 0), line)[:-1])[1] == Transit()


@pytest.mark.parametrize(
    ("route", "made", "number"), [(None, False, -1), (0, True, 0), (7, True, 7)]
)
def test_a_fresh_row_carries_its_route_and_what_it_weighs(
    route: int | None, made: bool, number: int
) -> None:
    weight = Weight(rows=1, bytes=9, tokens=212, max_output=300, unbounded=1)
    packed = pack_fresh(row_key(0, 1), b"{}", weight, route)
    transit = Transit(made=made, route=number, tokens=212, max_output=300, unbounded=1)
    assert unpack_row(packed[:-1]) == (row_key(0, 1), transit, b"{}")


@pytest.mark.parametrize("known", [1, 4_096])
@pytest.mark.parametrize("id_at", [0, 6])
def test_fresh_rows_that_are_alike_are_packed_together(id_at: int, known: int) -> None:
    """Across a thousand, and whether what stands behind their keys was known before or not."""
    form = FreshForm("000003-", Weight(max_output=300, unbounded=2), id_at)
    lines = [b'{"id":"%d"}\n' % number for number in range(3_005)]
    tokens = [1 + number % 3 for number in range(3_005)]
    ids = [len(line) - 8 for line in lines]
    with patch.object(fresh, "_MOST_KNOWN", known):
        packed = b"".join(form.packed(998, tokens, ids, lines))
    for number, row in enumerate(packed.splitlines()):
        key, transit, line = unpack_row(row)
        expected = Transit(
            tokens=tokens[number],
            max_output=300,
            unbounded=2,
            id_at=id_at,
            id_length=ids[number] if id_at else 0,
        )
        assert (key, transit, line) == (row_key(3, 998 + number), expected, lines[number][:-1])


def test_a_row_of_an_earlier_release_was_not_weighed() -> None:
    _, transit, line = unpack_row(b"000000-000000001 [1,0,null,null,7,9,true,1]\t{}")
    assert transit == Transit(1, 0, None, None, 7, 9, True, 1)
    assert (transit.tokens, line) == (0, b"{}")


@given(members=st.lists(st.binary(max_size=300), min_size=1, max_size=3), size=st.integers(1, 50))
def test_gzip_of_any_number_of_members(members: list[bytes], size: int) -> None:
    data = b"".join(gzip.compress(member) for member in members)
    assert b"".join(decompress(cut(data, size))) == b"".join(members)


def test_a_gzip_bomb_comes_in_bounded_pieces() -> None:
    data = gzip.compress(b"0" * 60_000_000)
    pieces = [len(piece) for piece in decompress([data])]
    assert sum(pieces) == 60_000_000
    assert max(pieces) <= 8 * 1024 * 1024


def test_zero_padding_after_a_gzip_is_ignored() -> None:
    assert b"".join(decompress([gzip.compress(b"a"), b"\0" * 10])) == b"a"


@pytest.mark.parametrize(
    "data", [gzip.compress(b"x" * 1000, mtime=0)[:-12], b"plain text", zlib.compress(b"no gzip")]
)
def test_a_damaged_gzip_is_said_to_be_one(data: bytes) -> None:
    with pytest.raises(Unreadable, match="gzip"):
        list(decompress(cut(data, 7)))


def test_endings() -> None:
    assert named("a/b.JSONL") == Named("jsonl", compressed=False)
    assert named("b.ndjson.gz") == Named("jsonl", compressed=True)
    assert named("c.csv") == Named("csv", compressed=False)
    assert named("d.json") is None
    assert named("e.gz") is None
