"""A bucket and an inbox in folders, for measurements: what S3's own client costs is left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from functions.batch.errors import UploadGone
from functions.batch.model import Job
from functions.batch.results.pieces import LEAST_PIECE
from functions.batch.work import Piece
from tests.support.twins import MemoryInputs

PIECE = 8 * 1024 * 1024
"""As S3 is read and written in production."""


def pieces(path: Path, start: int = 0, size: int = PIECE) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while piece := file.read(size):
            yield piece


class FileObjects:
    """See `functions.batch.ports.Objects`."""

    least_piece = LEAST_PIECE

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def get(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def find(self, key: str) -> bytes | None:
        path = self.folder / key
        return path.read_bytes() if path.exists() else None

    def put(self, key: str, data: bytes) -> None:
        self._place(key).write_bytes(data)

    def put_new(self, key: str, data: bytes) -> None:
        if self.find(key) is None:
            self.put(key, data)

    def chunks(self, key: str, start: int = 0) -> Iterator[bytes]:
        return pieces(self.folder / key, start)

    def read(self, key: str, start: int, size: int) -> bytes | None:
        path = self.folder / key
        if not path.exists():
            return None
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(size)

    def upload(self, path: Path, key: str) -> None:
        """The bytes are on this disk already: they get a second name."""
        place = self._place(key)
        place.unlink(missing_ok=True)
        os.link(path, place)

    @contextmanager
    def writer(self, key: str) -> Generator[IO[bytes]]:
        place = self._place(key)
        unfinished = place.with_name(f"{place.name}.unfinished")
        with unfinished.open("wb", buffering=PIECE) as file:
            yield file
        unfinished.replace(place)

    def keys(self, prefix: str) -> Iterator[str]:
        for key, _ in self.sizes(prefix):
            yield key

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        place = self.folder.joinpath(prefix)
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(self.folder)), path.stat().st_size

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            (self.folder / key).unlink(missing_ok=True)

    def uri(self, key: str) -> str:
        return (self.folder / key).as_uri()

    def begin(self, key: str) -> str:
        upload = f"{key}.upload"
        self.abandon(upload)
        (self.folder / upload).mkdir(parents=True)
        return upload

    def put_piece(self, key: str, upload: str, number: int, data: bytes) -> str:
        if not (self.folder / upload).exists():
            raise UploadGone(key)
        (self.folder / upload / f"{number:05d}").write_bytes(data)
        return str(len(data))

    def complete(self, key: str, upload: str, pieces: Sequence[Piece]) -> None:
        """The pieces are one after the other on this disk: the first is the beginning."""
        parts = [self.folder / upload / f"{piece.number:05d}" for piece in pieces]
        for part in parts[:-1]:
            assert part.stat().st_size >= self.least_piece, "EntityTooSmall"
        with parts[0].open("ab") as whole:
            for part in parts[1:]:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole, PIECE)
                part.unlink()
        parts[0].replace(self._place(key))
        self.abandon(upload)

    def abandon(self, prefix: str) -> None:
        for path in self.folder.joinpath(prefix).parent.glob("*.upload"):
            if str(path.relative_to(self.folder)).startswith(prefix):
                shutil.rmtree(path)

    def forget(self, folder: str) -> None:
        """All that lies below a folder, so that a step can run again."""
        shutil.rmtree(self.folder / folder, ignore_errors=True)

    def _place(self, key: str) -> Path:
        place = self.folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


class FileInputs(MemoryInputs):
    def __init__(self, folder: Path) -> None:
        super().__init__({})
        self.folder = folder.resolve()

    def pin(self, job: Job) -> Job:
        size = (self.folder / job.key).stat().st_size
        return msgspec.structs.replace(job, version_id="v1", bytes=size)

    def chunks(self, job: Job, start: int) -> Iterator[bytes]:
        return pieces(self.folder / job.key, start)
