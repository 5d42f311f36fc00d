"""Reads many lines at once: most of what a line takes by itself is the call."""

from __future__ import annotations

from collections.abc import Callable

from functions.batch.rows import UsualAnswer

Answers = list[UsualAnswer | None]


def usual_answers(block: bytes, read: Callable[[bytes], Answers]) -> Answers:
    """One for each line of the block; where all are usual, blank lines may have none. `read` says
    it of any number of lines, or raises `ValueError` (msgspec's errors are) where one of them is
    not as it should be: then each is read by itself."""
    found = _read(block, read)
    if found is not None and all(found):
        return found
    lines = block.split(b"\n")
    if found is not None and _are_in_place(found, lines):
        return found
    return [(_read(line, read) or [None])[0] for line in lines]


def _are_in_place(found: Answers, lines: list[bytes]) -> bool:
    """Whether each stands in its line: a reader of many goes on where a value ends, be that a
    line's end or not."""
    return len(found) == len(lines) and all(
        answer is None or answer.id.encode() in line
        for answer, line in zip(found, lines, strict=True)
    )


def _read(block: bytes, read: Callable[[bytes], Answers]) -> Answers | None:
    try:
        return read(block)
    except (ValueError, RecursionError):
        return None
