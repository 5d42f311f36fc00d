"""Chat completions as most are: a text, whose tokens all have one of two prices.

https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from functions.providers.in_bulk import Columns, decode_each
from functions.providers.said import SomeTokens, Tokens, strings

_None = Literal[0] | None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _None = None
    cache_write_tokens: _None = None
    audio_tokens: _None = None
    image_tokens: _None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: SomeTokens
    completion_tokens: Tokens
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: None = None
    output_tokens: None = None
    input_tokens_details: None = None
    output_tokens_details: None = None


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: Literal["stop"]


class _Body(msgspec.Struct, gc=False):
    usage: _Usage
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    output: None = None
    error: None = None


_body = msgspec.json.Decoder(_Body)


def plain(bodies: list[bytes]) -> Columns:
    """Raises `ValueError` if one is another."""
    read = decode_each(_body, bodies)
    usages = [body.usage for body in read]
    return (
        strings([body.choices[0].message.content for body in read]),
        [usage.prompt_tokens for usage in usages],
        [usage.completion_tokens for usage in usages],
    )
