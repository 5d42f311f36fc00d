"""Lines of a file of answers, as a provider's HTTP service sends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from functions.batch.errors import Unavailable
from functions.batch.lines import Oversized, iter_lines

_skip = msgspec.json.Decoder(msgspec.Raw)


def answer_lines(chunks: Iterable[bytes], service: str) -> Iterator[bytes]:
    """Every line of it, but blank ones. A row whose line is missing is sent, and paid, again, so
    that what is no file of answers, or not all of it, is told from one that lacks some: raises
    `Unavailable` for a gateway's page, and where the last line breaks off."""
    lines = objects = 0
    last = b""
    for line in iter_lines(chunks):
        if isinstance(line, Oversized):
            continue  # no answer is that long: its row counts as unanswered
        if not line or line.isspace():
            continue
        lines += 1
        objects += line.lstrip().startswith(b"{")
        last = line
        yield line
    if lines and not objects:
        raise Unavailable("odd_answer", f"{service} sent no answers, but something else.")
    if _breaks_off(last):
        raise Unavailable("cut_off", f"{service}'s answers break off within a line.")


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
