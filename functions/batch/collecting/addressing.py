"""Tells whose answer a line is. Usual ones are read then, many at once; of the others as little as
can be, since each is read again when its row comes by."""

from __future__ import annotations

import re

from functions.batch.collecting.mending import read
from functions.batch.model import Shard
from functions.batch.ports import Dialect
from functions.batch.reading.looking import is_utf8
from functions.batch.rows import Answer, KeptAnswer, UsualAnswer
from functions.batch.streams.lines import KEY_LENGTH

_is_key = re.compile(rb"[0-9]{6}-[0-9]{9}").fullmatch


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

    def read(self, block: bytes) -> tuple[list[bytes], list[KeptAnswer]]:
        """The answers among the lines of a block, each with the key of its row. A line that is
        none, or has another shard's id, is left out: its row, if it has any, counts as unanswered.
        """
        answers = self._usual(block)
        ids = [answer.id for answer in answers if isinstance(answer, UsualAnswer)]
        keys = self._keys(ids)
        if len(keys) == len(answers):
            return keys, answers
        found: list[tuple[bytes, KeptAnswer]] = []
        for kept in answers:
            key = self.key(kept) if isinstance(kept, bytes) else self._checked(kept.id)
            if key is not None:
                found.append((key, kept))
        return [key for key, _ in found], [kept for _, kept in found]

    def _usual(self, block: bytes) -> list[KeptAnswer]:
        if is_utf8(block):
            return self._dialect.usual_answers(block, self._group)
        kept: list[KeptAnswer] = []
        for line in block.split(b"\n"):
            kept += self._dialect.usual_answers(line, self._group) if is_utf8(line) else [line]
        return kept

    def _keys(self, ids: list[str]) -> list[bytes]:
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

    def answer(self, key: bytes, line: bytes) -> Answer | None:
        """What the line says to the row with this key; None if it is no answer to it."""
        answer = read(line, self._group, self._dialect)
        if answer is None or not answer.id.startswith(f"r{key.decode()}{self._mine}"):
            return None
        return answer

    def better(self, known: KeptAnswer, other: KeptAnswer) -> KeptAnswer:
        """Of two answers to one row, in the order in which they came: the one that succeeded stays,
        else the last. Where answers are read again, most come as they did before."""
        if known == other or isinstance(known, UsualAnswer):
            return known
        before = read(known, self._group, self._dialect)
        if before is not None and before.verdict == "succeeded":
            return known
        if isinstance(other, UsualAnswer):
            return other
        return known if read(other, self._group, self._dialect) is None else other
