"""Makes a mould of two rows that follow each other.

The dialect says where a row has strings that may be any (`Cut`)."""

from __future__ import annotations

from collections import Counter

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.ports import Dialect
from functions.batch.reading.gaps import Around
from functions.batch.reading.looking import decode
from functions.batch.reading.mould import Mould, Room, Shape
from functions.batch.rows import LINK, Cut, ParsedRow, String

_QUOTE = b'"'
_MOST_STRINGS, _MOST_GAPS = 256, 32
"""Of a row that has more, each is read by itself: to find them all, in every row, takes longer."""
_PROBE = b"these are four words, "


def mould_of(line: bytes, before: bytes, dialect: Dialect, prefix: str) -> Mould | None:
    """What the line has in common with the one before it. None for one of which nothing differs, or
    whose texts cannot be told from the rest of it, or for which they are more than texts."""
    cut, row = dialect.cut(line), _parsed(line, dialect)
    found = [] if cut is None else _differing(line, before, cut)
    if cut is None or row is None or not found:
        return None
    around = _around(line, found)
    empty = _parsed(around.filled([b""] * around.gaps), dialect)
    if empty is None:
        return None
    roles = [string.role for _, string in found]
    shape = Shape(
        around,
        fixed=empty.tokens,
        texts=[gap for gap, role in enumerate(roles) if role == "text"],
        named=roles.index("id") if "id" in roles else None,
    )
    mould = Mould(dialect, cut, row, line, shape, prefix)
    return mould if _tells(mould, dialect) else None


def _differing(line: bytes, before: bytes, cut: Cut) -> list[tuple[int, String]]:
    """Which strings differ from those of the line before, or may: the id. And where they begin.
    None of them where what is the same stands elsewhere too, and may be more than a string."""
    if len(cut.strings) > _MOST_STRINGS:
        return []
    known = Counter(string.json for string in cut.strings)
    found: list[tuple[int, String]] = []
    at = 0
    for string in cut.strings:
        at = line.find(string.json, at)
        if at < 0:
            return []
        if string.role == "id" or string.json not in before:
            if line.count(string.json) != known[string.json]:
                return []
            found.append((at, string))
        at += len(string.json)
    return found if len(found) <= _MOST_GAPS else []


def _around(line: bytes, found: list[tuple[int, String]]) -> Around:
    pieces: list[bytes] = []
    end = 0
    for at, string in found:
        begin = at + len(LINK if string.role == "link" else _QUOTE)
        pieces.append(line[end:begin])
        end = at + len(string.json) - len(_QUOTE)
    return Around(pieces[0], pieces[1:], line[end:] + b"\n")


def _tells(mould: Mould, dialect: Dialect) -> bool:
    """Whether it says of a line what the dialect does. It may not where what looks like a text is
    something else, or a key is there twice, in a request that is odd."""
    around, named = mould.shape.around, mould.shape.named
    probes = [_PROBE * (1 + gap) for gap in range(around.gaps)]
    line = around.filled(probes)
    row, run = _parsed(line, dialect), mould.take(line, 0, 0, Room(rows=1, bytes=1 << 62))
    if row is None or run is None:
        return False
    if named is not None and dialect.custom_id(line) != b'"%b"' % probes[named]:
        return False
    tokens = run.weight.tokens if abs(run.weight.tokens - row.weight.tokens) <= 1 else -1
    return (row.group, msgspec.structs.replace(row.weight, tokens=tokens)) == (
        mould.group,
        run.weight,
    )


def _parsed(line: bytes, dialect: Dialect) -> ParsedRow | None:
    try:
        return dialect.parse(line, decode(line))
    except (InvalidRow, RecursionError):
        return None
