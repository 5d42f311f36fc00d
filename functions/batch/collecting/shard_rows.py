"""A shard's rows in their order, as little of them as is needed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from functions.batch import layout
from functions.batch.model import Shard
from functions.batch.ports import Objects
from functions.batch.sending.shard_files import WorkRow, packed_blocks
from functions.batch.streams.heads import Heads, bare_heads, read_heads
from functions.batch.streams.lines import unpack_row


class ShardRows:
    """By their heads, where *Submit* has stored these; the rows themselves are only downloaded once
    one is asked for."""

    def __init__(self, shard: Shard, objects: Objects) -> None:
        self._shard = shard
        self._objects = objects
        self._rows = chain.from_iterable(self._packed())

    def _packed(self) -> Iterator[list[bytes]]:
        yield from packed_blocks(self._shard, self._objects)

    def heads(self) -> Iterator[Heads]:
        key = layout.heads(self._shard.job_id, self._shard.shard_id)
        if self._objects.read(key, 0, 1) is not None:
            yield from read_heads(self._objects, key)
            return
        # Never sent, or by a release that stored none, or nothing of any row is told by its head.
        for block in self._packed():
            self._rows = iter(block)
            yield bare_heads(block)

    def row(self, key: bytes) -> WorkRow:
        """Of the heads that came last; in order."""
        packed = next((packed for packed in self._rows if packed.startswith(key)), None)
        assert packed is not None, f"{key} is not among the rows of {self._shard.shard_id}"
        return WorkRow(*unpack_row(packed), packed)
