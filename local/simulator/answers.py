"""How a request is answered: with an echo by which a test can prove the join.

The text is `echo HASH TEXT`: the first 16 hex digits of the SHA-256 of the request's body as
canonical JSON (sorted keys, no spaces, UTF-8), and the first 200 characters of the last user
text. Vertex requests are hashed without their `labels`, which differ between attempts. A request
that carries a JSON schema is answered with a JSON document that fits it; its free strings echo.

Tokens are counted as `1 + words + characters // 13` for each string of the prompt and answer.
"""

import json
import random
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, cast

import msgspec

from .faults import Marks

Json = dict[str, Any]
ODD_BREAKS = "\u2028\u2029\u0085\u000b\u000c"
ECHOED = 200
MALFORMED = (TypeError, ValueError, AttributeError, KeyError, IndexError)
"""What answering raises where a request's fields have the wrong types: the client's fault."""
SHORTEST_ANSWER = 4
"""Tokens of `echo HASH`, which stands even where the limit on output is lower."""


def digest(body: Any) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def tokens(text: str) -> int:
    return 1 + len(text.split()) + len(text) // 13 if text else 0


def tokens_in(value: Any) -> int:
    """Counts every string below `value`, keys not included."""
    if isinstance(value, str):
        return tokens(value)
    if isinstance(value, list):
        return sum(tokens_in(item) for item in cast(list[Any], value))
    if isinstance(value, dict):
        return sum(tokens_in(item) for item in cast(Json, value).values())
    return 0


def texts(content: Any) -> str:
    """Joins the text of a message's content: a string, or a list of parts with `text`."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return str(cast(Json, content).get("text", ""))
    if isinstance(content, list):
        return " ".join(filter(None, (texts(part) for part in cast(list[Any], content))))
    return ""


def last_user(messages: Any, content: str = "content") -> str:
    """The text of the last message whose role is the user's (or that has no role)."""
    if not isinstance(messages, list):
        return texts(messages)
    for message in reversed(cast(list[Any], messages)):
        if isinstance(message, str):
            return message
        if isinstance(message, dict) and cast(Json, message).get("role", "user") == "user":
            return texts(cast(Json, message).get(content))
    return ""


def compose(hash_: str, user_text: str, schema: Any, marks: Marks, limit: Any) -> tuple[str, bool]:
    """Returns the answer and whether it was cut at `limit` tokens of output."""
    echo = f"echo {hash_} {user_text[:ECHOED]}"
    if "say" in marks:
        echo = marks.values["say"]
    elif isinstance(schema, dict) and "off_schema" not in marks:
        echo = msgspec.json.encode(fitting(cast(Json, schema), hash_, echo)).decode()
    if "u2028" in marks:
        echo += ODD_BREAKS + "end"
    if "big" in marks:
        size = int(marks.number("big"))
        return echo + " " + "lorem ipsum " * max(0, (size - len(echo)) // 12), False
    if isinstance(limit, int) and tokens(echo) > (room := max(limit, SHORTEST_ANSWER)):
        return _cut(echo, room), True
    return echo, False


def _cut(text: str, room: int) -> str:
    while tokens(text) > room:
        shorter = text.rsplit(" ", 1)[0]
        text = shorter if shorter != text else text[: len(text) // 2]
    return text


def fitting(schema: Json, hash_: str, echo: str, depth: int = 0) -> Any:
    """A value that fits the schema, chosen by the hash; understands what the providers accept."""
    for name in ("anyOf", "oneOf"):
        if options := schema.get(name):
            return fitting(options[0], hash_, echo, depth + 1)
    if "const" in schema:
        return schema["const"]
    if options := schema.get("enum"):
        return options[int(hash_, 16) % len(options)]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((str(k) for k in cast(list[Any], kind) if k != "null"), "null")
    match str(kind).lower() if kind else ("object" if "properties" in schema else "string"):
        case "object":
            properties = cast(Json, schema.get("properties") or {})
            return {k: fitting(v, hash_, echo, depth + 1) for k, v in properties.items()}
        case "array":
            count = int(schema.get("minItems") or (1 if depth < 8 else 0))
            return [fitting(schema.get("items") or {}, hash_, echo, depth + 1)] * count
        case "integer" | "number":
            low, high = int(schema.get("minimum") or 0), int(schema.get("maximum") or 100)
            return low + int(hash_, 16) % max(1, high - low)
        case "boolean":
            return int(hash_, 16) % 2 == 0
        case "null":
            return None
        case _:
            return echo[: int(schema.get("maxLength") or len(echo))]


def vector(hash_: str, dimensions: int) -> list[float]:
    """A unit-length embedding that depends on nothing but the hash."""
    source = random.Random(hash_)
    values = [source.uniform(-1, 1) for _ in range(dimensions)]
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [round(value / norm, 8) for value in values]


def dig(value: Any, *names: str) -> Any:
    """What stands below these names, or None where any of them is missing."""
    for name in names:
        value = cast(Json, value).get(name) if isinstance(value, dict) else None
    return value


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def strings(value: Any) -> Iterable[str]:
    """The inputs of an embedding or moderation request: each string, or each token array."""
    if isinstance(value, str):
        return [value]
    items = cast(list[Any], value) if isinstance(value, list) else []
    if items and all(isinstance(item, int) for item in items):
        return [" ".join(map(str, items))]
    return [item if isinstance(item, str) else texts(item) or str(item) for item in items]
