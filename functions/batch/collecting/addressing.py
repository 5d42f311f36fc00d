"""Tells whose answer a line is. Usual ones are read then, many at once; of the others as little as
can be, since each is read again when its row comes by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from functions.batch.collecting.endings import Ending, KeptAnswer
from functions.batch.collecting.mending import read
from functions.batch.model import Shard
from functions.batch.ports import Dialect
from functions.batch.reading.looking import is_utf8
from functions.batch.rows import Answer, ReadAnswers
from functions.batch.streams.lines import KEY_LENGTH, split

_is_key = re.compile(rb"[0-9]{6}-[0-9]{9}").fullmatch


class Addressed(msgspec.Struct, frozen=True):
    """`keys` are those of the rows that the usual ones of `answers` are for, `line_keys` of those
    that the lines are for: its own `lines`, not those of `answers`."""

    keys: list[bytes]
    answers: ReadAnswers
    line_keys: list[bytes]
    lines: list[bytes]


class Addressing:
    """Of one shard's answers."""

    def __init__(self, shard: Shard, dialect: Dialect) -> None:
        self._group = shard.group
        self._dialect = dialect
        self._mark = dialect.id_mark
        self._leads = (dialect.id_mark + b':"r', dialect.id_mark + b': "r')
        self._mine = f"-{shard.job_id[-8:]}-{shard.shard_id}-"
        self._mine_in_bytes = self._mine.encode()
        self._key_of = re.compile(
            rb"^r([0-9]{6}-[0-9]{9})%b.*$" % re.escape(self._mine_in_bytes), re.M
        ).findall

    def read(self, block: bytes) -> Iterator[Addressed]:
        """The answers among the lines of a block. One that has another shard's id is left out, and
        so is a line that is none: its row, if it has any, counts as unanswered."""
        for said in self._read(block):
            answers, keys = said, self._keys(said.ids)
            if len(keys) < len(said.ids):
                mine = [answer for answer in said.usual() if self._checked(answer[0])]
                answers = ReadAnswers.of(mine, [])
                keys = self._keys(answers.ids)
            lines = [(key, line) for line in said.lines if (key := self.key(line)) is not None]
            yield Addressed(keys, answers, [key for key, _ in lines], [line for _, line in lines])

    def _read(self, block: bytes) -> Iterator[ReadAnswers]:
        if is_utf8(block):
            yield self._dialect.read_answers(block, self._group)
            return
        for line in split(block):
            if is_utf8(line):
                yield self._dialect.read_answers(line, self._group)
            else:
                yield ReadAnswers.of([], [line])

    def _keys(self, ids: Sequence[str]) -> list[bytes]:
        """Those in ids of this shard's; fewer where one is none of them, or odd."""
        joined = "\n".join(ids)
        return self._key_of(joined.encode()) if joined.count("\n") < len(ids) else []

    def _checked(self, row_id: str) -> bytes | None:
        keys = self._keys([row_id])
        return keys[0] if keys else None

    def key(self, line: bytes) -> bytes | None:
        """The key of the row that the line answers; None for a line that is no answer, or another
        shard's. Nobody but the provider knows the row's id: where it stands under the key that it
        has in an answer, the line is that row's."""
        end = line.find(self._mine_in_bytes)
        begin = end - KEY_LENGTH
        key = line[begin:end]
        if (
            begin > 0
            and line.endswith(self._leads, 0, begin)
            and _is_key(key)
            and line.startswith(b"{")
            and line.endswith(b"}")
            and line.count(self._mark) == 1
        ):
            return key
        return self._key_read(line)

    def _key_read(self, line: bytes) -> bytes | None:
        answer = read(line, self._group, self._dialect)
        return None if answer is None else self._checked(answer.id)

    def answer(self, key: bytes, kept: KeptAnswer | None) -> Answer | None:
        """What it says to the row with this key; None if it is no answer to it."""
        if not isinstance(kept, bytes):
            return kept and kept.in_full()
        answer = read(kept, self._group, self._dialect)
        if answer is None or not answer.id.startswith(f"r{key.decode()}{self._mine}"):
            return None
        return answer

    def better(self, known: KeptAnswer, other: KeptAnswer) -> KeptAnswer:
        """Of two answers to one row, in the order in which they came: the first usual one, else the
        first that succeeded, else the last. Where answers are read again, most come as they did
        before."""
        if known == other or isinstance(known, Ending):
            return known
        if isinstance(other, Ending):
            return other
        before = read(known, self._group, self._dialect)
        if before is not None and before.verdict == "succeeded":
            return known
        return known if read(other, self._group, self._dialect) is None else other
