"""Looks at the first rows of an input: what a recipe for it would have to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.model import Job
from functions.batch.ports import Dialect, InputFiles, RowKind
from functions.batch.reading.unpacking import Unreadable, decompress, named
from functions.batch.streams.lines import Oversized, line_blocks, plain_blocks, rows_of

_ROWS = 20
_BYTES = 1024 * 1024
_LONGEST = 32 * 1024 * 1024

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def look(job: Job, inputs: InputFiles, dialects: Sequence[Dialect]) -> RowKind | None:
    """Of JSONL. Rows that cannot be read tell nothing, and neither does a file that cannot: it is
    refused when it is read. None where nothing tells anything. Raises `InputChanged`."""
    seen: set[str] = set()
    try:
        for line in islice(_first_rows(job, inputs), _ROWS):
            if isinstance(line, Oversized):
                continue
            try:
                fields = decode(line)
            except InvalidRow:
                continue
            dialect = dialect_of(fields, dialects)
            seen.add("" if dialect is None else dialect.provider)
    except Unreadable:
        return None
    if not seen:
        return None
    if "" in seen:
        return "data"
    return "gemini" if "vertex" in seen else "native"


def _first_rows(job: Job, inputs: InputFiles) -> Iterator[bytes | Oversized]:
    kind = named(job.key)
    chunks = inputs.chunks(job, 0)
    if kind is not None and kind.compressed:
        chunks = decompress(chunks)
    return rows_of(plain_blocks(line_blocks(_beginning(chunks)), at_start=True))


def _beginning(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Up to the last whole line of it, so that a row which is cut off is not looked at; of a first
    row that is very long at least that one."""
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) >= _BYTES and (b"\n" in data or len(data) >= _LONGEST):
            data = data[: data.rfind(b"\n") + 1]
            break
    yield data


def dialect_of(fields: dict[str, msgspec.Raw], dialects: Sequence[Dialect]) -> Dialect | None:
    """Whose request a line with these top-level keys is; None for data."""
    for dialect in dialects:
        if dialect.claims(fields):
            return dialect
    return None


def is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode(line: bytes) -> dict[str, msgspec.Raw]:
    """The line's top-level keys. Raises `InvalidRow` for what is not a JSON object in UTF-8."""
    if b"\0" in line:
        message = r"The line holds a NUL byte (\0), as those of UTF-16 do. Save the file as UTF-8."
        raise InvalidRow("nul_character", message, readable=False)
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise InvalidRow(
                "not_utf8",
                f"The line is not UTF-8 (byte {error.start}). Save the file as UTF-8.",
                readable=False,
            ) from error
    try:
        return _fields.decode(line)
    except msgspec.ValidationError as error:
        raise InvalidRow(
            "not_an_object", "The line is JSON, but no object ({…}).", readable=False
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRow("not_json", f"The line is not JSON: {error}.", readable=False) from error
