"""Reads many lines at once: most of what a line takes by itself is the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from functions.batch.rows import ReadAnswers, UsualAnswer
from functions.batch.streams.lines import split

Answers = list[UsualAnswer | None]
T = TypeVar("T")

_LARGE = 256 * 1024
"""Bytes. A line of more stays one: what it says would be in memory twice, as response and text."""


def read_answers(block: bytes, read: Callable[[bytes], Answers]) -> ReadAnswers:
    """What each line says. `read` tells it of any number of lines, or raises `ValueError`
    (msgspec's errors are) where one of them is not as it should be: then each is read by itself."""
    if len(block) > _LARGE:
        return ReadAnswers.of([], split(block))
    found = _read(block, read)
    usual = [answer for answer in found if answer is not None]
    if found and len(usual) == len(found):
        return ReadAnswers.of(usual, [])
    lines = split(block)
    if found and _are_in_place(found, lines):
        others = [line for answer, line in zip(found, lines, strict=True) if answer is None]
        return ReadAnswers.of(usual, others)
    alone = [(line, [each for each in _read(line, read) if each is not None]) for line in lines]
    return ReadAnswers.of(
        [answer for _, answers in alone for answer in answers],
        [line for line, answers in alone if not answers],
    )


def _are_in_place(found: Answers, lines: list[bytes]) -> bool:
    """Whether each stands in its line: a reader of many goes on where a value ends, be that a
    line's end or not."""
    return len(found) == len(lines) and all(
        answer is None or answer[0].encode() in line
        for answer, line in zip(found, lines, strict=True)
    )


def decode_each(decoder: msgspec.json.Decoder[T], bodies: list[bytes]) -> list[T]:
    """Raises `ValueError` too where a body goes on in another line: what an answer says has to be
    one line of results."""
    lines = b"\n".join(bodies)
    if lines.count(b"\n") >= len(bodies) > 0:
        raise ValueError("a body has a newline")
    return decoder.decode_lines(lines)


def _read(block: bytes, read: Callable[[bytes], Answers]) -> Answers:
    """Nothing where something is not as it should be."""
    try:
        return read(block)
    except (ValueError, RecursionError):
        return []
