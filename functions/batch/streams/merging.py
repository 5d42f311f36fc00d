"""Merges parts in key order, as streams: a part is opened when the merge reaches it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import msgspec

from functions.batch.ports import Objects
from functions.batch.streams.lines import iter_lines, unpack_keyed
from functions.batch.streams.seeking import before_key
from functions.batch.work import Part


class Between(msgspec.Struct, frozen=True, kw_only=True):
    """Keys in `[first, end)`; `end` empty: all that follow."""

    first: bytes
    end: bytes = b""


def merged(
    parts: Iterable[Part], objects: Objects, between: Between | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and payloads of all parts, or of their lines between two keys. A key that stands in two
    parts comes twice, in a row."""
    waiting = sorted(parts, key=lambda part: part.first, reverse=True)
    heads: list[tuple[bytes, int, bytes, Iterator[tuple[bytes, bytes]]]] = []
    opened = 0
    while heads or waiting:
        while waiting and (not heads or waiting[-1].first.encode() <= heads[0][0]):
            part = waiting.pop()
            stream = _lines(objects, part.key) if between is None else _some(objects, part, between)
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


def _lines(objects: Objects, key: str, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    for line in iter_lines(objects.chunks(key, start)):
        if isinstance(line, bytes):
            yield unpack_keyed(line)


def _some(objects: Objects, part: Part, between: Between) -> Iterator[tuple[bytes, bytes]]:
    first, end = between.first, between.end
    if part.last.encode() < first or (end and part.first.encode() >= end):
        return
    inside = part.first.encode() >= first
    for line in _lines(objects, part.key, 0 if inside else before_key(objects, part.key, first)):
        if end and line[0] >= end:
            return
        if line[0] >= first:
            yield line
