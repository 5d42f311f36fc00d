"""Lines of a byte stream, and the place that each has in the job.

Lines end at `b"\\n"` only: U+2028, U+0085 and the like are text inside a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

import msgspec

BOM = b"\xef\xbb\xbf"
KEY_LENGTH = 16
"""`RRRRRR-NNNNNNNNN`: range and row in the range, so that keys sort as bytes in input order."""

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Above the largest request that any provider takes; a longer line is not kept in memory."""

EXCERPT_BYTES = 65_536

BLOCK_BYTES = 256 * 1024
"""The processor's cache can hold them, and what is made of them."""


def row_key(range_number: int, row: int) -> str:
    return f"{range_number:06d}-{row:09d}"


class Oversized(msgspec.Struct, frozen=True):
    """A line longer than `MAX_LINE_BYTES`: its first bytes and its length."""

    excerpt: bytes
    size: int


def line_blocks(
    chunks: Iterable[bytes], *, max_bytes: int = MAX_LINE_BYTES, block_bytes: int = BLOCK_BYTES
) -> Iterator[bytes | Oversized]:
    """Every line, the last one also if it has no newline: about `block_bytes` of them at a time,
    with newlines between them and none behind the last."""
    pending: list[bytes] = []
    held = 0
    dropped = 0
    for chunk in chunks:
        whole = chunk.rfind(b"\n") + 1
        at = 0
        if pending and whole:
            at = chunk.find(b"\n") + 1
            first = b"".join((*pending, chunk[: at - 1]))
            yield _bounded(first, dropped, max_bytes)
            pending, held, dropped = [], 0, 0
        while at < whole:
            until = 1 + chunk.rfind(b"\n", at, at + block_bytes) or 1 + chunk.find(b"\n", at)
            block = chunk[at : until - 1]
            if len(block) <= max_bytes:
                yield block
            else:
                yield from (_bounded(line, 0, max_bytes) for line in split(block))
            at = until
        tail = chunk[at:]
        if held > max_bytes:
            dropped += len(tail)
        elif tail:
            pending.append(tail)
            held += len(tail)
    if pending:
        yield _bounded(b"".join(pending), dropped, max_bytes)


def _bounded(line: bytes, dropped: int, max_bytes: int) -> bytes | Oversized:
    size = len(line) + dropped
    return Oversized(line[:EXCERPT_BYTES], size) if size > max_bytes else line


def range_blocks(
    chunks: Iterable[bytes],
    start: int,
    end: int | None,
    *,
    max_bytes: int = MAX_LINE_BYTES,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[bytes | Oversized]:
    """Of `line_blocks`, the lines whose first byte lies in `[start, end)`.

    `chunks` begin one byte before `start` (at 0 for the first range) and run on past `end`, so
    that a line which crosses a border belongs to exactly one range: the one it begins in.
    """
    position = start - 1 if start else 0
    skip_first = start > 0
    for block in line_blocks(chunks, max_bytes=max_bytes, block_bytes=block_bytes):
        size = block.size if isinstance(block, Oversized) else len(block)
        begun, position = position, position + size + 1
        if skip_first:
            skip_first = False
            if isinstance(block, Oversized):
                continue
            first, newline, block = block.partition(b"\n")
            if not newline:
                continue
            begun += len(first) + 1
        if end is not None and begun >= end:
            return
        if end is not None and position > end and not isinstance(block, Oversized):
            last = block.find(b"\n", end - begun - 1)
            block = block if last < 0 else block[:last]
        yield block


def plain_blocks(
    blocks: Iterable[bytes | Oversized], *, at_start: bool
) -> Iterator[bytes | Oversized]:
    """Lines without byte order mark and carriage returns."""
    for block in blocks:
        first, at_start = at_start, False
        if not isinstance(block, Oversized):
            if first:
                block = block.removeprefix(BOM)
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
        yield block


def iter_lines(
    chunks: Iterable[bytes], *, max_bytes: int = MAX_LINE_BYTES
) -> Iterator[bytes | Oversized]:
    """Those of `line_blocks`, one by one."""
    return each(line_blocks(chunks, max_bytes=max_bytes))


def lines_of(block: bytes) -> list[bytes]:
    """The lines of a block, with newlines, the last one too. It looks for these with the C library,
    in a fifth of the time of `split`, which looks at each byte."""
    lines = BytesIO(block).readlines()
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    else:
        lines.append(b"\n")
    return lines


def split(block: bytes) -> list[bytes]:
    """Its lines without their newlines, in half the time of `bytes.split` where they have a
    kilobyte."""
    if b"\n" not in block:
        return [block]  # which may be very long
    return [line[:-1] for line in lines_of(block)]


def rows_of(blocks: Iterable[bytes | Oversized]) -> Iterator[bytes | Oversized]:
    """Lines that are rows, no blank ones, one by one."""
    for line in each(blocks):
        if isinstance(line, Oversized) or not is_blank(line):
            yield line


def is_blank(line: bytes) -> bool:
    return not line or line.isspace()


def each(blocks: Iterable[bytes | Oversized]) -> Iterator[bytes | Oversized]:
    """Their lines, one by one."""
    for block in blocks:
        if isinstance(block, Oversized):
            yield block
        else:
            yield from split(block)


class Transit(msgspec.Struct, array_like=True, gc=False):
    """What a row on its way has gone through: rounds spent by failures of its own, times sent
    again for another cause, the last error, to be told if it never succeeds, and what its
    attempts cost so far, in picodollars, and would have cost in real time; null: unknown.

    `made`: a recipe made the row. `misfits`: answers that did not fit the recipe's schema. `route`:
    the number of the recipe's route that the row took, -1 for none. Then what the row was
    estimated to weigh; no `tokens`: it has to be weighed again. `id_at`, `id_length`: where the
    user's id stands in the line, as JSON; 0: it has to be looked for."""

    failures: int = 0
    resends: int = 0
    code: str | None = None
    message: str | None = None
    cost: int | None = 0
    listed: int | None = 0
    made: bool = False
    misfits: int = 0
    route: int = -1
    tokens: int = 0
    max_output: int = 0
    unbounded: int = 0
    id_at: int = 0
    id_length: int = 0


_transit = msgspec.json.Decoder(Transit)


def pack_row(key: str, line: bytes, transit: Transit | None = None) -> bytes:
    """One line of a source: key, what the row has gone through, the user's line as it was, or the
    one that a recipe made."""
    header = msgspec.json.encode(transit or Transit())
    return b"%b %b\t%b\n" % (key.encode(), header, line)


def unpack_row(packed: bytes) -> tuple[str, Transit, bytes]:
    """Key, transit and line of `packed` (without its newline)."""
    head, _, line = packed.partition(b"\t")
    return head[:KEY_LENGTH].decode(), _transit.decode(head[KEY_LENGTH + 1 :]), line


def key_and_line(packed: bytes) -> tuple[str, bytes]:
    """The same without what the row has gone through."""
    return packed[:KEY_LENGTH].decode(), packed[packed.index(b"\t") + 1 :]


def pack_keyed(key: str, payload: bytes) -> bytes:
    """One line of a part: key and payload."""
    return b"%b %b\n" % (key.encode(), payload)


def unpack_keyed(packed: bytes) -> tuple[bytes, bytes]:
    return packed[:KEY_LENGTH], packed[KEY_LENGTH + 1 :]
