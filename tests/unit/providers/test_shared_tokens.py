"""Rows that are weighed together weigh what each would by itself."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from functions.batch.reading.moulds import mould_of
from functions.batch.reading.shares import FIRST
from functions.batch.streams.lines import unpack_row
from tests.support.alike_lines import BY_NAME, line_of

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
