"""Where a provider's requests have texts, and other strings of which nothing is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from functions.batch.rows import LINK as LINK_BEGINS
from functions.batch.rows import Cut, String
from functions.providers.fields import decode_fields

_items = msgspec.json.Decoder(list[msgspec.Raw])


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand at a place of a line: a `string` of this role, see `String`; the `items` of a
    list; the `fields` of an object, `each` of its values, and what one of a `type` has."""

    string: Literal["id", "text", "free", "link"] | None = None
    items: Place | None = None
    fields: Mapping[str, Place] = {}
    each: Place | None = None
    types: Mapping[str, Place] = {}


ID = Place(string="id")
TEXT = Place(string="text")
FREE = Place(string="free")
LINK = Place(string="link")


def cut_at(place: Place, line: bytes, *, alone: bool = False) -> Cut:
    """Of a valid line."""
    strings: list[String] = []
    _find(place, line, strings)
    return Cut(strings, alone)


def _find(place: Place, data: bytes, strings: list[String]) -> None:
    match data[:1]:
        case b'"' if place.string is not None:
            if place.string != "link" or data.startswith(LINK_BEGINS):
                strings.append(String(place.string, data))
        case b"[" if place.items is not None:
            for item in _items.decode(data):
                _find(place.items, bytes(item), strings)
        case b"{" if place.types:
            kind = bytes(decode_fields(data).get("type", b"")).strip(b'"')
            if kind.decode() in place.types:
                _find(place.types[kind.decode()], data, strings)
        case b"{" if place.fields or place.each is not None:
            for name, value in decode_fields(data).items():
                inner = place.fields.get(name, place.each)
                if inner is not None:
                    _find(inner, bytes(value), strings)
        case _:
            pass
