"""Lines of a file of answers, as a provider's HTTP service sends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from functions.batch.errors import Unavailable
from functions.batch.streams.lines import BOM, Oversized, line_blocks, split

_skip = msgspec.json.Decoder(msgspec.Raw)


def answer_blocks(chunks: Iterable[bytes], service: str) -> Iterator[bytes]:
    """Its lines, some at a time. A row whose line is missing is sent, and paid, again, so that what
    is no file of answers, or not all of it, is told from one that lacks some: raises `Unavailable`
    for a gateway's page, and where the last line breaks off."""
    lines = objects = False
    last = b""
    for block in full_blocks(chunks):
        whole = block.rstrip()
        if whole:
            lines = True
            objects = objects or any(line.lstrip().startswith(b"{") for line in split(block))
            last = whole[whole.rfind(b"\n") + 1 :]
        yield block
    if lines and not objects:
        raise Unavailable("odd_answer", f"{service} sent no answers, but something else.")
    if _breaks_off(last):
        raise Unavailable("cut_off", f"{service}'s answers break off within a line.")


def full_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, some at a time, without a byte order mark. Blank ones are left, so that a place in
    them is the same in every download, however it comes in pieces."""
    at_start = True
    for block in line_blocks(chunks):
        first, at_start = at_start, False
        if isinstance(block, Oversized):
            continue  # no answer is that long: its row counts as unanswered
        yield block.removeprefix(BOM) if first else block


def _breaks_off(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        _skip.decode(line)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    except RecursionError:
        pass
    return False
