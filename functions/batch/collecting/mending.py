"""Reads answers, those that are only nearly JSON too: they were paid.

A service that cuts a text within an emoji writes half of a surrogate pair; one written in Python
may write `NaN`, and others a bare tab within a string. A strict reader takes none of it, and a row
without an answer would be sent, and paid, again.
"""

from __future__ import annotations

import json
from typing import cast

import msgspec

from functions.batch.ports import Dialect
from functions.batch.reading.looking import is_utf8
from functions.batch.rows import Answer, Group


def read(line: bytes, group: Group, dialect: Dialect) -> Answer | None:
    """None for a line that is no answer."""
    # Bytes that are no text pass a reader which skips over them.
    answer = _read(line, group, dialect) if is_utf8(line) else None
    if answer is None and (sound := mended(line)) is not None:
        answer = _read(sound, group, dialect)
    return answer


def _read(line: bytes, group: Group, dialect: Dialect) -> Answer | None:
    try:
        return dialect.answer(line, group)
    except (ValueError, RecursionError):
        return None


def mended(line: bytes) -> bytes | None:
    """The line as JSON: what is no character becomes U+FFFD, what is no number null. None for a
    line that nothing can be made of."""
    try:
        found = json.loads(
            line.decode("utf-8", "replace"), strict=False, parse_constant=lambda _: None
        )
        return msgspec.json.encode(_sound(found))
    except (ValueError, RecursionError):
        return None


def _sound(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_sound(each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {str(_sound(name)): _sound(each) for name, each in fields.items()}
    return value
