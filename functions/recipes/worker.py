"""Renders rows in a process of its own: `python -m functions.recipes.worker`.

Frames on standard input and output are a length (4 bytes, big-endian) and MessagePack. The first
frame is the recipe, as JSON, answered by an empty one; each other is a list of rows, answered by a
list of what they came to.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import BinaryIO

import msgspec

from functions.recipes.rendering import Renderer
from functions.recipes.requests import Instructions

MEMORY_BYTES = 1024 * 1024 * 1024


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(4)
    return source.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def _answer(target: BinaryIO, data: bytes) -> None:
    target.write(len(data).to_bytes(4, "big") + data)
    target.flush()


def main() -> None:
    _limit_memory()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    first = _frame(source)
    if first is None:
        return
    renderer = Renderer(msgspec.json.decode(first, type=Instructions))
    _answer(target, b"")
    rows = msgspec.msgpack.Decoder(list[bytes])
    encode = msgspec.msgpack.Encoder().encode
    while (frame := _frame(source)) is not None:
        _answer(target, encode([renderer.make(row) for row in rows.decode(frame)]))


def _limit_memory() -> None:
    """Where the system can: beyond it a template gets a MemoryError, and the row a sentence."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
