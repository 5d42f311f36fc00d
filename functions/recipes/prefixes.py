"""What all rows of a recipe begin with: the part of a request that a prompt cache can keep.

Providers read a request's tools first, then its system prompt, then its messages
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching); the first template ends what
is shared. A row's document comes before the text of the last user message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from functions.recipes.templates import is_template

SHORTEST_PREFIX = 512
"""Characters: hardly any text has more tokens than that, and no provider caches fewer than 512 (see
`functions.recipes.caching`). What is marked and yet too short is not cached, at no cost."""

MARK = "cache_control"
CACHED: dict[str, str] = {"type": "ephemeral", "ttl": "1h"}

_MARKED_PARTS = frozenset({"text", "image", "document", "tool_use", "tool_result"})
"""Parts of a message that Anthropic takes a mark on."""


class Said(Protocol):
    @property
    def role(self) -> str: ...

    @property
    def content(self) -> Any: ...


class Place(NamedTuple):
    """A part of a message. Of a text there is one."""

    message: int
    part: int


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """`parts` are those of messages, `last` is the last one's place. `documents`: a row's document
    stands behind nothing but what all rows share. `by_hand`: the recipe has marks of its own,
    beside which there are to be no others: their order and number are bounded."""

    tools: list[Any] = []
    system: str | None = None
    parts: list[Any] = []
    last: Place | None = None
    documents: bool = False
    by_hand: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.tools or self.system or self.parts)

    @property
    def is_long(self) -> bool:
        size = len(self.system or "") + sum(map(_characters, [*self.tools, *self.parts]))
        return size >= SHORTEST_PREFIX


def prefix_of(
    params: Mapping[str, Any], system: str | None, messages: Sequence[Said] | None
) -> Prefix:
    """`system` and the messages' texts may be templates, `params` hold none."""
    tools: object = params.get("tools")
    shared = Prefix(
        tools=cast("list[Any]", tools) if isinstance(tools, list) else [],
        by_hand=_has_mark(params) or any(_has_mark(each.content) for each in messages or ()),
    )
    if system is not None:
        if is_template(system):
            return shared
        shared = msgspec.structs.replace(shared, system=system)
    asked = max((n for n, each in enumerate(messages or ()) if each.role == "user"), default=-1)
    parts: list[Any] = []
    last: Place | None = None
    documents = messages is None
    for place, part in _parts(messages or ()):
        documents = documents or place == (asked, 0)
        if _varies(part):
            break
        parts.append(part)
        if isinstance(part, str) or part.get("type") in _MARKED_PARTS:
            last = place
    return msgspec.structs.replace(shared, parts=parts, last=last, documents=documents)


def marked(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, MARK: CACHED}


def _parts(messages: Sequence[Said]) -> Iterator[tuple[Place, Any]]:
    for number, message in enumerate(messages):
        content = message.content
        each = cast("list[Any]", content) if isinstance(content, list) else [content]
        for index, part in enumerate(each):
            yield Place(number, index), part


def _varies(value: Any) -> bool:
    return any(is_template(text) for text in _texts(value))


def _characters(value: Any) -> int:
    return sum(map(len, _texts(value)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in cast("dict[str, Any]", value).items():
            yield name
            yield from _texts(each)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts(each)


def _has_mark(value: Any) -> bool:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return MARK in fields or any(_has_mark(each) for each in fields.values())
    return isinstance(value, list) and any(_has_mark(each) for each in cast("list[Any]", value))
