"""What *Collect* needs of rows that were never sent before: a twentieth of the rows.

It is written while they are sent, and read when their answers have come, in place of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from functions.batch.ports import Objects
from functions.batch.streams.fresh import unpack_fresh
from functions.batch.streams.lines import KEY_LENGTH, Oversized, iter_lines

_LONGEST_ID = 256
"""Bytes of a user's id, as JSON. A row with a longer one, or one with a tab, is read itself."""


class Heads(msgspec.Struct):
    """Rows that follow each other, by column. `custom_ids`: the user's, as they stand in the rows,
    as JSON. `tokens`, `max_output` and `unbounded` are estimates: see `Weight`; no `tokens`: the
    row itself has to be read."""

    keys: list[bytes]
    custom_ids: list[bytes]
    tokens: list[int]
    max_output: list[int]
    unbounded: list[int]

    def some(self, begin: int, end: int) -> Heads:
        these = slice(begin, end)
        return Heads(
            self.keys[these],
            self.custom_ids[these],
            self.tokens[these],
            self.max_output[these],
            self.unbounded[these],
        )


def heads_of(rows: Sequence[bytes], custom_id: Callable[[bytes], bytes]) -> Heads:
    """Of rows as they stand in their sources. `custom_id` tells a line's."""
    heads = bare_heads(rows)
    for at, packed in enumerate(rows):
        found = unpack_fresh(packed)
        if found is None:
            continue
        fresh, begin = found
        if fresh.id_length:
            begin += fresh.id_at
            identity = packed[begin : begin + fresh.id_length]
        else:
            identity = custom_id(packed[begin:])
        if len(identity) <= _LONGEST_ID and b"\t" not in identity:
            heads.custom_ids[at] = identity
            heads.tokens[at] = fresh.tokens
            heads.max_output[at] = fresh.max_output
            heads.unbounded[at] = fresh.unbounded
    return heads


def bare_heads(rows: Sequence[bytes]) -> Heads:
    """Their keys alone."""
    zeros = [0] * len(rows)
    keys = [row[:KEY_LENGTH] for row in rows]
    return Heads(keys, [b"null"] * len(rows), zeros, zeros[:], zeros[:])


class _Columns(msgspec.Struct, array_like=True):
    """`keys`: with a space between them."""

    keys: str
    tokens: list[int]
    max_output: list[int]
    unbounded: list[int]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Columns).decode


def pack_heads(heads: Heads) -> bytes:
    """Two lines of the object: the ids, with tabs between them, and the other columns."""
    ids = b"\t".join(heads.custom_ids)
    keys = b" ".join(heads.keys).decode()
    columns = _Columns(keys, heads.tokens, heads.max_output, heads.unbounded)
    return b"%b\n%b\n" % (ids, _encode(columns))


def read_heads(objects: Objects, key: str) -> Iterator[Heads]:
    lines = iter_lines(objects.chunks(key))
    for ids, packed in zip(lines, lines, strict=True):
        assert not isinstance(ids, Oversized)  # none is long
        assert not isinstance(packed, Oversized)
        columns = _decode(packed)
        yield Heads(
            columns.keys.encode().split(b" "),
            ids.split(b"\t"),
            columns.tokens,
            columns.max_output,
            columns.unbounded,
        )
