"""Reads a shard's rows back, and writes them as the provider wants them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.depth import headroom
from functions.batch.lines import KEY_LENGTH, Oversized, Transit, iter_lines, unpack_row
from functions.batch.model import Shard
from functions.batch.ports import Dialect, Objects
from functions.batch.sorting import Ahead
from functions.batch.work import ShardManifest, Source


class WorkRow(msgspec.Struct, frozen=True, gc=False):
    """`packed` is the row's line in its source, without the newline."""

    key: str
    transit: Transit
    line: bytes
    packed: bytes


def shard_rows(shard: Shard, objects: Objects) -> Iterator[WorkRow]:
    """All rows of a shard in key order, whichever sources they lie in."""
    return (WorkRow(*unpack_row(packed), packed) for packed in packed_rows(shard, objects))


def packed_rows(shard: Shard, objects: Objects) -> Iterator[bytes]:
    """The same, as they stand in their sources."""
    data = objects.get(layout.shard(shard.job_id, shard.shard_id))
    manifest = msgspec.json.decode(data, type=ShardManifest)
    sources = sorted(manifest.sources, key=lambda source: source.first)
    overlap = any(after.first <= before.last for before, after in pairwise(sources))
    streams = (_lines(objects, source) for source in sources)
    if overlap:
        return heapq.merge(*streams, key=lambda line: line[:KEY_LENGTH])
    return chain.from_iterable(streams)


def _lines(objects: Objects, source: Source) -> Iterator[bytes]:
    end = source.skip + source.take if source.take else None
    lines = iter_lines(objects.chunks(source.key))
    if source.left_out:
        lines = _without(lines, iter_lines(objects.chunks(source.left_out)))
    for line in islice(lines, source.skip, end):
        if isinstance(line, bytes):
            yield line


def _without(
    lines: Iterator[bytes | Oversized], keys: Iterator[bytes | Oversized]
) -> Iterator[bytes | Oversized]:
    """Both come in order of the keys."""
    left_out = Ahead(key for key in keys if isinstance(key, bytes))
    for line in lines:
        if isinstance(line, Oversized) or left_out.at(line[:KEY_LENGTH]) is None:
            yield line


def row_id(shard: Shard, key: str, attempt: int) -> str:
    """The id that a provider sees: a row's place, and the attempt that sent it.

    At most 63 characters of `[a-z0-9-]`, never like a number, so that it is an Anthropic custom
    id and a Google label as it stands.
    """
    return f"r{key}-{shard.job_id[-8:]}-{shard.shard_id}-{attempt}"


def key_of(identity: str) -> str:
    """The place that an id names. Any string may be given; what is no id names no row."""
    return identity[1 : KEY_LENGTH + 1]


@headroom(1)
def write_requests(shard: Shard, objects: Objects, dialect: Dialect, path: Path) -> None:
    """The shard as the provider's input file."""
    opening, between, closing = dialect.framing
    with path.open("wb", buffering=1 << 18) as file:
        before = opening
        for row in shard_rows(shard, objects):
            file.write(before)
            file.write(dialect.request(row.line, row_id(shard, row.key, shard.attempt)))
            before = between
        file.write(closing)
