"""Tells whose answer a line is, without reading the rest of it."""

from __future__ import annotations

from collections.abc import Sequence

from functions.batch.collecting.mending import read
from functions.batch.model import Shard
from functions.batch.ports import Dialect
from functions.batch.reading.looking import is_utf8
from functions.batch.rows import Answer, UsualAnswer
from functions.batch.sending.shard_files import key_of
from functions.batch.streams.lines import KEY_LENGTH


class Addressing:
    """Of one shard's answers. What `key` says of a line need not hold: `answer` finds out."""

    def __init__(self, shard: Shard, dialect: Dialect) -> None:
        self._group = shard.group
        self._dialect = dialect
        self._leads = (dialect.id_mark + b':"r', dialect.id_mark + b': "r')
        self._mine = f"-{shard.job_id[-8:]}-{shard.shard_id}-"
        self._mine_in_bytes = self._mine.encode()

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
            and key[7:].isdigit()
            and line.endswith(b"}")
        ):
            return key
        return self._key_read(line)

    def _key_read(self, line: bytes) -> bytes | None:
        answer = read(line, self._group, self._dialect)
        if answer is None or self._mine not in answer.id:
            return None
        key = key_of(answer.id).encode()
        return key if key[7:].isdigit() and len(key) == KEY_LENGTH else None

    def answer(self, key: bytes, line: bytes) -> Answer | None:
        """What the line says to the row with this key; None if it is no answer to it."""
        answer = read(line, self._group, self._dialect)
        if answer is None or not answer.id.startswith(f"r{key.decode()}{self._mine}"):
            return None
        return answer

    def usual_answers(
        self, keys: Sequence[bytes], lines: Sequence[bytes | None]
    ) -> list[UsualAnswer | None]:
        """The same of many rows, where their answers are usual; None: `answer` has to look."""
        mine = self._mine
        texts = [line if line is not None and is_utf8(line) else b"" for line in lines]
        return [
            answer
            if answer is not None and answer.id.startswith(f"r{key.decode()}{mine}")
            else None
            for key, answer in zip(
                keys, self._dialect.usual_answers(texts, self._group), strict=True
            )
        ]

    def better(self, known: bytes, other: bytes) -> bytes:
        """Of two answers to one row, in the order in which they came: the one that succeeded stays,
        else the last. Where answers are read again, most come as they did before."""
        if known == other:
            return known
        before = read(known, self._group, self._dialect)
        if before is not None and before.verdict == "succeeded":
            return known
        return known if read(other, self._group, self._dialect) is None else other
