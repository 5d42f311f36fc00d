"""Reads a shard's answers, in several calls where one is too short.

A call that hands over stores the answers it has read, with their index, and how many bytes of which
output that were. The next one takes them up again and passes over those bytes: an output is
downloaded from its beginning each time, since not every provider gives a part of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from functions.batch import layout
from functions.batch.collecting.answer_file import Index
from functions.batch.collecting.answer_spool import AnswerSpool
from functions.batch.deadline import Remaining
from functions.batch.model import Shard
from functions.batch.ports import Objects

RESERVE = 180
"""Seconds that are kept to store what was read: 6 GiB, the disk of a call, take 160 at 40 MB/s."""

SORTING = 420
"""Seconds that a call has to have left, after it has read, to go through the shard's rows: 200,000
of them take 15 s, what is written of them 30 s at 40 MB/s, and a schema may take some minutes."""

_LOOK = 64 * 1024
"""Bytes between two looks at the clock."""

_V = 7
"""Of what was stored. What another release stored in another form is read again. What counts as
plain (`pricing.PlainPrice`) is a part of the form."""


class _Kind(msgspec.Struct):
    """All that is read of it before it is known to have this form."""

    batch_id: str | None
    v: int = 0


class ReadSoFar(msgspec.Struct, kw_only=True):
    """`outputs` were read whole, and of the next one so many `bytes` of lines. `index`: where each
    row's answer lies in the object `spool`. `again`: they are read for the second time."""

    batch_id: str | None
    outputs: int = 0
    bytes: int = 0
    spool: str = ""
    index: Index = {}
    again: bool = False
    v: int = _V


class AnswerReading:
    """`spool` gets what was read before; whoever reads on adds to it."""

    def __init__(
        self, shard: Shard, objects: Objects, remaining: Remaining, spool: AnswerSpool
    ) -> None:
        self._shard = shard
        self._objects = objects
        self._remaining = remaining
        self._spool = spool
        self._key = layout.answers(shard.job_id, shard.shard_id)
        self._so_far = self._stored()
        self._has_read = False
        self._stopped = False
        if self._so_far.spool:
            spool.take_up(objects.chunks(self._so_far.spool), self._so_far.index)

    def _stored(self) -> ReadSoFar:
        data = self._objects.find(self._key)
        if data is not None:
            kind = msgspec.json.decode(data, type=_Kind)
            if kind.batch_id == self._shard.batch_id and kind.v == _V:
                return msgspec.json.decode(data, type=ReadSoFar)
        return ReadSoFar(batch_id=self._shard.batch_id)

    def blocks(self, answers: Callable[[str], Iterator[bytes]]) -> Iterator[bytes]:
        """Lines that were not read before, until time gets short. At least one, since to pass over
        the others may take all of a call's time."""
        so_far = self._so_far
        unseen = 0
        for output in self._shard.outputs[so_far.outputs :]:
            passed = 0
            for block in answers(output):
                begin, passed = passed, passed + len(block) + 1
                if passed <= so_far.bytes:
                    continue
                lines = block[max(so_far.bytes - begin, 0) :]
                unseen += len(lines)
                if unseen > _LOOK:
                    unseen = 0
                    if self._has_read and self._remaining() < RESERVE:
                        so_far.bytes = max(so_far.bytes, begin)
                        self._stopped = True
                        return
                self._has_read = True
                so_far.bytes = 0
                yield lines
            so_far.outputs += 1
            so_far.bytes = 0

    def again(self, answers: Callable[[str], Iterator[bytes]]) -> Iterator[bytes]:
        """All lines, once they were all read, for a second and last time."""
        so_far = self._so_far
        if self._stopped or so_far.again:
            return
        so_far.again = True
        so_far.outputs = so_far.bytes = 0
        yield from self.blocks(answers)

    def hands_over(self) -> bool:
        """Whether the shard has to be collected by another call, for which all that was read is
        stored then. A call that has read nothing goes on."""
        if not self._has_read or not (self._stopped or self._remaining() < SORTING):
            return False
        so_far = self._so_far
        so_far.index = self._spool.index()
        # Another name each time: what the record refers to is never written again.
        place = f"{int(so_far.again)}-{so_far.outputs}-{so_far.bytes}"
        so_far.spool = f"{self._key}-{place}.spool"
        self._objects.upload(self._spool.path, so_far.spool)
        self._objects.put(self._key, msgspec.json.encode(so_far))
        return True
