"""From an upload's bytes to rows: decompression, and what a name says of the format."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from functions.batch.errors import BatchdropError

Format = Literal["jsonl", "csv"]
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
MAX_GZ_BYTES = 10 << 30
"""Of a compressed upload: it can only be read from its beginning, by one call after the other."""

MAX_UNZIPPED_BYTES = 100 << 30
"""Read of a compressed file: what is there is unpacked again from its beginning by every leg, at
some 250 MB/s, so in 7 minutes."""

_PIECE = 8 * 1024 * 1024


class Named(msgspec.Struct, frozen=True):
    """What a key's ending says."""

    format: Format
    compressed: bool


class Unreadable(BatchdropError):
    """A compressed upload that is damaged or cut off."""

    code = "damaged"


class TooLarge(Unreadable):
    """A compressed upload that holds more than is read of one."""

    code = "input_too_large"


def bounded(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Raises `TooLarge` before there are more than `most` bytes."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TooLarge(
                f"Unpacked, the file has more than {most} bytes, which is as much as is read of a "
                "compressed one (max_unzipped_bytes): nothing was sent. Split it, or drop it "
                "unpacked."
            )
        yield chunk


def skipped(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Without the first `size` bytes."""
    for chunk in chunks:
        if size < len(chunk):
            yield chunk[size:] if size else chunk
        size = max(size - len(chunk), 0)


def named(key: str) -> Named | None:
    """None where the ending is none that we take. Endings are matched in any case."""
    name = key.lower()
    compressed = name.endswith(".gz")
    name = name.removesuffix(".gz")
    for ending, kind in _FORMATS.items():
        if name.endswith(ending):
            return Named(kind, compressed)
    return None


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A gzip stream of any number of members, in pieces of at most 8 MiB."""
    inflater = zlib.decompressobj(wbits=31)
    begun = False
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if inflater.eof:
                    data = data.lstrip(b"\0") if not begun else data
                    if not data:
                        break
                    inflater, begun = zlib.decompressobj(wbits=31), False
                begun = True
                piece = inflater.decompress(data, _PIECE)
                if piece:
                    yield piece
                if inflater.eof:
                    data, begun = inflater.unused_data, False
                else:
                    data = inflater.unconsumed_tail
        while begun and (piece := inflater.decompress(inflater.unconsumed_tail, _PIECE)):
            yield piece
    except zlib.error as error:
        raise Unreadable(f"The file is not valid gzip ({error}). Compress it again.") from error
    if begun and not inflater.eof:
        raise Unreadable("The gzip file ends too early: upload it again, whole.")
