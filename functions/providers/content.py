"""What the providers' requests have in common: content is a text, or a list of parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import msgspec

from functions.batch.reading.tokens import json_tokens, text_tokens

Record = dict[str, object]


def is_record(value: object) -> TypeGuard[Record]:
    """JSON's objects have strings for keys."""
    return type(value) is dict


def is_list(value: object) -> TypeGuard[list[object]]:
    return type(value) is list


def record(value: object) -> Record:
    """An empty one for anything else."""
    return value if is_record(value) else {}


def string(value: object) -> str:
    """An empty one for anything else."""
    return value if type(value) is str else ""


def tokens_of(content: object, part_tokens: Callable[[Record], float]) -> float:
    """Of a text, a part, or a list of either."""
    if type(content) is str:
        return text_tokens(content)
    tokens = 0.0
    for part in content if is_list(content) else (content,):
        if is_record(part):
            tokens += part_tokens(part)
        elif type(part) is str:
            tokens += text_tokens(part)
    return tokens


def as_json(value: object) -> float:
    """The tokens of what a model reads as JSON."""
    try:
        return 0.0 if value is None else json_tokens(msgspec.json.encode(value))
    except RecursionError:
        return 0.0


def raw_json(raw: msgspec.Raw | bytes) -> float:
    data = bytes(raw)
    return 0.0 if data in (b"", b"null", b"[]", b"{}") else json_tokens(data)


MOST_COUNT = 10**9
"""What a row may ask for, as far as it is counted: sums of larger numbers have more digits than an
item of the ledger takes. The row itself is sent as it is."""


def positive(value: object) -> int:
    """A count, or 0 where there is none."""
    return min(value, MOST_COUNT) if type(value) is int and value > 0 else 0
