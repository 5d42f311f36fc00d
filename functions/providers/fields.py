"""A line's top-level keys, read without touching what they hold."""

from __future__ import annotations

import re

import msgspec

from functions.batch.errors import InvalidRow

ID_ROOM = 64
"""Bytes that our id and its key may add to a line."""

MOST_MODEL = 256
"""Characters of a model's name: it gets into keys of the ledger, which end at 1,024 bytes."""

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_text = msgspec.json.Decoder(str)

decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Named(msgspec.Struct, gc=False):
    custom_id: msgspec.Raw = msgspec.Raw(b"null")
    key: msgspec.Raw = msgspec.Raw(b"null")


_named = msgspec.json.Decoder(_Named).decode


def custom_id(line: bytes) -> bytes:
    """As JSON, `null` where there is none."""
    return bytes(_named(line).custom_id)


def custom_id_or_key(line: bytes) -> bytes:
    """The same of a line that may call it by its other name."""
    found = _named(line)
    given = bytes(found.custom_id)
    return given if given != b"null" else bytes(found.key)


def string(fields: dict[str, msgspec.Raw], name: str) -> str | None:
    """None where the key is missing, or holds no string."""
    raw = fields.get(name)
    try:
        return None if raw is None else _text.decode(raw)
    except msgspec.ValidationError:
        return None


def check_model(model: str) -> None:
    """Raises `InvalidRow` for a name that no model has."""
    if len(model) > MOST_MODEL:
        raise InvalidRow(
            "bad_model",
            f"The model's name has {len(model)} characters; no model's has more than {MOST_MODEL}.",
        )


def check_nul(line: bytes) -> None:
    """Raises `InvalidRow` for an escaped NUL: providers refuse a whole file for one."""
    if b"\\" in line and b"\\u0000" in line and _ESCAPED_NUL.search(line):
        raise InvalidRow("nul_character", r"The line holds a NUL character (\u0000).")


def replaced(line: bytes, value: str, *path: str) -> bytes:
    """The line with a text at `path`, and every other value byte for byte as it was."""
    fields: dict[str, msgspec.Raw | bytes] = dict(decode_fields(line))
    name, *rest = path
    new = replaced(bytes(fields[name]), value, *rest) if rest else msgspec.json.encode(value)
    fields[name] = new
    return b"{%b}" % b",".join(
        b"%b:%b" % (msgspec.json.encode(key), each) for key, each in fields.items()
    )


def with_id(line: bytes, name: str, row_id: str) -> bytes:
    """The line with `row_id` under `name`, and every other value byte for byte as it was."""
    fields = decode_fields(line)
    fields.pop(name, None)
    rest = b",".join(b"%b:%b" % (msgspec.json.encode(key), value) for key, value in fields.items())
    return b'{"%b":"%b",%b}' % (name.encode(), row_id.encode(), rest)
