"""Reads many lines at once: most of what a line takes by itself is the call."""

from __future__ import annotations

from collections.abc import Callable

from functions.batch.rows import KeptAnswer, UsualAnswer

Answers = list[UsualAnswer | None]

_LARGE = 256 * 1024
"""Bytes. A line of more stays one: what it says would be in memory twice, as response and text."""


def usual_answers(block: bytes, read: Callable[[bytes], Answers]) -> list[KeptAnswer]:
    """What each line says, or the line itself where that is nothing usual. `read` tells it of any
    number of lines, or raises `ValueError` (msgspec's errors are) where one of them is not as it
    should be: then each is read by itself."""
    if len(block) > _LARGE:
        return [*block.split(b"\n")]
    found = _read(block, read)
    if found:
        usual = [answer for answer in found if answer is not None]
        if len(usual) == len(found):
            return [*usual]
    lines = block.split(b"\n")
    if found and _are_in_place(found, lines):
        return [answer or line for answer, line in zip(found, lines, strict=True)]
    kept: list[KeptAnswer] = []
    for line in lines:
        usual = [answer for answer in _read(line, read) or [None] if answer is not None]
        kept += usual or [line]
    return kept


def _are_in_place(found: Answers, lines: list[bytes]) -> bool:
    """Whether each stands in its line: a reader of many goes on where a value ends, be that a
    line's end or not."""
    return len(found) == len(lines) and all(
        answer is None or answer.id.encode() in line
        for answer, line in zip(found, lines, strict=True)
    )


def _read(block: bytes, read: Callable[[bytes], Answers]) -> Answers | None:
    """None too where a response goes on in another line: it would be several lines of results."""
    try:
        found = read(block)
    except (ValueError, RecursionError):
        return None
    if [answer for answer in found if answer is not None and b"\n" in answer.response]:
        return None
    return found
