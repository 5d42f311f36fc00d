"""What images, documents and recordings in a request measure: pixels, pages and seconds.

Read from a payload's own headers as far as needed; never decoded as a picture or a page. What a
request only refers to cannot be measured and counts as `UNSEEN`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

import msgspec

Kind = Literal["image", "document", "audio", "video", "text"]


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is what a text file holds; `pages` are a document's."""

    kind: Kind
    width: int = 1_024
    height: int = 1_024
    pages: int = 10
    seconds: float = 60.0
    text: str = ""


UNSEEN: dict[Kind, Media] = {
    "image": Media(kind="image"),
    "document": Media(kind="document"),
    "audio": Media(kind="audio"),
    "video": Media(kind="video"),
    "text": Media(kind="document", pages=2),
}

_HEADER_CHARACTERS = 400_000  # a camera's notes before a JPEG's size take up to some 64 kB, or more
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT = re.compile(rb"/Count\s+(\d{1,6})")
_PAGE_BYTES = 75_000
_AUDIO_BYTES = 16_000  # a second at 128 kbit/s
_VIDEO_BYTES = 250_000  # a second at 2 Mbit/s
_SOF = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def kind_of(mime: str) -> Kind:
    head = mime.partition("/")[0].lower()
    if head in ("image", "audio", "video"):
        return head
    plain = head == "text" or mime.endswith(("json", "xml", "csv", "yaml"))
    return "text" if plain else "document"


def from_data_url(url: str) -> Media | None:
    """None for any other URL."""
    if not url.startswith("data:"):
        return None
    head, _, payload = url[5:].partition(",")
    return from_base64(head.partition(";")[0], payload)


def from_base64(mime: str, payload: str) -> Media:
    kind = kind_of(mime)
    match kind:
        case "image":
            width, height = image_size(_decoded(payload[:_HEADER_CHARACTERS])) or (1_024, 1_024)
            return Media(kind=kind, width=width, height=height)
        case "document":
            return Media(kind=kind, pages=pdf_pages(_decoded(payload)))
        case "text":
            return Media(kind=kind, text=_decoded(payload).decode("utf-8", "replace"))
        case _:
            return Media(kind=kind, seconds=seconds(_decoded(payload), kind))


def _decoded(payload: str) -> bytes:
    """Nothing for what is no base64: a provider will refuse it."""
    payload = payload[: len(payload) // 4 * 4] if len(payload) % 4 == 1 else payload
    try:
        return base64.b64decode(payload + "=" * (-len(payload) % 4))
    except (binascii.Error, ValueError):
        return b""


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, WebP or JPEG."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return _big(data[16:20]), _big(data[20:24])
    if data[:4] == b"GIF8" and len(data) >= 10:
        return _little(data[6:8]), _little(data[8:10])
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    return _jpeg_size(data) if data[:2] == b"\xff\xd8" else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X" if len(data) >= 30:
            return _little(data[24:27]) + 1, _little(data[27:30]) + 1
        case b"VP8L" if len(data) >= 25:
            bits = _little(data[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if len(data) >= 30:
            return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
        case _:
            return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _SOF:
            return _big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7])
        at += 2 + _big(data[at + 2 : at + 4])
    return None


def pdf_pages(data: bytes) -> int:
    """Counted where a PDF says them outside of its compressed parts, else taken from its size."""
    pages = len(_PAGE.findall(data)) or max(map(int, _COUNT.findall(data)), default=0)
    return pages or max(1, len(data) // _PAGE_BYTES)


def seconds(data: bytes, kind: Literal["audio", "video"]) -> float:
    """From the header of a WAV or an MP4, else from the size at a usual bit rate."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE" and (rate := _little(data[28:32])):
        return len(data) / rate
    at = data.find(b"mvhd")
    if at >= 0 and data[at + 4 : at + 5] == b"\0" and (scale := _big(data[at + 16 : at + 20])):
        return _big(data[at + 20 : at + 24]) / scale
    return len(data) / (_AUDIO_BYTES if kind == "audio" else _VIDEO_BYTES)


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
