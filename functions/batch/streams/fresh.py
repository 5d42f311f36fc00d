"""Rows that were never sent, as they stand in their sources: see `Transit`."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from functions.batch.rows import Weight
from functions.batch.streams.lines import KEY_LENGTH

_FRESH = b" [0,0,null,null,0,0,false,0,-1,"
_FRESH_LENGTH = KEY_LENGTH + len(_FRESH)
_DIGITS = [b"%03d" % number for number in range(1_000)]
_MOST_KNOWN = 4_096


def pack_fresh(key: str, line: bytes, weight: Weight, route: int | None = None) -> bytes:
    """What `pack_row` writes, of a row that was never sent. `route` is null where no recipe made
    it."""
    return b"%b [0,0,null,null,0,0,%b,0,%d,%d,%d,%d]\t%b\n" % (
        key.encode(),
        b"false" if route is None else b"true",
        -1 if route is None else route,
        weight.tokens,
        weight.max_output,
        weight.unbounded,
        line,
    )


class FreshForm:
    """What `pack_fresh` writes, for rows that no recipe made, and that differ in little. `prefix`:
    what their keys begin with. `id_at`: where an id stands in their lines; 0: it is not told."""

    def __init__(self, prefix: str, weight: Weight, id_at: int) -> None:
        self._prefix = prefix.encode()
        self._id_at = id_at
        limits = weight.max_output, weight.unbounded
        self._told = _Told(limits, b",%d,%%d" % id_at if id_at else b"")

    def packed(
        self, number: int, tokens: list[int], ids: list[int], lines: list[bytes]
    ) -> list[bytes]:
        """Pieces, for lines with their newlines, from the row with this number on. `ids`: bytes of
        each one's id."""
        pieces = [b""] * (3 * len(lines))
        pieces[::3] = self._keys(number, len(lines))
        told = zip(tokens, ids, strict=True) if self._id_at else tokens
        pieces[1::3] = map(self._told.__getitem__, told)
        pieces[2::3] = lines
        return pieces

    def _keys(self, number: int, rows: int) -> list[bytes]:
        keys: list[bytes] = []
        while len(keys) < rows:
            thousands, rest = divmod(number + len(keys), 1_000)
            begin = b"%b%06d" % (self._prefix, thousands)
            keys += [begin + digits for digits in _DIGITS[rest : rest + rows - len(keys)]]
        return keys


class _Told(dict[int | tuple[int, int], bytes]):
    """What stands behind the keys, by tokens, or by these and the length of the id: rows that are
    alike have a few of them."""

    def __init__(self, limits: tuple[int, int], place: bytes) -> None:
        self._form = b"%b%%d,%d,%d%b]\t" % (_FRESH, *limits, place)

    def __missing__(self, numbers: int | tuple[int, int]) -> bytes:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[numbers] = told = self._form % numbers
        return told


class Fresh(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is kept of a row that no recipe made, and that was never sent: see `Transit`."""

    tokens: int
    max_output: int
    unbounded: int
    id_at: int = 0
    id_length: int = 0


_numbers = msgspec.json.Decoder(Fresh)


def unpack_fresh(packed: bytes) -> tuple[Fresh, int] | None:
    """With the place of the row's line. None for any other row, and for one that has to be weighed
    again."""
    if not packed.startswith(_FRESH, KEY_LENGTH):
        return None
    tab = packed.index(b"\t", _FRESH_LENGTH)
    fresh = _fresh(packed[_FRESH_LENGTH:tab])
    return None if fresh is None else (fresh, tab + 1)


@lru_cache(16_384)
def _fresh(numbers: bytes) -> Fresh | None:
    """Rows that are alike have a few of them."""
    try:
        fresh = _numbers.decode(b"[" + numbers)
    except msgspec.MsgspecError:
        return None
    return fresh if fresh.tokens else None
