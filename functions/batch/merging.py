"""Merges parts in key order, as streams: a part is opened when the merge reaches it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from functions.batch.lines import iter_lines, unpack_keyed
from functions.batch.ports import Objects
from functions.batch.work import Part


def merged(parts: Iterable[Part], objects: Objects) -> Iterator[tuple[bytes, bytes]]:
    """Keys and payloads of all parts. A key that stands in two parts comes twice, in a row."""
    waiting = sorted(parts, key=lambda part: part.first, reverse=True)
    heads: list[tuple[bytes, int, bytes, Iterator[tuple[bytes, bytes]]]] = []
    opened = 0
    while heads or waiting:
        while waiting and (not heads or waiting[-1].first.encode() <= heads[0][0]):
            stream = _lines(objects, waiting.pop().key)
            opened += 1
            _push(heads, opened, stream)
        if not heads:
            continue
        key, number, payload, stream = heads[0]
        yield key, payload
        following = next(stream, None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following[0], number, following[1], stream))


def _push(
    heads: list[tuple[bytes, int, bytes, Iterator[tuple[bytes, bytes]]]],
    number: int,
    stream: Iterator[tuple[bytes, bytes]],
) -> None:
    head = next(stream, None)
    if head is not None:
        heapq.heappush(heads, (head[0], number, head[1], stream))


def _lines(objects: Objects, key: str) -> Iterator[tuple[bytes, bytes]]:
    for line in iter_lines(objects.chunks(key)):
        if isinstance(line, bytes):
            yield unpack_keyed(line)
