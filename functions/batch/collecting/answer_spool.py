"""Answers as they came, or what was read of them, until their rows come by.

Answers come in any order, rows in theirs. A shard's answers are held in memory as long as they are
not too many; then they go to a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from functions.batch.collecting.answer_file import AnswerFile, Better, Index, put, size
from functions.batch.collecting.endings import Ending, KeptAnswer, folded

_MOST_HELD = 176 * 1024 * 1024
"""Bytes of answers in memory: those to a full shard of 100,000 rows, if one has a kilobyte."""

_MOST_AT_ONCE = 8 * 1024 * 1024
"""Of those that are found, bytes that are handed on together."""

_BESIDE = 400
"""Bytes that an answer takes in memory, beside its line: it has a key, and numbers."""


class AnswerSpool:
    def __init__(self, directory: Path, better: Better) -> None:
        self._better = better
        self._held: dict[bytes, KeptAnswer] = {}
        self._size = 0
        self._largest = 0
        self._file = AnswerFile(directory / "answers", better)

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def rows(self) -> int:
        """How many have an answer."""
        return self._file.rows(self._held) if self._file.index else len(self._held)

    def add_lines(self, keys: Sequence[bytes], lines: Sequence[bytes]) -> None:
        """Answers as they came, each with the key of its row."""
        self._add_all(keys, lines, [*map(len, lines)])

    def add_endings(self, keys: Sequence[bytes], endings: Sequence[Ending]) -> None:
        """What was read of others."""
        self._add_all(keys, endings, [len(each.rest) for each in endings])

    def _add_all(
        self, keys: Sequence[bytes], answers: Sequence[KeptAnswer], lengths: list[int]
    ) -> None:
        if not keys:
            return
        put(self._held, keys, answers, self._better)
        self._size += sum(lengths) + _BESIDE * len(lengths)
        self._largest = max(self._largest, *lengths)
        if self._size > _MOST_HELD:
            self._write()

    def find_all(self, keys: Sequence[bytes]) -> Iterator[list[KeptAnswer | None]]:
        """Some at a time, as many as memory may hold: answers can be a thousand times as large as
        their rows. Fast for keys in their order."""
        if len(keys) * max(self._largest, self._file.largest) <= _MOST_AT_ONCE:
            yield self._find(keys)
            return
        found: list[KeptAnswer | None] = []
        bytes_found = 0
        for key in keys:
            (answer,) = self._find([key])
            found.append(answer)
            bytes_found += 0 if answer is None else size(answer)
            if bytes_found > _MOST_AT_ONCE:
                yield found
                found, bytes_found = [], 0
        yield found

    def _find(self, keys: Sequence[bytes]) -> list[KeptAnswer | None]:
        answers = [*map(self._held.get, keys)]
        if not self._file.index:
            return answers
        return [*map(self._of_both, self._file.find(keys), answers)]

    def _of_both(self, before: KeptAnswer | None, after: KeptAnswer | None) -> KeptAnswer | None:
        if before is None or after is None:
            return after or before
        return self._better(before, after)

    def index(self) -> Index:
        """Of the file, which has everything then. To be stored with it."""
        self._write()
        return self._file.index

    def _write(self) -> None:
        held = self._held
        for key, answer in held.items():
            if isinstance(answer, Ending) and answer.whole:
                held[key] = folded(answer)  # on disk they take no more than in the download
        self._file.write(held)
        self._size = 0

    def take_up(self, chunks: Iterable[bytes], index: Index) -> None:
        """A file as it was stored, and its index, before anything is added."""
        self._file.take_up(chunks, index)

    def close(self) -> None:
        self._file.close()
