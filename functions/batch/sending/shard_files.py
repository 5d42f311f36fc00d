"""Reads a shard's rows back, and writes them as the provider wants them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.depth import headroom
from functions.batch.model import Shard
from functions.batch.ports import Dialect, Objects
from functions.batch.streams.heads import heads_of, pack_heads
from functions.batch.streams.lines import (
    KEY_LENGTH,
    Oversized,
    Transit,
    each,
    iter_lines,
    key_and_line,
    line_blocks,
    split,
    unpack_row,
)
from functions.batch.streams.sorting import Ahead
from functions.batch.work import ShardManifest, Source

_BLOCK = 16
"""Rows at a time, where they do not come in blocks of some size by themselves: a row may be large.
"""


class WorkRow(msgspec.Struct, frozen=True, gc=False):
    """`packed` is the row's line in its source, without the newline."""

    key: str
    transit: Transit
    line: bytes
    packed: bytes


def shard_rows(shard: Shard, objects: Objects) -> Iterator[WorkRow]:
    """All rows of a shard in key order, whichever sources they lie in."""
    for block in packed_blocks(shard, objects):
        for packed in block:
            yield WorkRow(*unpack_row(packed), packed)


def packed_blocks(shard: Shard, objects: Objects) -> Iterator[list[bytes]]:
    """The same, as they stand in their sources, some at a time."""
    data = objects.get(layout.shard(shard.job_id, shard.shard_id))
    manifest = msgspec.json.decode(data, type=ShardManifest)
    sources = sorted(manifest.sources, key=lambda source: source.first)
    overlap = any(after.first <= before.last for before, after in pairwise(sources))
    streams = (_blocks(objects, source) for source in sources)
    if overlap:
        lines = (chain.from_iterable(blocks) for blocks in streams)
        return _in_blocks(heapq.merge(*lines, key=lambda line: line[:KEY_LENGTH]))
    return chain.from_iterable(streams)


def _blocks(objects: Objects, source: Source) -> Iterator[list[bytes]]:
    blocks = line_blocks(objects.chunks(source.key))
    if source.left_out or source.skip or source.take:
        yield from _in_blocks(_some(objects, source, each(blocks)))
        return
    for block in blocks:
        if not isinstance(block, Oversized):
            yield split(block)


def _in_blocks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(lines)
    while block := list(islice(rest, _BLOCK)):
        yield block


def _some(objects: Objects, source: Source, lines: Iterator[bytes | Oversized]) -> Iterator[bytes]:
    if source.left_out:
        lines = _without(lines, iter_lines(objects.chunks(source.left_out)))
    end = source.skip + source.take if source.take else None
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


@headroom(1)
def write_requests(shard: Shard, objects: Objects, dialect: Dialect, path: Path) -> None:
    """The shard as the provider's input file. What *Collect* will need of its rows is stored, where
    that is less than the rows."""
    opening, between, closing = dialect.framing
    beside = path.with_suffix(".heads")
    some_are_fresh = False
    request, behind_key = dialect.request, row_id(shard, "", shard.attempt)[1:]
    with path.open("wb", buffering=1 << 18) as file, beside.open("wb") as heads_file:
        before = opening
        for block in packed_blocks(shard, objects):
            for packed in block:
                key, line = key_and_line(packed)
                file.write(before)
                file.write(request(line, f"r{key}{behind_key}"))
                before = between
            heads = heads_of(block, dialect.custom_id)
            some_are_fresh = some_are_fresh or any(heads.tokens)
            heads_file.write(pack_heads(heads))
        file.write(closing)
    if some_are_fresh:
        objects.upload(beside, layout.heads(shard.job_id, shard.shard_id))
    beside.unlink()
