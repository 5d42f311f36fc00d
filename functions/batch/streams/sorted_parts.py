"""Keyed lines that come in no order, as parts that are sorted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from functions.batch.ports import Objects
from functions.batch.streams.lines import KEY_LENGTH
from functions.batch.streams.sorting import LineSorter
from functions.batch.work import Part

MOST_ON_DISK = 2 * 1024**3
"""Bytes of lines after which a part is stored, and its disk is free again."""


class SortedParts:
    """`key_of` names the object of the part with a number, from 1. Lines begin with a row's key."""

    def __init__(
        self,
        objects: Objects,
        directory: Path,
        name: str,
        key_of: Callable[[int], str],
        *,
        most_on_disk: int = MOST_ON_DISK,
    ) -> None:
        self._objects = objects
        self._lines = LineSorter(directory, name)
        self._key_of = key_of
        self._most = most_on_disk
        self._parts: list[Part] = []

    def add(self, line: bytes) -> None:
        self._lines.add(line)
        if self._lines.size >= self._most:
            self._store()

    def store(self) -> list[Part]:
        """All parts, or none if nothing was added."""
        if self._lines.count:
            self._store()
        return self._parts

    def _store(self) -> None:
        key = self._key_of(len(self._parts) + 1)
        first = last = b""
        with self._objects.writer(key) as out:
            for line in self._lines.sorted():
                last = line[:KEY_LENGTH]
                first = first or last
                out.write(b"%b\n" % line)
        self._parts.append(Part(key=key, first=first.decode(), last=last.decode()))
        self._lines.clear()
