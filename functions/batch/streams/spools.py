"""Keyed lines on their way to the work bucket: spooled to disk, uploaded when closed."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from functions.batch.model import CANARY_ROWS
from functions.batch.ports import Objects
from functions.batch.rows import Group, Limits, Weight
from functions.batch.work import Head, Part, Source


class Spool:
    """One object in the making. Lines must come in key order."""

    def __init__(self, key: str, directory: Path) -> None:
        self.key = key
        self.first = ""
        self.last = ""
        self._path = directory / key.replace("/", "_")
        self._file: IO[bytes] = self._path.open("wb", buffering=1 << 18)
        self._write = self._file.write

    def add(self, row_key: str, line: bytes) -> None:
        if not self.first:
            self.first = row_key
        self.last = row_key
        self._write(line)

    def store(self, objects: Objects) -> Part:
        """Uploads what was added and frees the disk."""
        self._file.close()
        try:
            objects.upload(self._path, self.key)
        finally:
            self._path.unlink()
        return Part(key=self.key, first=self.first, last=self.last)

    def close(self) -> None:
        """Without storing it: something went wrong."""
        self._file.close()


class PartSpools:
    """Spools that exist only once something is added to them."""

    def __init__(self, objects: Objects, directory: Path) -> None:
        self._objects = objects
        self._directory = directory
        self._open: dict[str, Spool] = {}

    def add(self, key: str, row_key: str, line: bytes) -> None:
        spool = self._open.get(key)
        if spool is None:
            spool = self._open[key] = Spool(key, self._directory)
        spool.add(row_key, line)

    def add_all(self, key: str, first: bytes, last: bytes, lines: bytes) -> None:
        """Lines with their newlines; the keys of the first row among them and of the last."""
        self.add(key, first.decode(), lines)
        self._open[key].last = last.decode()

    def store(self, key: str) -> list[Part]:
        """The part, or nothing if no line was added."""
        spool = self._open.pop(key, None)
        return [] if spool is None else [spool.store(self._objects)]

    def close(self) -> None:
        for spool in self._open.values():
            spool.close()


def room_beside(rows: int, limits: Limits) -> int:
    """Rows that may be added at once to a source which has these: its head has to end with one."""
    return min(CANARY_ROWS if rows < CANARY_ROWS else limits.rows, limits.rows) - rows


class SourceSpool:
    """Rows of one group, and what they weigh. `opening`: see `Source`."""

    def __init__(
        self,
        group: Group,
        key: str,
        directory: Path,
        *,
        alone: bool = False,
        opening: Weight | None = None,
    ) -> None:
        self.group = group
        self.key = key
        self.weight = Weight()
        self._alone = alone
        self._opening = opening
        self._head: Head | None = None
        self._spool = Spool(key, directory)

    def add(self, row_key: str, line: bytes, weight: Weight) -> None:
        self._spool.add(row_key, line)
        self._weigh(row_key, weight)

    def add_all(self, first: str, last: str, lines: list[bytes], weight: Weight) -> None:
        """No more than there is room for."""
        self._spool.add(first, b"".join(lines))
        self._spool.last = last
        self._weigh(last, weight)

    def _weigh(self, last: str, weight: Weight) -> None:
        self.weight.add(weight)
        if self.weight.rows == CANARY_ROWS:
            self._head = Head(last=last, weight=Weight().plus(self.weight))

    def store(self, objects: Objects, *, delay_seconds: int = 0) -> Source:
        part = self._spool.store(objects)
        return Source(
            key=part.key,
            first=part.first,
            last=part.last,
            group=self.group,
            weight=self.weight,
            alone=self._alone,
            delay_seconds=delay_seconds,
            head=self._head,
            opening=self._opening,
        )

    def close(self) -> None:
        self._spool.close()
