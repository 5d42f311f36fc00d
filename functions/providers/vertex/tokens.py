"""How many tokens a Gemini request has, about.

A turn costs one token beside its text, as in the examples of
https://ai.google.dev/gemini-api/docs/tokens. Images, documents and recordings:
https://ai.google.dev/gemini-api/docs/media-resolution for Gemini 3 and newer,
https://ai.google.dev/gemini-api/docs/tokens for what came before. Of a document each page is an
image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import ceil

import msgspec

from functions.batch.reading.tokens import text_tokens
from functions.providers.content import (
    Record,
    as_json,
    is_list,
    raw_json,
    record,
    string,
    tokens_of,
)
from functions.providers.media import UNSEEN, Media, from_base64, kind_of
from functions.providers.vertex.importing import Importable, Plain

TURN = 1

TILE = 768
TILE_TOKENS = 258
SMALL = 384
AUDIO_SECOND = 32
VIDEO_SECOND = 263

IMAGE = 1_120
PAGE = 560
FRAME = 70
"""Of Gemini 3 and newer, at the resolution that is taken where none is asked for; a video has one
frame a second."""

_OLD = re.compile(r"gemini-(?:1|2)\b|gemini-(?:pro|flash)")
_ORDER = ("contents", "content", "systemInstruction", "system_instruction")
_CONTENTS = frozenset(_ORDER)
_content = msgspec.json.Decoder(float_hook=float)


def plain_tokens(contents: Iterable[Plain]) -> float:
    tokens = 0.0
    for plain in contents:
        for content in plain if isinstance(plain, list) else (plain,):
            tokens += TURN
            for part in content.parts:
                tokens += text_tokens(part.text)
    return tokens


def request_tokens(request: Importable, model: str) -> float:
    # In one order, whatever the request's: a sum of floats depends on it.
    tokens = plain_tokens(request.plain[name] for name in _ORDER if name in request.plain)
    for name, data in request.sent.items():
        if name == "tools":
            tokens += raw_json(data)
        elif name in _CONTENTS and name not in request.plain:
            tokens += _contents(_content.decode(data), model)
    return tokens


def _contents(contents: object, model: str) -> float:
    """A turn, or a list of them."""
    tokens = 0.0
    for turn in contents if is_list(contents) else (contents,):
        parts = record(turn).get("parts")
        tokens += TURN + tokens_of(parts, lambda part: _part(part, model))
    return tokens


def _part(part: Record, model: str) -> float:
    text = part.get("text")
    if type(text) is str:
        return text_tokens(text)
    for name, value in part.items():
        match name:
            case "inlineData" | "inline_data":
                blob = record(value)
                return media_tokens(from_base64(_mime(blob), string(blob.get("data"))), model)
            case "fileData" | "file_data":
                return media_tokens(UNSEEN[kind_of(_mime(record(value)))], model)
            case "functionCall" | "function_call" | "functionResponse" | "function_response":
                return as_json(value)
            case "executableCode" | "executable_code":
                return text_tokens(string(record(value).get("code")))
            case "codeExecutionResult" | "code_execution_result":
                return text_tokens(string(record(value).get("output")))
            case _:
                pass
    return 0.0


def _mime(blob: Record) -> str:
    return string(blob.get("mimeType") or blob.get("mime_type"))


def media_tokens(media: Media, model: str) -> float:
    old = _OLD.search(model) is not None
    match media.kind:
        case "text":
            return text_tokens(media.text)
        case "image":
            return _tiles(media) * TILE_TOKENS if old else IMAGE
        case "document":
            return media.pages * (TILE_TOKENS if old else PAGE)
        case "audio":
            return media.seconds * AUDIO_SECOND
        case "video":
            return media.seconds * (VIDEO_SECOND if old else FRAME + AUDIO_SECOND)


def _tiles(media: Media) -> int:
    if media.width <= SMALL and media.height <= SMALL:
        return 1
    return ceil(media.width / TILE) * ceil(media.height / TILE)
