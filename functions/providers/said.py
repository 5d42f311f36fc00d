"""What a service said where its description promises a text or a count.

The SDKs fill their types with whatever came, unchecked: gateways and compatible services number
their codes, and leave out counts. Nothing of that may get into the ledger as it is.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

_MOST = 10**12

Tokens = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
"""A count that a request can have. Usage with any other is not known."""

SomeTokens = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


def told(value: object) -> str:
    """A text as it is, numbers and the like as JSON; empty for nothing."""
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return str(value)


def strings(values: list[msgspec.Raw]) -> list[bytes]:
    """As JSON. Raises `ValueError` if one is none."""
    texts = [bytes(value) for value in values]
    others = [text for text in texts if not text.startswith(b'"')]
    if others:
        raise ValueError(f"{others[0][:80]!r} is no string")
    return texts


def count(value: object) -> int:
    """0 for what is no count."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 13:
        return int(value)
    if isinstance(value, (int, float)) and value is not True and 0 <= value < _MOST:
        return int(value)
    return 0
