"""A rendered row as its provider's own line, as if somebody had dropped that.

What is the same for every row is encoded once. Structured output:
https://platform.openai.com/docs/guides/structured-outputs (OpenAI),
https://platform.claude.com/docs/en/build-with-claude/structured-outputs (Anthropic),
https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/control-generated-output (Vertex).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, cast

import msgspec

from functions.providers.anthropic import dialect as anthropic
from functions.providers.vertex import dialect as vertex
from functions.recipes import schemas
from functions.recipes.prefixes import Place, Prefix, marked, prefix_of

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
TAKES_INPUT = frozenset({"/v1/embeddings", "/v1/moderations", vertex.EMBED})
"""Endpoints that are given texts, and no prompt."""

CONVERSES = frozenset({CHAT, RESPONSES, anthropic.ENDPOINT, vertex.GENERATE})
"""Endpoints that take a system prompt, messages and a schema."""

SCHEMA_NAME = "answer"

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class Message(msgspec.Struct):
    role: str
    content: Any


class Route(msgspec.Struct):
    when: str
    model: str


class Instructions(msgspec.Struct, kw_only=True):
    """What of a checked recipe makes requests. `endpoint` is filled in. `mark` stands where a row's
    document is to be: nothing that a row could say."""

    provider: str
    endpoint: str
    model: str
    id: str | None = None
    system: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    input: str | None = None
    max_tokens: int | None = None
    params: Json = {}
    response_schema: Json | None = None
    routes: list[Route] = []
    cache: str = "off"
    mark: str = ""

    @property
    def prefix(self) -> Prefix | None:
        """What all rows begin with, if it is to be cached."""
        if self.cache == "off":
            return None
        return prefix_of(self.params, self.system, self.messages)

    @property
    def marks_documents(self) -> bool:
        """Whether a document that several rows name is to be cached with what comes before it."""
        prefix = self.prefix if self.provider == anthropic.PROVIDER else None
        return prefix is not None and prefix.documents and not prefix.by_hand


class Asked(msgspec.Struct):
    """A row's texts, rendered. One of `messages` and `text`."""

    system: str | None
    messages: list[Message] | None
    text: str | None


class Writer(Protocol):
    def line(self, custom_id: bytes, model: str, asked: Asked) -> bytes:
        """`custom_id` is JSON."""
        ...


def writer(recipe: Instructions) -> Writer:
    match recipe.provider:
        case "openai":
            return _OpenAI(recipe)
        case "anthropic":
            return _Anthropic(recipe)
        case _:
            return _Vertex(recipe)


class _OpenAI:
    def __init__(self, recipe: Instructions) -> None:
        self._endpoint = recipe.endpoint
        self._url = _encode(recipe.endpoint)
        own: Json = {}
        if recipe.max_tokens is not None:
            own[_openai_length(recipe.endpoint)] = recipe.max_tokens
        if recipe.response_schema is not None:
            own.update(_openai_schema(recipe.endpoint, recipe.response_schema))
        prefix = recipe.prefix
        if prefix is not None and prefix.is_long:
            # Requests with one key go to where their prefix is cached already.
            shared = _encode([prefix.tools, prefix.system, prefix.parts])
            own["prompt_cache_key"] = hashlib.sha256(shared).hexdigest()[:32]
        self._same = _encoded(_merged(recipe.params, own))

    def line(self, custom_id: bytes, model: str, asked: Asked) -> bytes:
        body = _encode({"model": model, **self._asked(asked), **self._same})
        return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}' % (custom_id, self._url, body)

    def _asked(self, asked: Asked) -> Json:
        if self._endpoint in TAKES_INPUT:
            return {"input": asked.text}
        if self._endpoint == RESPONSES:
            said: Json = {"input": asked.messages or asked.text}
            return said if asked.system is None else {"instructions": asked.system, **said}
        if self._endpoint != CHAT:
            return {"prompt": asked.text}
        messages = asked.messages or [Message("user", asked.text)]
        if asked.system is not None:
            messages = [Message("system", asked.system), *messages]
        return {"messages": messages}


