"""Reads many lines at once: most of what a line takes by itself is the call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from functions.batch.rows import ReadAnswers, UsualAnswer
from functions.batch.streams.lines import split

Opened = tuple[list[str], list[bytes]]
"""Of each line the row's id, and the body as it stands there; `{}` where it is not to be read."""

Columns = tuple[list[bytes], list[int], list[int]]
"""Of each answer its text, as JSON, and its tokens of input and output."""

T = TypeVar("T")

_LARGE = 256 * 1024
"""Bytes. A line of more stays one: what it says would be in memory twice, as response and text."""

_MOST_PASSED_OVER = 15
"""Blocks."""


class InBulk(Generic[T]):
    """Of lines that `opened` takes apart. `usual` tells what an answer says from its id, its body
    as it stands in the line, and as `decoder` has it: None if it is none of the usual ones, as `{}`
    is not. `plain` tells it of many bodies, if all of them are the most usual ones. Each raises
    `ValueError` (msgspec's errors are) where something is not as it should be."""

    def __init__(
        self,
        opened: Callable[[bytes], Opened],
        decoder: msgspec.json.Decoder[T],
        usual: Callable[[str, bytes, T], UsualAnswer | None],
        plain: Callable[[list[bytes]], Columns] | None = None,
    ) -> None:
        self._opened = opened
        self._decoder = decoder
        self._usual = usual
        self._plain = plain
        self._failed = self._passed_over = 0

    def read(self, block: bytes) -> ReadAnswers:
        """What each line says; where one of them is not as it should be, each is read by itself."""
        if len(block) > _LARGE:
            return ReadAnswers.of([], split(block))
        ids, bodies = self._open(block)
        columns = self._plainly(bodies)
        if columns is not None:
            texts, given, made = columns
            return ReadAnswers(ids, bodies, texts, given, made, [None] * len(ids), [])
        return self._each(block, self._decoded(ids, bodies))

    def _plainly(self, bodies: list[bytes]) -> Columns | None:
        """Not tried where it would mostly be in vain: after some blocks that are not plain, as many
        are passed over."""
        if self._plain is None or not bodies:
            return None
        if self._passed_over < self._failed:
            self._passed_over += 1
            return None
        self._passed_over = 0
        try:
            columns = self._plain(bodies)
        except (ValueError, RecursionError):
            self._failed = min(2 * self._failed + 1, _MOST_PASSED_OVER)
            return None
        self._failed = 0
        return columns

    def _each(self, block: bytes, found: list[UsualAnswer | None]) -> ReadAnswers:
        """`found`: of all lines, or nothing."""
        usual = [answer for answer in found if answer is not None]
        if found and len(usual) == len(found):
            return ReadAnswers.of(usual, [])
        lines = split(block)
        if found and _are_in_place(found, lines):
            others = [line for answer, line in zip(found, lines, strict=True) if answer is None]
            return ReadAnswers.of(usual, others)
        alone = [(line, self._decoded(*self._open(line))) for line in lines]
        return ReadAnswers.of(
            [answer for _, answers in alone for answer in answers if answer is not None],
            [line for line, answers in alone if not any(answers)],
        )

    def _open(self, block: bytes) -> Opened:
        with suppress(ValueError, RecursionError):
            return self._opened(block)
        return [], []

    def _decoded(self, ids: list[str], bodies: list[bytes]) -> list[UsualAnswer | None]:
        with suppress(ValueError, RecursionError):
            read = zip(ids, bodies, decode_each(self._decoder, bodies), strict=True)
            return [self._usual(row_id, body, each) for row_id, body, each in read]
        return []


def _are_in_place(found: list[UsualAnswer | None], lines: list[bytes]) -> bool:
    """Whether each stands in its line: a reader of many goes on where a value ends, be that a
    line's end or not."""
    return len(found) == len(lines) and all(
        answer is None or answer[0].encode() in line
        for answer, line in zip(found, lines, strict=True)
    )


def decode_each(decoder: msgspec.json.Decoder[T], bodies: list[bytes]) -> list[T]:
    """Raises `ValueError` too where a body goes on in another line: what an answer says has to be
    one line of results."""
    if b"\n" in b"".join(bodies):  # to count them is slower
        raise ValueError("a body has a newline")
    return decoder.decode_lines(b"\n".join(bodies))
