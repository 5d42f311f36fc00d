"""Answers come back by their row, whatever their order and size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from unittest.mock import patch

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch import answer_spool
from functions.batch.answer_spool import AnswerSpool, Drawer
from functions.batch.lines import row_key
from functions.batch.rows import Answer, RowError, Usage

Verdict = Literal["succeeded", "failed", "again", "resend"]
ANSWERS = st.builds(
    lambda place, verdict, size, usage: Answer(
        id=f"r{row_key(*place)}-12345678-0001-1",
        verdict=verdict,
        response=b"%d" % place[1] * size,
        usage=usage,
        error=None if verdict == "succeeded" else RowError(code="x", message="y", retryable=True),
    ),
    st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 7, 999, 1_000, 1_001, 5_000])),
    st.sampled_from(["succeeded", "failed", "again", "resend"]),
    st.sampled_from([0, 1, 50]),
    st.sampled_from([None, Usage(input_tokens=3, kinds={"input_audio": 2})]),
)


@settings(max_examples=100)
@given(
    answers=st.lists(ANSWERS, max_size=40),
    unwritten=st.sampled_from([1, 100, 1 << 14]),
    most=st.sampled_from([0, 150, 1 << 24]),
)
def test_answers_come_back(answers: list[Answer], unwritten: int, most: int) -> None:
    expected: dict[bytes, Answer] = {}
    with (
        TemporaryDirectory() as directory,
        patch.object(answer_spool, "_UNWRITTEN_BYTES", unwritten),
        patch.object(answer_spool, "_MOST_BYTES", most),
        closing(AnswerSpool(Path(directory))) as spool,
    ):
        for answer in answers:
            key = answer.id[1:17].encode()
            known = expected.get(key)
            if known is None or known.verdict != "succeeded":
                expected[key] = answer
            spool.add(answer)
        for key in sorted(expected):
            assert spool.find(key) == expected[key]
        assert spool.find(b"000009-000000000") is None
        for key in sorted(expected, reverse=True):
            assert spool.find(key) == expected[key]


@settings(max_examples=100)
@given(
    calls=st.lists(st.lists(ANSWERS, max_size=12), min_size=1, max_size=4),
    unwritten=st.sampled_from([1, 100, 1 << 14]),
    most=st.sampled_from([0, 150, 1 << 24]),
    size=st.integers(1, 90),
)
def test_a_call_takes_up_what_another_has_read(
    calls: list[list[Answer]], unwritten: int, most: int, size: int
) -> None:
    expected: dict[bytes, Answer] = {}
    data, stored = b"", b"{}"
    with (
        patch.object(answer_spool, "_UNWRITTEN_BYTES", unwritten),
        patch.object(answer_spool, "_MOST_BYTES", most),
    ):
        for answers in calls:
            with (
                TemporaryDirectory() as directory,
                closing(AnswerSpool(Path(directory))) as spool,
            ):
                chunks = [data[at : at + size] for at in range(0, len(data), size)]
                spool.take_up(chunks, msgspec.json.decode(stored, type=dict[str, Drawer]))
                for answer in answers:
                    key = answer.id[1:17].encode()
                    if key not in expected or expected[key].verdict != "succeeded":
                        expected[key] = answer
                    spool.add(answer)
                assert spool.rows == len(expected)
                stored = msgspec.json.encode(spool.index())
                data = spool.path.read_bytes()
                for key in expected:
                    assert spool.find(key) == expected[key]


def test_an_id_that_is_no_row_s_is_left_out() -> None:
    with TemporaryDirectory() as directory, closing(AnswerSpool(Path(directory))) as spool:
        for identity in ("", "r", "r000000-00000000x-12345678-0001-1", "r1-12345678-0001-1"):
            spool.add(Answer(id=identity, verdict="succeeded"))
        assert spool.find(b"000000-000000000") is None
