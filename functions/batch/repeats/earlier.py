"""Reads answers of earlier jobs out of their `results.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import msgspec

from functions.batch import layout
from functions.batch.ports import Objects
from functions.batch.rows import StoredAnswer
from functions.batch.streams import envelope

GAP = 1024 * 1024
"""Bytes between two answers up to which they are read together: as long as a request takes."""

MOST_AT_ONCE = 8 * 1024 * 1024
_REQUESTS = 8


class _Span(msgspec.Struct):
    """Neighbours in one file, to be read with one request."""

    job_id: str
    start: int
    end: int
    wanted: list[tuple[bytes, int, int]]


def packed(digest: bytes, stored: StoredAnswer) -> bytes:
    """Sorts by job and place."""
    return b"%b %020d %012d %b" % (stored.job_id.encode(), stored.offset, stored.length, digest)


def read_earlier(pointers: Iterable[bytes], results: Objects) -> Iterator[tuple[bytes, bytes]]:
    """Digests and lines, without newlines, for pointers that were `packed`, and sorted. Left out is
    what is gone, or is no success."""
    spans = _spans(pointers)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while some := list(islice(spans, _REQUESTS)):
            found = pool.map(partial(_read, results), some)
            for span, data in zip(some, found, strict=True):
                yield from _lines(span, data)


def _spans(pointers: Iterable[bytes]) -> Iterator[_Span]:
    span: _Span | None = None
    for pointer in pointers:
        name, offset_, length_, digest = pointer.split(b" ")
        job_id, offset, length = name.decode(), int(offset_), int(length_)
        end = offset + length
        if (
            span is None
            or span.job_id != job_id
            or offset - span.end > GAP
            or end - span.start > MOST_AT_ONCE
        ):
            if span is not None:
                yield span
            span = _Span(job_id, offset, end, [])
        span.wanted.append((digest, offset, length))
        span.end = max(span.end, end)
    if span is not None:
        yield span


def _read(results: Objects, span: _Span) -> bytes | None:
    key = layout.result(span.job_id, "results.jsonl")
    return results.read(key, span.start, span.end - span.start)


def _lines(span: _Span, data: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    for digest, offset, length in span.wanted:
        at = offset - span.start
        line = b"" if data is None else data[at : at + length]
        if len(line) == length and _is_success(line):
            yield digest, line


def _is_success(line: bytes) -> bool:
    try:
        return envelope.told(line).status == "succeeded"
    except (msgspec.DecodeError, RecursionError):
        return False
