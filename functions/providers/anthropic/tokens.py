"""How many tokens an Anthropic request has, about.

What a message costs beside its text is not documented; the example of
https://platform.claude.com/docs/en/build-with-claude/token-counting fits four tokens, and three for
the answer's beginning. Images: width times height through 750, at most some 1,600
(https://platform.claude.com/docs/en/build-with-claude/vision). PDFs: a page has 1,500 to 3,000
tokens of text, of which the lower end is taken here, and an image
(https://platform.claude.com/docs/en/build-with-claude/pdf-support). Tools bring a system prompt of
their own (https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from functions.batch.reading.tokens import text_tokens
from functions.providers.content import Record, as_json, raw_json, record, string, tokens_of
from functions.providers.media import UNSEEN, Media, from_base64

MESSAGE = 4
ANSWER = 3
SYSTEM = 1
TOOLS = 346

IMAGE_PIXELS = 750
MOST_IMAGE_TOKENS = 1_600
LONGEST_EDGE = 1_568

_PAGE_TEXT = 1_500
_PAGE_IMAGE = 800


class Message(msgspec.Struct, gc=False):
    role: str
    content: object


def input_tokens(
    messages: Sequence[Message], system: object, tools: msgspec.Raw, schema: msgspec.Raw
) -> float:
    tokens = base_tokens(len(messages))
    for message in messages:
        content = message.content
        tokens += text_tokens(content) if type(content) is str else tokens_of(content, block_tokens)
    tokens += system_tokens(system)
    if tools or schema:
        tokens += raw_json(schema)
        defined = raw_json(tools)
        tokens += TOOLS + defined if defined else 0.0
    return tokens


def base_tokens(messages: int) -> float:
    """Beside the content."""
    return ANSWER + MESSAGE * messages


def system_tokens(system: object) -> float:
    return 0.0 if system is None else SYSTEM + tokens_of(system, block_tokens)


def block_tokens(block: Record) -> float:
    match block.get("type"):
        case "image":
            return media_tokens(_measured(record(block.get("source")), "image"))
        case "document":
            return _document(block)
        case "tool_use" | "server_tool_use":
            return text_tokens(string(block.get("name"))) + as_json(block.get("input"))
        case "thinking":
            return text_tokens(string(block.get("thinking")))
        case "tool_result" | "search_result":
            return tokens_of(block.get("content"), _inner_block)
        case _:
            return text_tokens(string(block.get("text")))


def _inner_block(block: Record) -> float:
    """What a tool returned, or a document is made of: never again content within content."""
    match block.get("type"):
        case "image":
            return media_tokens(_measured(record(block.get("source")), "image"))
        case "document":
            return media_tokens(_measured(record(block.get("source")), "document"))
        case _:
            return text_tokens(string(block.get("text")))


def _document(block: Record) -> float:
    source = record(block.get("source"))
    about = text_tokens(string(block.get("title")) + string(block.get("context")))
    match source.get("type"):
        case "text":
            return about + text_tokens(string(source.get("data")))
        case "content":
            return about + tokens_of(source.get("content"), _inner_block)
        case _:
            return about + media_tokens(_measured(source, "document"))


def _measured(source: Record, kind: str) -> Media:
    """What is only referred to, by a URL or as a file, cannot be measured."""
    data = source.get("data")
    if type(data) is str and data:
        fallback = "image/png" if kind == "image" else "application/pdf"
        return from_base64(string(source.get("media_type")) or fallback, data)
    return UNSEEN["image" if kind == "image" else "document"]


def media_tokens(media: Media) -> float:
    if media.kind == "text":
        return text_tokens(media.text)
    if media.kind == "image":
        return image_tokens(media)
    return media.pages * (_PAGE_TEXT + _PAGE_IMAGE)


def image_tokens(media: Media) -> float:
    """After its longer edge was made to fit."""
    scale = min(1.0, LONGEST_EDGE / max(media.width, media.height, 1))
    return min(MOST_IMAGE_TOKENS, media.width * media.height * scale**2 / IMAGE_PIXELS)
