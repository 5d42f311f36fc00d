"""What makes two rows the same request, noted while the rows of a job that dedupes are read.

An object for each range has a line for each row that may be sent, in key order: key, digest, and
what is needed to leave the row out again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from functions.batch.ports import Dialect, Objects
from functions.batch.reading.looking import decode
from functions.batch.recipe import StoredRecipe
from functions.batch.rows import Group, ParsedRow, Weight
from functions.batch.streams.lines import pack_keyed
from functions.batch.streams.merging import merged
from functions.batch.streams.spools import Spool
from functions.batch.work import Identities

DIGEST_LENGTH = 32
"""Characters: 128 bits. Among a billion requests two share one with a chance of 1 in 10^20."""

_NAMES_THE_ROW = frozenset({"custom_id", "key"})


class RowIdentity(msgspec.Struct, array_like=True, gc=False):
    """`source` is the place of the row's source in `Identities.sources`; `custom_id` is JSON. The
    rest is the row's weight."""

    source: int
    bytes: int
    inputs: int
    output: int
    tokens: int
    max_output: int
    unbounded: int
    custom_id: msgspec.Raw
    marked: int = 0

    @property
    def weight(self) -> Weight:
        return Weight(
            rows=1,
            bytes=self.bytes,
            inputs=self.inputs,
            output=self.output,
            tokens=self.tokens,
            max_output=self.max_output,
            unbounded=self.unbounded,
            marked=self.marked,
        )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RowIdentity).decode


class Identifier:
    """Digests requests. Rows that a recipe made are held against its schema, and answered by its
    stronger model where they do not fit: only a request under the same terms has the same answer.
    """

    def __init__(self, recipe: StoredRecipe) -> None:
        self._terms = b""
        if recipe.schema is not None:
            self._terms = b"%b\n%b" % (recipe.schema, _encode(recipe.escalate_to))
        self._beginnings: dict[tuple[Group, bool], bytes] = {}

    def digest(self, group: Group, fields: Mapping[str, msgspec.Raw], *, made: bool) -> bytes:
        """In hex. `fields` are the line's; as a line is one line, nothing in it is a newline."""
        beginning = self._beginnings.get((group, made))
        if beginning is None:
            names = _encode([group.provider, group.endpoint, group.model])
            beginning = b"%b\n%b" % (names, self._terms if made else b"")
            self._beginnings[group, made] = beginning
        told: list[bytes | msgspec.Raw] = [beginning]
        for name in sorted(fields):
            if name not in _NAMES_THE_ROW:
                told += (_encode(name), fields[name])
        return hashlib.sha256(b"\n".join(told)).hexdigest()[:DIGEST_LENGTH].encode()


class IdentitySpool:
    """Rows must come in key order."""

    def __init__(self, recipe: StoredRecipe, key: str, directory: Path) -> None:
        self._identifier = Identifier(recipe)
        self._spool = Spool(key, directory)
        self._sources: dict[str, int] = {}

    def add(
        self, key: str, line: bytes, row: ParsedRow, dialect: Dialect, source: str, *, made: bool
    ) -> None:
        weight = row.weight
        known = RowIdentity(
            self._sources.setdefault(source, len(self._sources)),
            weight.bytes,
            weight.inputs,
            weight.output,
            weight.tokens,
            weight.max_output,
            weight.unbounded,
            msgspec.Raw(dialect.custom_id(line)),
            weight.marked,
        )
        digest = self._identifier.digest(row.group, decode(line), made=made)
        self._spool.add(key, pack_keyed(key, b"%b %b" % (digest, _encode(known))))

    def store(self, objects: Objects) -> Identities:
        return Identities(part=self._spool.store(objects), sources=list(self._sources))

    def close(self) -> None:
        self._spool.close()


def identities(found: Identities, objects: Objects) -> Iterator[tuple[bytes, bytes, RowIdentity]]:
    """Key, digest and the rest of each row, in order."""
    for key, payload in merged([found.part], objects):
        yield key, payload[:DIGEST_LENGTH], _decode(payload[DIGEST_LENGTH + 1 :])
