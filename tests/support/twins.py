"""In-memory twins of the ports, but those of the ledger and of money. They pass the adapters'
contract suites."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from functions.batch.errors import InputChanged, UploadGone
from functions.batch.model import Job
from functions.batch.work import Piece


class MemoryObjects:
    def __init__(self, bucket: str = "work", piece: int = 1 << 16) -> None:
        self.bucket = bucket
        self.stored: dict[str, bytes] = {}
        self.uploads: dict[tuple[str, str], dict[int, bytes]] = {}
        self.least_piece = 5 * 1024 * 1024
        self._begun = 0
        self._piece = piece

    def get(self, key: str) -> bytes:
        return self.stored[key]

    def find(self, key: str) -> bytes | None:
        return self.stored.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.stored[key] = data

    def put_new(self, key: str, data: bytes) -> None:
        self.stored.setdefault(key, data)

    def chunks(self, key: str, start: int = 0) -> Iterator[bytes]:
        data = self.stored[key]
        for at in range(start, len(data), self._piece):
            yield data[at : at + self._piece]

    def read(self, key: str, start: int, size: int) -> bytes | None:
        data = self.stored.get(key)
        return None if data is None else data[start : start + size]

    def upload(self, path: Path, key: str) -> None:
        self.stored[key] = path.read_bytes()

    @contextmanager
    def writer(self, key: str) -> Generator[_Buffer]:
        buffer = _Buffer()
        yield buffer
        self.stored[key] = bytes(buffer.data)

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in list(self.stored) if key.startswith(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        for key in self.keys(prefix):
            yield key, len(self.stored[key])

    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self.stored.pop(key, None)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def begin(self, key: str) -> str:
        self._begun += 1
        upload = f"upload-{self._begun}"
        self.uploads[key, upload] = {}
        return upload

    def put_piece(self, key: str, upload: str, number: int, data: bytes) -> str:
        assert 1 <= number <= 10_000
        self._open(key, upload)[number] = data
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def complete(self, key: str, upload: str, pieces: Sequence[Piece]) -> None:
        put = self._open(key, upload)
        numbers = [piece.number for piece in pieces]
        assert numbers
        assert numbers == sorted(set(numbers))
        for piece in pieces:
            data = put[piece.number]
            assert piece.tag == hashlib.md5(data, usedforsecurity=False).hexdigest()
            assert len(data) >= self.least_piece or piece is pieces[-1], "EntityTooSmall"
        self.stored[key] = b"".join(put[number] for number in numbers)
        del self.uploads[key, upload]

    def abandon(self, prefix: str) -> None:
        for key, upload in list(self.uploads):
            if key.startswith(prefix):
                del self.uploads[key, upload]

    def _open(self, key: str, upload: str) -> dict[int, bytes]:
        if (key, upload) not in self.uploads:
            raise UploadGone(key)
        return self.uploads[key, upload]


class _Buffer:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


class MemoryInputs:
    """Uploads by key; `others` are objects beside them, recipes among them."""

    def __init__(self, uploads: dict[str, bytes]) -> None:
        self.uploads = uploads
        self.others: dict[str, bytes] = {}
        self.charsets: dict[str, str] = {}
        self.piece = 1 << 16

    def pin(self, job: Job) -> Job:
        if job.key not in self.uploads:
            raise InputChanged("gone")
        size = len(self.uploads[job.key])
        return msgspec.structs.replace(job, version_id="v1", bytes=size)

    def recipe(self, job: Job) -> str | None:
        folder = job.key.rpartition("/")[0]
        while True:
            for name in ("recipe.yaml", "recipe.yml", "recipe.json"):
                key = f"{folder}/{name}" if folder else name
                if key in self.others:
                    return key
            if not folder:
                return None
            folder = folder.rpartition("/")[0]

    def beside(self, job: Job, key: str, most: int) -> bytes | None:
        data = self.others.get(key)
        return None if data is None else data[:most]

    def charset(self, job: Job) -> str | None:
        return self.charsets.get(job.key)

    def chunks(self, job: Job, start: int) -> Iterator[bytes]:
        if job.key not in self.uploads:
            raise InputChanged("gone")
        data = self.uploads[job.key]
        for at in range(start, len(data), self.piece):
            yield data[at : at + self.piece]


class MemoryEvents:
    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any]]] = []

    def publish(self, detail_type: str, detail: dict[str, object]) -> None:
        self.published.append((detail_type, msgspec.to_builtins(detail)))


class MemoryAlerts:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def alert(self, subject: str, message: str) -> None:
        self.sent.append((subject, message))


class MemoryWorkflows:
    def __init__(self) -> None:
        self.given_up: list[str] = []
        self.started: list[str] = []
        self.tokens: list[str] = []
        self.woken: list[str] = []
        self.waiting: set[str] = set()

    def start_job(self, job_id: str, run: int = 0, *, given_up: bool = False) -> None:
        if given_up:
            self.given_up.append(job_id)
        name = f"{job_id}-run{run}" if run else job_id
        if name not in self.started:
            self.started.append(name)

    def begin_to_wait(self, token: str) -> None:
        """A state of an execution waits for the token."""
        self.tokens.append(token)
        self.waiting.add(token)

    def wake(self, token: str) -> bool:
        self.woken.append(token)
        waits = token in self.waiting
        self.waiting.discard(token)
        return waits
