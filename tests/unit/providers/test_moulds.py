"""Which rows fit a mould, and up to where."""

from __future__ import annotations

import pytest

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.reading.moulds import Moulds, mould_of
from functions.batch.rows import Weight
from functions.batch.streams.lines import unpack_row
from tests.support.alike_lines import BY_NAME, ROOMY, line_of


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
