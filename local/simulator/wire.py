"""What a request and a reply are, independent of the server that carries them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from .faults import Fault
from .spool import CHUNK


class ApiError(Exception):
    """A refusal in the provider's own words; each provider's API renders it in its own shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.param = param
        self.headers = headers or {}


class Body:
    """A request's body, read from the connection as it arrives; chunked or of known length."""

    def __init__(self, stream: BufferedIOBase, headers: Message) -> None:
        self._stream = stream
        self._chunked = "chunked" in (headers.get("transfer-encoding") or "").lower()
        self._left = 0 if self._chunked else int(headers.get("content-length") or 0)
        self.known_length = None if self._chunked else self._left

    def blocks(self) -> Iterator[bytes]:
        """Yields what has not been read yet; raises ConnectionError if the peer stops short."""
        while block := self._read(CHUNK):
            yield block

    def _read(self, size: int) -> bytes:
        if self._chunked and self._left == 0 and not self._next_chunk():
            return b""
        if self._left == 0:
            return b""
        block = self._stream.read(min(size, self._left))
        if not block:
            raise ConnectionError("the request ended early")
        self._left -= len(block)
        if self._chunked and self._left == 0:
            self._stream.readline()
        return block

    def _next_chunk(self) -> bool:
        self._left = int(self._stream.readline().split(b";")[0] or b"0", 16)
        if self._left == 0:
            self._chunked = False
            while self._stream.readline().strip():
                pass
        return self._left > 0

    def save(self, path: Path, *, append: bool = False, limit: int | None = None) -> int:
        """Returns the number of bytes stored; beyond `limit` the rest is read and dropped."""
        size = 0
        with path.open("ab" if append else "wb") as file:
            for block in self.blocks():
                size += len(block)
                if limit is None or size <= limit:
                    file.write(block)
        return size

    def read(self) -> bytes:
        return b"".join(self.blocks())

    def drain(self) -> None:
        for _ in self.blocks():
            pass


@dataclass
class Request:
    method: str
    target: str
    headers: Message
    body: Body
    base_url: str
    """Scheme, host and port as the client wrote them, for URLs in answers."""
    params: dict[str, str] = field(default_factory=dict[str, str])
    faults: list[Fault] = field(default_factory=list[Fault])

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.path = parts.path
        self.query = parse_qs(parts.query, keep_blank_values=True)

    def argument(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[-1] if values else None

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Reads a page size; out of range or not a number is a 400, as at the providers."""
        text = self.argument(name)
        if text is None:
            return default
        if not text.lstrip("-").isdigit() or not low <= int(text) <= high:
            raise ApiError(
                400,
                f"Invalid '{name}': integer out of range. Expected {low} to {high}, got {text}.",
                code="integer_out_of_range",
                param=name,
            )
        return int(text)

    def json(self) -> dict[str, Any]:
        try:
            value = msgspec.json.decode(self.body.read() or b"{}")
        except msgspec.DecodeError as error:
            raise ApiError(
                400, f"We could not parse the JSON body of your request: {error}"
            ) from None
        if not isinstance(value, dict):
            raise ApiError(400, "The body of the request must be a JSON object.")
        return value  # pyright: ignore[reportUnknownVariableType]

    def bearer(self) -> str | None:
        scheme, _, token = (self.headers.get("authorization") or "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


@dataclass(frozen=True)
class FileSlice:
    """A part of a file, sent without being read whole."""

    path: Path
    start: int
    length: int

    def blocks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = self.length
            while left > 0 and (block := file.read(min(CHUNK, left))):
                left -= len(block)
                yield block


@dataclass
class Reply:
    status: int = 200
    body: bytes | FileSlice = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def blocks(self) -> Iterator[bytes]:
        if isinstance(self.body, bytes):
            yield self.body
        else:
            yield from self.body.blocks()

    @staticmethod
    def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Reply":
        body = msgspec.json.encode(value)
        return Reply(status, body, {"content-type": "application/json", **(headers or {})})


def file_reply(path: Path, request: Request, content_type: str) -> Reply:
    """Honours a single `Range: bytes=a-b`, as the download services do."""
    size = path.stat().st_size
    headers = {"content-type": content_type}
    unit, _, spec = (request.headers.get("range") or "").partition("=")
    if unit != "bytes" or "," in spec or "-" not in spec:
        return Reply(200, FileSlice(path, 0, size), headers)
    first, _, last = spec.partition("-")
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or start > end:
        return Reply(416, b"", {**headers, "content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {start}-{end}/{size}"
    return Reply(206, FileSlice(path, start, end - start + 1), headers)