def _openai_length(endpoint: str) -> str:
    if endpoint == COMPLETIONS:
        return "max_tokens"
    return "max_output_tokens" if endpoint == RESPONSES else "max_completion_tokens"


def _openai_schema(endpoint: str, schema: Json) -> Json:
    described: Json = {
        "name": SCHEMA_NAME,
        "schema": schema,
        "strict": schemas.is_strict(schema),
    }
    if endpoint == RESPONSES:
        return {"text": {"format": {"type": "json_schema", **described}}}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


class _Anthropic:
    def __init__(self, recipe: Instructions) -> None:
        own: Json = {"max_tokens": recipe.max_tokens}
        if recipe.response_schema is not None:
            own["output_config"] = {
                "format": {"type": "json_schema", "schema": recipe.response_schema}
            }
        self._mark = recipe.mark
        self._system: msgspec.Raw | None = None
        self._last: Place | None = None
        prefix = recipe.prefix
        if prefix is not None and prefix.is_long and not prefix.by_hand:
            self._last = prefix.last
            if prefix.system is not None:
                block = marked({"type": "text", "text": prefix.system})
                self._system = msgspec.Raw(_encode([block]))
            elif prefix.tools and isinstance(prefix.tools[-1], dict):
                own["tools"] = [*prefix.tools[:-1], marked(cast("Json", prefix.tools[-1]))]
        self._same = _encoded(_merged(recipe.params, own))

    def line(self, custom_id: bytes, model: str, asked: Asked) -> bytes:
        said: Json = {} if asked.system is None else {"system": self._system or asked.system}
        said["messages"] = asked.messages or [Message("user", asked.text)]
        if self._last is not None:
            self._mark_part(asked.messages or (), self._last)
        params = _encode({"model": model, **self._same, **said})
        return b'{"custom_id":%b,"params":%b}' % (custom_id, params)

    def _mark_part(self, messages: Sequence[Message], place: Place) -> None:
        """Not behind a row's document: what all rows share ends there."""
        message = messages[place.message]
        content: object = message.content
        parts = cast("list[Any]", content) if isinstance(content, list) else [content]
        if self._mark and parts[0] == self._mark:
            return
        part: object = parts[place.part]
        block = cast("Json", part) if isinstance(part, dict) else {"type": "text", "text": part}
        message.content = [*parts[: place.part], marked(block), *parts[place.part + 1 :]]


class _Vertex:
    def __init__(self, recipe: Instructions) -> None:
        self._embeds = recipe.endpoint == vertex.EMBED
        config: Json = {}
        if recipe.max_tokens is not None:
            config["maxOutputTokens"] = recipe.max_tokens
        if recipe.response_schema is not None:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = schemas.inlined(recipe.response_schema)
        own = {"generationConfig": config} if config else {}
        self._same = _encoded(_merged(recipe.params, own))

    def line(self, custom_id: bytes, model: str, asked: Asked) -> bytes:
        said: Json = {}
        if self._embeds:
            said["content"] = {"parts": _parts(asked.text)}
        else:
            if asked.system is not None:
                said["systemInstruction"] = {"parts": _parts(asked.system)}
            said["contents"] = [
                {
                    "role": "model" if message.role == "assistant" else message.role,
                    "parts": _parts(message.content),
                }
                for message in asked.messages or [Message("user", asked.text)]
            ]
        request = _encode({**said, **self._same})
        return b'{"custom_id":%b,"model":%b,"request":%b}' % (custom_id, _encode(model), request)


def _parts(content: object) -> Any:
    return [{"text": content}] if isinstance(content, str) else content


def _encoded(fields: Json) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(_encode(value)) for name, value in fields.items()}


def _merged(params: Json, own: Json) -> Json:
    """Objects are merged; of two other values under one key the recipe's own stands."""
    merged = dict(params)
    for name, value in own.items():
        there = merged.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            merged[name] = _merged(cast("Json", there), cast("Json", value))
        else:
            merged[name] = value
    return merged
