"""Rows on disk, found again without keeping them in memory."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

from .spool import CHUNK


class Rows:
    """Rows as slices of a file: random access without keeping them in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts = array("Q")
        self.lengths = array("Q")

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: int, length: int) -> None:
        self.starts.append(start)
        self.lengths.append(length)

    def read(self, indices: list[int]) -> Iterator[tuple[int, bytes]]:
        if not indices:
            return
        with self.path.open("rb") as file:
            for index in indices:
                yield index, os.pread(file.fileno(), self.lengths[index], self.starts[index])


def lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yields line number from 1, offset and line; split at line feeds only."""
    offset = 0
    with path.open("rb", buffering=CHUNK) as file:
        for number, line in enumerate(file, 1):
            yield number, offset, line.rstrip(b"\r\n")
            offset += len(line)
