"""Finds a place in an object of keyed lines, sorted by key, without reading it."""

from __future__ import annotations

from functions.batch.ports import Objects
from functions.batch.streams.lines import KEY_LENGTH

NEAR = 1024 * 1024
"""Bytes that are rather read than searched."""

_LOOK = 64 * 1024


def before_key(objects: Objects, key: str, wanted: bytes, *, near: int = NEAR) -> int:
    """Where a line begins before which there is no line with the key `wanted` or a later one, not
    much further than `near` ahead of the first that has.

    By halving: the object's lines are read at about as many places as its size has binary digits.
    """
    low, high = 0, _size(objects, key)
    while high - low > near:
        middle = (low + high) // 2
        at, found = _line_after(objects, key, middle, high)
        if found and found < wanted:
            low = at
        else:
            high = middle
    return low


def _size(objects: Objects, key: str) -> int:
    return next((size for name, size in objects.sizes(key) if name == key), 0)


def _line_after(objects: Objects, key: str, start: int, end: int) -> tuple[int, bytes]:
    """Where the first line begins that does so after `start`, at `end` at the latest, and its key;
    an empty one if there is none."""
    size = _LOOK
    while True:
        data = objects.read(key, start, size) or b""
        newline = data.find(b"\n")
        begun = newline + 1
        if newline >= 0 and start + begun > end:
            return end, b""
        if newline >= 0 and len(data) - begun >= KEY_LENGTH:
            return start + begun, data[begun : begun + KEY_LENGTH]
        if len(data) < size:
            return end, b""
        size *= 4
