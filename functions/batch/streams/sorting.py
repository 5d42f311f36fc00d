"""Sorts more lines than memory holds, on disk, and meets sorted ones with each other."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024
"""Kept in memory; what is more is written down, sorted, as one run."""

_OVERHEAD = 64
"""Bytes that a line in memory takes beside its own."""


class LineSorter:
    """Lines without their newline, which must have none within. `name` is unique in `directory`,
    where the runs stay until it is deleted. `size` is in bytes, without newlines."""

    def __init__(self, directory: Path, name: str, *, most_bytes: int = MOST_BYTES) -> None:
        self._directory = directory
        self._name = name
        self._most = most_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._runs: list[Path] = []
        self.count = 0
        self.size = 0

    def add(self, line: bytes) -> None:
        length = len(line)
        self._held.append(line)
        self.count += 1
        self.size += length
        self._held_bytes += length + _OVERHEAD
        if self._held_bytes >= self._most:
            self._write()

    def _write(self) -> None:
        self._held.sort()
        path = self._directory / f"{self._name}-{len(self._runs):05d}.run"
        with path.open("wb", buffering=1 << 18) as file:
            file.writelines(b"%b\n" % line for line in self._held)
        self._runs.append(path)
        self._held = []
        self._held_bytes = 0

    def sorted(self) -> Iterator[bytes]:
        """All lines, as bytes compare. May be asked for several times, once all are added."""
        if not self._runs:
            self._held.sort()
            return iter(self._held)
        if self._held:
            self._write()
        return heapq.merge(*(_lines(path) for path in self._runs))

    def clear(self) -> None:
        """Frees memory and disk, for other lines."""
        for path in self._runs:
            path.unlink()
        self._held, self._runs = [], []
        self._held_bytes = self.count = self.size = 0


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=1 << 18) as file:
        for line in file:
            yield line[:-1]


class Ahead:
    """Sorted lines that are met with other sorted ones. `head` is the next; None after the last."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.head = next(lines, None)

    def at(self, beginning: bytes) -> bytes | None:
        """The first line that begins so, if there is one. To be asked in order."""
        length = len(beginning)
        while self.head is not None and self.head[:length] < beginning:
            self.head = next(self._lines, None)
        found = self.head
        return found if found is not None and found[:length] == beginning else None
