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
"""Bytes of a user's id, as JSON. A row with a longer one is read itself."""


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
        if len(identity) <= _LONGEST_ID:
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


class _Stored(msgspec.Struct, array_like=True):
    """A line of the object. `keys`: with a space between them."""

    keys: str
    custom_ids: list[msgspec.Raw]
    tokens: list[int]
    max_output: list[int]
    unbounded: list[int]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


def line_of(heads: Heads) -> bytes:
    stored = _Stored(
        b" ".join(heads.keys).decode(),
        [*map(msgspec.Raw, heads.custom_ids)],
        heads.tokens,
        heads.max_output,
        heads.unbounded,
    )
    return _encode(stored) + b"\n"


def read_heads(objects: Objects, key: str) -> Iterator[Heads]:
    for line in iter_lines(objects.chunks(key)):
        assert not isinstance(line, Oversized)  # ids are short
        stored = _decode(line)
        yield Heads(
            stored.keys.encode().split(b" "),
            [*map(bytes, stored.custom_ids)],
            stored.tokens,
            stored.max_output,
            stored.unbounded,
        )
