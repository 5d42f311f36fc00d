"""What Vertex's importer takes of a request.

It reads a batch's file as BigQuery reads JSON: in the whole file a key has one JSON type, records
are nested no deeper than 15, there are no empty objects and no `$` in a key. One row that breaks
this fails the whole job, and the job does not say which row it was. So what says nothing is left
out of a row; what cannot be sent is told; and a row whose types differ from the usual ones gets a
`variant`, a hash of the differences, so that it shares a batch only with its like.

A variant is made from one row alone, since the ranges of an input are read far apart. It therefore
errs on one side: rows whose functions take different optional numbers are kept apart, though the
importer would take them together.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from functions.batch.errors import InvalidRow
from functions.providers.fields import decode_fields
from functions.providers.vertex.shapes import FREE, STRING, Fields, ListOf, Shape

MOST_LEVELS = 15
"""Records within records, the request itself included
(https://cloud.google.com/bigquery/docs/nested-repeated)."""

_MEMO_BYTES = 16_384
_KINDS = {
    ord('"'): STRING,
    ord("t"): "boolean",
    ord("f"): "boolean",
    ord("n"): "null",
    ord("{"): "object",
    ord("["): "array",
}

_items = msgspec.json.Decoder(list[msgspec.Raw])


class TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: str


class TextContent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    parts: list[TextPart]
    role: str | None = None


Plain = TextContent | list[TextContent]

_content = msgspec.json.Decoder(TextContent)
_PLAIN: dict[str, msgspec.json.Decoder[TextContent] | msgspec.json.Decoder[list[TextContent]]] = {
    "contents": msgspec.json.Decoder(list[TextContent]),
    "content": _content,
    "systemInstruction": _content,
    "system_instruction": _content,
}


class Field(msgspec.Struct, frozen=True):
    """A request's field as it can be sent; `data` is null where it says nothing. `plain` is what it
    holds, if that is text alone."""

    data: bytes | None
    odd: frozenset[str] = frozenset()
    plain: Plain | None = None


class Importable(msgspec.Struct, frozen=True):
    """The request's fields as they can be sent, those of them that are text alone, and the
    request's variant."""

    sent: dict[str, bytes]
    plain: dict[str, Plain]
    variant: str


class Usual(msgspec.Struct, frozen=True, gc=False):
    """A request for text that can be sent as it is, but for its configuration."""

    plain: list[Plain]
    generation: msgspec.Raw


class _UsualRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    contents: list[TextContent]
    system_instruction: TextContent | msgspec.UnsetType = msgspec.UNSET
    generation_config: msgspec.Raw = msgspec.Raw()


_usual = msgspec.json.Decoder(_UsualRequest)


def usual(data: msgspec.Raw) -> Usual | None:
    """None, or an error of the decoder, for a request that has more than text in it."""
    request = _usual.decode(data)
    if not request.contents:
        return None
    plain: list[Plain] = [request.contents]
    if request.system_instruction is not msgspec.UNSET:
        plain.append(request.system_instruction)
    return Usual(plain, request.generation_config)


def importable(request: dict[str, msgspec.Raw], shape: Fields) -> Importable:
    """Raises `InvalidRow`."""
    sent: dict[str, bytes] = {}
    plain: dict[str, Plain] = {}
    odd: set[str] = set()
    for name, raw in request.items():
        field = _field(name, bytes(raw), shape)
        odd |= field.odd
        if field.data is not None:
            sent[name] = field.data
        if field.plain is not None:
            plain[name] = field.plain
    variant = hashlib.sha256("\n".join(sorted(odd)).encode()).hexdigest()[:12] if odd else ""
    return Importable(sent, plain, variant)


def _field(name: str, data: bytes, shape: Fields) -> Field:
    plain = _plain_text(name, data)
    if plain is not None:
        return Field(data, plain=plain)
    if name == "contents" or len(data) > _MEMO_BYTES:
        return _walked(name, data, shape)
    return _remembered(name, data, shape)


def _plain_text(name: str, data: bytes) -> Plain | None:
    """The usual content, told from others at the speed of the decoder."""
    decoder = _PLAIN.get(name)
    if decoder is None:
        return None
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        return None


def _walked(name: str, data: bytes, shape: Fields) -> Field:
    walk = _Walk()
    _check_key(name, "request")
    sent = walk.value(data, shape.of(name), f"request.{name}", 2)
    return Field(sent, frozenset(walk.odd))


_remembered = lru_cache(256)(_walked)
"""Tools and schemas are the same in many rows."""


class _Walk:
    """Rebuilds a value without what says nothing; all else is copied byte for byte."""

    def __init__(self) -> None:
        self.odd: set[str] = set()
        self._kinds: dict[str, str] = {}

    def value(self, data: bytes, shape: Shape, path: str, level: int) -> bytes | None:
        """`level` is the depth that the value has if it is an object."""
        kind = _KINDS.get(data[0], "number")
        if kind == "null":
            return data
        if kind != _kind_of(shape):
            self.odd.add(f"{path} {kind}")
            shape = FREE
        if self._kinds.setdefault(path, kind) != kind:
            raise InvalidRow(
                "mixed_types",
                f"{path} is {self._kinds[path]} and {kind} in one row: Vertex's importer takes one "
                "type for each key.",
            )
        if kind in ("object", "array") and level > MOST_LEVELS:
            raise InvalidRow(
                "too_deep", f"{path} lies too deep: Vertex's importer takes {MOST_LEVELS} objects."
            )
        if kind == "object":
            return self._object(data, shape if isinstance(shape, Fields) else FREE, path, level)
        return self._array(data, shape, path, level) if kind == "array" else data

    def _object(self, data: bytes, shape: Fields, path: str, level: int) -> bytes | None:
        sent: dict[str, bytes] = {}
        for name, raw in decode_fields(data).items():
            if name in shape.notes:
                continue
            _check_key(name, path)
            part = self.value(bytes(raw), shape.of(name), f"{path}.{name}", level + 1)
            if part is not None:
                sent[name] = part
        if not sent and not shape.omissible:
            raise InvalidRow(
                "empty_object",
                f"{path} is an empty object, which Vertex's importer does not take: leave it out, "
                "or give it a field.",
            )
        return join(sent) if sent else None

    def _array(self, data: bytes, shape: Shape, path: str, level: int) -> bytes:
        item = shape.item if isinstance(shape, ListOf) else STRING
        path = f"{path}[]"
        parts: list[bytes] = []
        for raw in _items.decode(data):
            inner = bytes(raw)
            deeper = level + 1 if inner[:1] == b"[" else level
            parts.append(self.value(inner, item, path, deeper) or b"null")
        return b"[%b]" % b",".join(parts)


def join(fields: dict[str, bytes]) -> bytes:
    """A JSON object of values that are JSON already."""
    return b"{%b}" % b",".join(
        b"%b:%b" % (msgspec.json.encode(name), data) for name, data in fields.items()
    )


def _kind_of(shape: Shape) -> str:
    if isinstance(shape, Fields):
        return "object"
    return "array" if isinstance(shape, ListOf) else shape


def _check_key(name: str, path: str) -> None:
    if "$" in name:
        raise InvalidRow(
            "bad_key",
            f'{path} has the key "{name}": Vertex\'s importer takes no "$" in a key. A schema '
            'can say "ref" and "defs", or hold the definition itself.',
        )
    if not name:
        raise InvalidRow("bad_key", f"{path} has an empty key, which Vertex's importer refuses.")
