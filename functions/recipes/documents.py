"""A document of the inbox as a part of a request: text, a picture, or a PDF, told by its content.

Sizes: Anthropic takes pictures of 5 MB in base64 and requests of 32 MB
(https://platform.claude.com/docs/en/build-with-claude/pdf-support), OpenAI 50 MB a request, in
chats no files but PDF (https://developers.openai.com/api/docs/guides/file-inputs), Gemini 20 MB a
request (https://firebase.google.com/docs/ai-logic/input-file-requirements). Ours are those before
base64, with room for the rest of a request.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from functions.batch.errors import InvalidRow
from functions.recipes.prefixes import marked

MOST_TEXT = 8_000_000
_MOST: dict[str, tuple[int, int]] = {
    "openai": (20_000_000, 30_000_000),
    "anthropic": (3_900_000, 20_000_000),
    "vertex": (14_000_000, 14_000_000),
}
"""Bytes of a picture, and of a PDF."""

_PDF = "application/pdf"
_BEGINNINGS = (
    (b"%PDF-", _PDF),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
_TAKEN: dict[str, tuple[str, ...]] = {
    "vertex": (_PDF, "image/png", "image/jpeg", "image/webp"),
}


def part(provider: str, endpoint: str, name: str, data: bytes, *, mark: bool = False) -> bytes:
    """As JSON. `mark`: the prompt up to here is to be cached. Raises `InvalidRow`."""
    made = _part(provider, endpoint, name, data)
    return _encode(marked(made) if mark else made)


def _part(provider: str, endpoint: str, name: str, data: bytes) -> dict[str, Any]:
    media = _media(data)
    if media is None:
        return _text(provider, endpoint, _decoded(name, data))
    if media not in _TAKEN.get(provider, (media,)):
        raise InvalidRow("bad_document", f"{name} is {media}, which {provider} does not take.")
    most = _MOST[provider][media == _PDF]
    if len(data) > most:
        raise InvalidRow(
            "bad_document",
            f"{name} has more than {most} bytes, which is what {provider} takes of {media}.",
        )
    encoded = base64.b64encode(data).decode()
    return _file(provider, endpoint, name.rpartition("/")[2], media, encoded)


def text_part(provider: str, endpoint: str, text: str) -> dict[str, Any]:
    return _text(provider, endpoint, text)


def _media(data: bytes) -> str | None:
    """None for text."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media for mark, media in _BEGINNINGS if data.startswith(mark)), None)


def _decoded(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRow(
            "bad_document",
            f"{name} is neither a PDF, PNG, JPEG, WebP or GIF nor text in UTF-8.",
        ) from error
    if not text.strip() or "\0" in text or len(data) > MOST_TEXT:
        raise InvalidRow(
            "bad_document",
            f"{name} is empty, holds a NUL character, or has more than {MOST_TEXT} bytes of text.",
        )
    return text


def _text(provider: str, endpoint: str, text: str) -> dict[str, Any]:
    if provider == "vertex":
        return {"text": text}
    return {"type": "input_text" if endpoint == "/v1/responses" else "text", "text": text}


def _file(provider: str, endpoint: str, name: str, media: str, encoded: str) -> dict[str, Any]:
    if provider == "vertex":
        return {"inlineData": {"mimeType": media, "data": encoded}}
    if provider == "anthropic":
        source = {"type": "base64", "media_type": media, "data": encoded}
        return {"type": "document" if media == _PDF else "image", "source": source}
    url = f"data:{media};base64,{encoded}"
    if endpoint == "/v1/responses":
        if media == _PDF:
            return {"type": "input_file", "filename": name, "file_data": url}
        return {"type": "input_image", "image_url": url}
    if media == _PDF:
        return {"type": "file", "file": {"filename": name, "file_data": url}}
    return {"type": "image_url", "image_url": {"url": url}}


_encode = msgspec.json.Encoder().encode
