"""Answers come back by their row, whatever their order and size."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch.collecting import answer_file, answer_spool
from functions.batch.collecting.answer_file import Index
from functions.batch.collecting.answer_spool import AnswerSpool
from functions.batch.collecting.endings import Ending, KeptAnswer
from functions.batch.pricing import Priced
from functions.batch.rows import Usage
from functions.batch.streams.envelope import BEFORE_RESPONSE, BEFORE_TEXT
from functions.batch.streams.lines import row_key

Answers = list[tuple[bytes, KeptAnswer]]


def ending(response: bytes, text: bytes, given: int, made: int, priced: Priced | None) -> Ending:
    rest = b'%b%b%b%b,"error":null}\n' % (BEFORE_TEXT, text, BEFORE_RESPONSE, response)
    begin = len(BEFORE_TEXT)
    return Ending(rest, True, begin, begin + len(text), len(response), given, made, priced)


def told(answers: Iterable[KeptAnswer | None]) -> list[object]:
    """Whether the text is held twice or not."""
    return [each.in_full() if isinstance(each, Ending) else each for each in answers]


ANSWERS = st.lists(
    st.tuples(
        st.builds(
            lambda part, row: row_key(part, row).encode(),
            st.integers(0, 1),
            st.sampled_from([0, 1, 7, 999, 1_000, 1_001, 5_000]),
        ),
        st.builds(
            lambda good, text, size: (b"good " if good else b"bad ") + text * size,
            st.booleans(),
            st.binary(min_size=1, max_size=2),
            st.sampled_from([0, 1, 50]),
        )
        | st.builds(
            ending,
            st.sampled_from([b"{}", b"x" * 90, b'{"a":"\xc3\xa9"}']),
            st.sampled_from([b"null", b'"\xc3\xa9"']),
            st.sampled_from([0, 300]),
            st.sampled_from([0, 1 << 40]),
            st.none() | st.just(Priced(Usage(input_tokens=9, kinds={"a": 1}), 7, 8, -1)),
        ),
    ),
    max_size=12,
)
HELD = st.sampled_from([0, 1, 100, 1 << 14])
LONG = st.sampled_from([0, 430, 1 << 24])


def better(known: KeptAnswer, other: KeptAnswer) -> KeptAnswer:
    return known if isinstance(known, Ending) or known.startswith(b"good") else other


def expect(expected: dict[bytes, KeptAnswer], answers: Answers) -> None:
    for key, answer in answers:
        known = expected.get(key)
        expected[key] = answer if known is None else better(known, answer)


def add(spool: AnswerSpool, answers: Answers) -> None:
    for is_line, some in groupby(answers, lambda each: isinstance(each[1], bytes)):
        keys, these = zip(*some, strict=True)
        (spool.add_lines if is_line else spool.add_endings)(keys, these)


@settings(max_examples=100)
@given(blocks=st.lists(ANSWERS, max_size=4), held=HELD, long=LONG)
def test_answers_come_back(blocks: list[Answers], held: int, long: int) -> None:
    expected: dict[bytes, KeptAnswer] = {}
    with (
        TemporaryDirectory() as directory,
        patch.object(answer_spool, "_MOST_HELD", held),
        patch.object(answer_file, "_LONG", long),
        closing(AnswerSpool(Path(directory), better)) as spool,
    ):
        for answers in blocks:
            expect(expected, answers)
            add(spool, answers)
            for key in expected:
                assert told(next(spool.find_all([key]))) == told([expected[key]])
        assert spool.rows == len(expected)
        for key in sorted(expected):
            assert told(next(spool.find_all([key]))) == told([expected[key]])
        assert next(spool.find_all([b"000009-000000000"])) == [None]
        keys = [*expected, b"000009-000000000"]
        found = chain.from_iterable(spool.find_all(keys))
        assert told(found) == told(map(expected.get, keys))
        for key in sorted(expected, reverse=True):
            assert told(next(spool.find_all([key]))) == told([expected[key]])


@pytest.mark.parametrize("held", [5_000, 1 << 20])
def test_large_answers_are_handed_on_a_few_at_a_time(held: int) -> None:
    """Whether they lie on disk or in memory: what is made of them takes as much again."""
    keys = [row_key(0, row).encode() for row in range(40)]
    with (
        TemporaryDirectory() as directory,
        patch.object(answer_spool, "_MOST_HELD", held),
        patch.object(answer_spool, "_MOST_AT_ONCE", 3_000),
        closing(AnswerSpool(Path(directory), better)) as spool,
    ):
        for key in keys[:-1]:
            add(spool, [(key, key * 64)])
        found = list(spool.find_all(keys))
        assert [*chain.from_iterable(found)] == [*(key * 64 for key in keys[:-1]), None]
        assert max(map(len, found)) == 3


@settings(max_examples=100)
@given(
    calls=st.lists(st.lists(ANSWERS, max_size=3), min_size=1, max_size=4),
    held=HELD,
    long=LONG,
    size=st.integers(1, 90),
)
def test_a_call_takes_up_what_another_has_read(
    calls: list[list[Answers]], held: int, long: int, size: int
) -> None:
    expected: dict[bytes, KeptAnswer] = {}
    data, stored = b"", b"{}"
    with (
        patch.object(answer_spool, "_MOST_HELD", held),
        patch.object(answer_file, "_LONG", long),
    ):
        for blocks in calls:
            with (
                TemporaryDirectory() as directory,
                closing(AnswerSpool(Path(directory), better)) as spool,
            ):
                chunks = [data[at : at + size] for at in range(0, len(data), size)]
                spool.take_up(chunks, msgspec.json.decode(stored, type=Index))
                for answers in blocks:
                    expect(expected, answers)
                    add(spool, answers)
                assert spool.rows == len(expected)
                stored = msgspec.json.encode(spool.index())
                data = spool.path.read_bytes()
                for key in expected:
                    assert told(next(spool.find_all([key]))) == told([expected[key]])


def test_answers_that_are_taken_up_are_handed_on_a_few_at_a_time_too() -> None:
    """Even if the long one among them has given way to a short one."""
    keys = [row_key(0, row).encode() for row in range(40)]
    with (
        TemporaryDirectory() as directory,
        patch.object(answer_file, "_LONG", 1_100),
        patch.object(answer_spool, "_MOST_AT_ONCE", 3_000),
        closing(AnswerSpool(Path(directory), better)) as spool,
    ):
        add(spool, [(keys[0], b"bad" * 900)])
        spool.index()
        add(spool, [(keys[0], b"good"), *((key, key * 60) for key in keys[1:])])
        index, data = spool.index(), spool.path.read_bytes()
    with (
        TemporaryDirectory() as directory,
        patch.object(answer_file, "_LONG", 1_100),
        patch.object(answer_spool, "_MOST_AT_ONCE", 3_000),
        closing(AnswerSpool(Path(directory), better)) as spool,
    ):
        spool.take_up([data], index)
        found = list(spool.find_all(keys))
        assert [*chain.from_iterable(found)] == [b"good", *(key * 60 for key in keys[1:])]
        assert max(map(len, found)) == 5


def test_answers_take_no_more_disk_than_they_had_bytes() -> None:
    """Their texts stand in their responses."""
    text = b'"%b"' % (b"word " * 1_000)
    response = b'{"content":%b}' % text
    usual = ending(response, text, 300, 400, None)
    keys = [row_key(0, row).encode() for row in range(50)]
    with (
        TemporaryDirectory() as directory,
        patch.object(answer_spool, "_MOST_HELD", 0),
        closing(AnswerSpool(Path(directory), better)) as spool,
    ):
        add(spool, [(key, usual) for key in keys])
        written = spool.path.stat().st_size
        assert 50 * len(response) < written < 50 * 1.05 * len(response)
        assert told(chain.from_iterable(spool.find_all(keys))) == told([usual] * 50)
