"""Which moulds an input has, and how much of it is taken by them."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import pytest

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.reading import moulds as moulds_module
from functions.batch.reading import tokens as tokens_module
from functions.batch.reading.mould import Mould, Room, Run
from functions.batch.reading.moulding import mould_of
from functions.batch.reading.moulds import Moulds
from functions.batch.reading.row_sorter import RowSorter
from functions.batch.rows import Caps
from functions.batch.work import RangeResult
from functions.handlers.provider_wiring import DIALECTS
from tests.support.alike_lines import BY_NAME, KINDS, ROOMY, line_of
from tests.support.driver import World


def conversation(number: int, messages: int) -> bytes:
    said = [
        {"role": ("user", "assistant")[at % 2], "content": [{"type": "text", "text": f"{number}"}]}
        for at in range(messages)
    ]
    return msgspec.json.encode(
        {
            "custom_id": f"id-{number}",
            "params": {"model": "m", "max_tokens": 9, "messages": said},
        }
    )


class Work(NamedTuple):
    """What a file takes: rows that are read by themselves, and looked at together, and moulds that
    are made."""

    singles: int
    together: int
    moulds: int
    stored: dict[str, bytes]


def work_of(lines: list[bytes], caps: Caps) -> Work:
    world = World(dialects=DIALECTS, providers={}, caps=caps)
    world.inputs.piece = 8 << 20
    job_id = world.drop("a.jsonl", b"\n".join(lines))
    world.plan(job_id)
    together = 0
    take = Mould.take

    def counted(mould: Mould, block: bytes, at: int, number: int, room: Room) -> Run | None:
        nonlocal together
        run = take(mould, block, at, number, room)
        together += run.rows if run else 0
        return run

    with (
        patch.object(RowSorter, "take", autospec=True, side_effect=RowSorter.take) as alone,
        patch.object(moulds_module, "mould_of", side_effect=mould_of) as made,
        patch.object(Mould, "take", counted),
    ):
        world.shard(job_id, {"range": 0, "start": 0, "end": None})
    return Work(alone.call_count, together, made.call_count, world.work.stored)


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


def test_a_longer_conversation_is_told_from_a_shorter_one_at_its_first_line() -> None:
    mould = mould_of(conversation(2, 3), conversation(1, 3), BY_NAME["anthropic"], "000000-")
    assert mould is not None
    around = mould.shape.around
    assert around.fits(conversation(7, 3), 0)
    assert around.fits(b"{}\n" + conversation(7, 3) + b"\n{}", 3)
    assert around.fits(conversation(7, 3).replace(b'"text":"7"', rb'"text":"\"7\""'), 0)
    for other in (2, 4, 5, 7):
        assert not around.fits(conversation(7, other), 0)
    rows = [line_of("anthropic document", b"%d" % n, b"u %d" % n, b"t %d" % n, b"") for n in (1, 2)]
    mould = mould_of(rows[1], rows[0], BY_NAME["anthropic"], "000000-")
    assert mould is not None
    assert mould.shape.around.fits(rows[0], 0)
    more = rows[0].replace(b'"url":"u 1"}}', b'"url":"u 1"}},{"type":"text","text":"more"}')
    assert not mould.shape.around.fits(more, 0)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_batches_that_are_full_by_bytes_are_filled_by_alike_rows(provider: str) -> None:
    """Also where rows differ in size, and get larger, and smaller again, all of a sudden."""
    texts = [b"text %d " % n * (n * n % 97) * (1, 12, 2)[n // 1_000] for n in range(3_000)]
    lines = [line_of(provider, b"id-%d" % n, b"a", text, b"") for n, text in enumerate(texts)]
    with patch.object(tokens_module, "adler32", lambda *_: 0):
        found = work_of(lines, Caps(bytes=300_000))
        with patch.object(Moulds, "take", lambda *_: None):
            each = work_of(lines, Caps(bytes=300_000)).stored
    sources = [name for name in found.stored if "/rows/" in name]
    assert sources == [name for name in each if "/rows/" in name]
    assert len(sources) > 20
    assert found.singles <= 2 + len(sources)
    assert found.together <= len(lines)
    assert found.moulds < 5


@pytest.mark.parametrize(
    ("endpoint", "body", "rows"),
    [
        ("images/generations", b'"prompt":"a %d"', 666),
        ("embeddings", b'"input":["a","b","c %d"]', 9_803),
        ("chat/completions", b'"n":90,"messages":[{"role":"user","content":"a %d"}]', None),
    ],
)
def test_batches_that_are_full_otherwise_too(endpoint: str, body: bytes, rows: int | None) -> None:
    """By the bytes that their answers will have."""
    head = b'{"custom_id":"id-%%d","method":"POST","url":"/v1/%b","body":{"model":"m",%b}}'
    form = head % (endpoint.encode(), body)
    lines = [form % (n, n) for n in range(20_000)]
    found = work_of(lines, Caps())
    (result,) = [value for key, value in found.stored.items() if "/ranges/" in key]
    sources = msgspec.json.decode(result, type=RangeResult).sources
    assert len(sources) > 1
    assert len({source.weight.rows for source in sources[:-1]}) == 1
    assert rows is None or sources[0].weight.rows == rows
    assert sum(source.weight.rows for source in sources) == 20_000
    assert found.singles <= 2 + len(sources)
    assert found.together <= len(lines)
    assert found.moulds < 4


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_rows_that_are_nested_as_deep_as_may_be_are_read(kind: str) -> None:
    """What reads them has some levels of the stack, and what makes moulds of them fewer."""
    failed = 0

    def watched(*given: Any) -> Mould | None:
        nonlocal failed
        try:
            return mould_of(*given)
        except RecursionError:
            failed += 1
            raise

    for depth in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit() - 20):
        more = b',"x":%b%b' % (b"[" * depth, b"]" * depth)
        data = b"\n".join(line_of(kind, b"id-%d" % n, b"a", b"b %d" % n, more) for n in range(3))
        world = World(dialects=DIALECTS, providers={})
        job_id = world.drop("a.jsonl", data)
        if world.plan(job_id).next != "shard":
            continue
        with patch.object(moulds_module, "mould_of", watched):
            world.shard(job_id, {"range": 0, "start": 0, "end": None})
        (result,) = [value for key, value in world.work.stored.items() if "/ranges/" in key]
        found = msgspec.json.decode(result, type=RangeResult)
        assert found.invalid + sum(source.weight.rows for source in found.sources) == 3
    assert failed


def test_odd_rows_between_alike_ones_do_not_make_a_mould_each() -> None:
    odd = [conversation(n, 3 + n % 40) for n in range(600)]
    lines = [
        row
        for n in range(600)
        for row in (*(conversation(9 * n + each, 1) for each in range(9)), odd[n])
    ]
    found = work_of(lines, Caps())
    assert found.singles < 2 * len(odd)
    assert found.moulds < 60


def test_moulds_are_made_after_many_odd_rows() -> None:
    lines = [conversation(n, 3 + n % 40) for n in range(1_500)]
    lines += [conversation(n, 1) for n in range(9_000)]
    found = work_of(lines, Caps())
    assert found.singles < 4_500
    assert found.moulds < 40
