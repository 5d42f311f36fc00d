"""Messages as most are: one text, whose tokens all have one of two prices.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from typing import Literal

import msgspec

from functions.providers.in_bulk import Columns, decode_each
from functions.providers.said import SomeTokens, Tokens, strings

_None = Literal[0] | None


class _Text(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: msgspec.Raw


class _Written(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: _None = None


class _Tools(msgspec.Struct, gc=False):
    web_search_requests: _None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: SomeTokens
    output_tokens: Tokens
    cache_read_input_tokens: _None = None
    cache_creation_input_tokens: _None = None
    cache_creation: _Written | None = None
    server_tool_use: _Tools | None = None
    service_tier: Literal["batch"] | None = None


class _Message(msgspec.Struct, gc=False):
    content: tuple[_Text]
    usage: _Usage
    stop_reason: Literal["end_turn", "stop_sequence"]


_message = msgspec.json.Decoder(_Message)


def plain(messages: list[bytes]) -> Columns:
    """Raises `ValueError` if one is another."""
    read = decode_each(_message, messages)
    usages = [message.usage for message in read]
    return (
        strings([message.content[0].text for message in read]),
        [usage.input_tokens for usage in usages],
        [usage.output_tokens for usage in usages],
    )
