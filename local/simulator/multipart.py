"""Reads multipart bodies as they arrive: fields to memory, the file to disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from .wire import ApiError, Body

MAX_FIELD = 1 << 20


@dataclass
class Form:
    fields: dict[str, str] = field(default_factory=dict[str, str])
    filename: str | None = None
    content_type: str | None = None
    """Of the file's part."""
    parts: int = 0


def boundary_of(content_type: str | None, subtype: str) -> bytes:
    kind, options = parse_options_header(content_type or "")
    boundary = options.get(b"boundary")
    if kind != f"multipart/{subtype}".encode() or not boundary:
        raise ApiError(400, f"Expected a multipart/{subtype} body.")
    return boundary


class _Reader:
    """Callbacks of the parser. A part with a file name goes to `file`, the others to fields."""

    def __init__(self, file: BinaryIO, is_file: Callable[[int, dict[bytes, bytes]], bool]) -> None:
        self.form = Form()
        self._file = file
        self._is_file = is_file
        self._text = bytearray()
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._to_file = False
        self._options: dict[bytes, bytes] = {}

    def callbacks(self) -> Any:
        names = (
            "part_begin part_data part_end header_field header_value header_end headers_finished"
        )
        return {f"on_{name}": getattr(self, name) for name in names.split()}

    def part_begin(self) -> None:
        self._headers = {}
        self._text.clear()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def headers_finished(self) -> None:
        _, self._options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._to_file = self._is_file(self.form.parts, self._options)
        if self._to_file:
            kind = self._headers.get(b"content-type")
            self.form.content_type = kind.decode("latin-1") if kind else None
            self.form.filename = self._options.get(b"filename", b"").decode("utf-8", "replace")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._to_file:
            self._file.write(data[start:end])
        elif len(self._text) + end - start <= MAX_FIELD:
            self._text += data[start:end]

    def part_end(self) -> None:
        if not self._to_file:
            name = self._options.get(b"name", str(self.form.parts).encode())
            self.form.fields[name.decode()] = self._text.decode("utf-8", "replace")
        self.form.parts += 1


def read(
    body: Body,
    boundary: bytes,
    path: Path,
    is_file: Callable[[int, dict[bytes, bytes]], bool],
) -> Form:
    """Raises ApiError for a malformed body. `is_file` gets a part's number and its options."""
    with path.open("wb") as file:
        reader = _Reader(file, is_file)
        parser = MultipartParser(boundary, reader.callbacks())
        try:
            for block in body.blocks():
                parser.write(block)
            parser.finalize()
        except MultipartParseError as error:
            path.unlink(missing_ok=True)
            raise ApiError(400, f"Could not parse multipart form: {error}") from None
    return reader.form
