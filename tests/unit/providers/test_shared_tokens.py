"""Rows that are weighed together weigh what each would by itself."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from functions.batch.reading.moulding import mould_of
from functions.batch.reading.shares import FIRST, Shares
from functions.batch.streams.lines import unpack_row
from tests.support.alike_lines import BY_NAME, ROOMY, line_of

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
    run = mould.take(b"\n".join(rows), 0, FIRST, ROOMY)
    first = mould.take(b"\n".join(rows), 0, FIRST - 1, ROOMY)
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


def weighed(shares: Shares, number: int, rates: list[float], seed: int) -> tuple[float, float]:
    """The tokens of a block of rows, some of which have others for their length; and how far from
    that they come out."""
    draw = random.Random(seed)
    lengths = [draw.randrange(500, 1_500) for _ in range(450)]
    own = [length * draw.choice(rates) for length in lengths]
    found = shares.tokens(lengths, lambda rows: [own[r] for r in rows], number=number, fixed=3.0)
    return sum(own), sum(found) - 3 * len(found) - sum(own)


def test_blocks_learn_from_those_before_them() -> None:
    """Where rows differ, what is weighed of several blocks tells more than what is of one."""
    alone = [weighed(Shares(), FIRST, [0.1, 0.2, 0.4], seed) for seed in range(60)]
    shares = Shares()
    each = [weighed(shares, FIRST + 450 * n, [0.1, 0.2, 0.4], n) for n in range(60)]
    spread, less = (sum(abs(off) / own for own, off in those) / 60 for those in (alone, each))
    assert less < 0.8 * spread
    assert less < 0.06
    assert abs(sum(off for _, off in each)) < 0.02 * sum(own for own, _ in each)


def test_rows_of_another_kind_are_met_within_some_blocks() -> None:
    shares = Shares()
    for number in range(10):
        weighed(shares, FIRST + 450 * number, [0.2], number)
    for number in range(10, 20):
        own, off = weighed(shares, FIRST + 450 * number, [0.5], number)
        assert abs(off) < own * 0.31 * 0.5 ** (number - 10) + 0.01 * own


def test_texts_without_length_have_no_tokens() -> None:
    assert Shares().tokens([0] * 40, lambda rows: [0.0 for _ in rows], number=FIRST, fixed=7) == (
        [7] * 40
    )


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
    run = mould.take(b"\n".join(rows), 0, FIRST, ROOMY)
    assert run is not None
    alone = [dialect.weigh(row).tokens for row in rows]
    each = [unpack_row(line)[1].tokens for line in b"".join(run.packed).splitlines()]
    assert each[at] == alone[at]
    assert sum(each) == pytest.approx(sum(alone), rel=0.02)
