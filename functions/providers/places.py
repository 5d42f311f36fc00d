"""Where a provider's requests have texts, and other strings of which nothing is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from functions.batch.rows import LINK as LINK_BEGINS
from functions.batch.rows import Cut
from functions.providers.fields import decode_fields

_items = msgspec.json.Decoder(list[msgspec.Raw])


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand at a place of a request. A `string`: a text that is weighed; one that is free
    to be any; or a link, which is free behind its beginning. The `items` of a list, the `fields` of
    an object, `each` of its values, and what an object has that has this `type`."""

    string: Literal["text", "free", "link"] | None = None
    items: Place | None = None
    fields: Mapping[str, Place] = {}
    each: Place | None = None
    types: Mapping[str, Place] = {}


TEXT = Place(string="text")
FREE = Place(string="free")
LINK = Place(string="link")


def cut_at(place: Place, line: bytes, identity: bytes | None, *, alone: bool = False) -> Cut:
    """Of a valid line."""
    cut = Cut(identity, [], [], [], alone)
    _find(place, line, cut)
    return cut


def _find(place: Place, data: bytes, cut: Cut) -> None:
    match data[:1]:
        case b'"':
            if place.string == "text":
                cut.texts.append(data)
            elif place.string == "free":
                cut.free.append(data)
            elif place.string == "link" and data.startswith(LINK_BEGINS):
                cut.links.append(data)
        case b"[" if place.items is not None:
            for item in _items.decode(data):
                _find(place.items, bytes(item), cut)
        case b"{" if place.types:
            kind = bytes(decode_fields(data).get("type", b"")).strip(b'"')
            if kind.decode() in place.types:
                _find(place.types[kind.decode()], data, cut)
        case b"{" if place.fields or place.each is not None:
            for name, value in decode_fields(data).items():
                inner = place.fields.get(name, place.each)
                if inner is not None:
                    _find(inner, bytes(value), cut)
        case _:
            pass
