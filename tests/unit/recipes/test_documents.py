from __future__ import annotations

import json
from typing import Any

import pytest

from functions.batch.errors import InvalidRow
from functions.recipes import documents
from functions.recipes.documents import part

PDF = b"%PDF-1.7 x"
WEBP = b"RIFF0000WEBPx"
DATA = "JVBERi0xLjcgeA=="
URL = f"data:application/pdf;base64,{DATA}"


@pytest.mark.parametrize(
    ("provider", "endpoint", "expected"),
    [
        (
            "openai",
            "/v1/chat/completions",
            {"type": "file", "file": {"filename": "b.pdf", "file_data": URL}},
        ),
        (
            "openai",
            "/v1/responses",
            {"type": "input_file", "filename": "b.pdf", "file_data": URL},
        ),
        (
            "anthropic",
            "/v1/messages",
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": DATA},
            },
        ),
        (
            "vertex",
            "generateContent",
            {"inlineData": {"mimeType": "application/pdf", "data": DATA}},
        ),
    ],
)
def test_a_pdf_for_each(provider: str, endpoint: str, expected: dict[str, Any]) -> None:
    assert json.loads(part(provider, endpoint, "a/b.pdf", PDF)) == expected


def test_pictures_and_texts_are_told_by_their_content() -> None:
    source = json.loads(part("anthropic", "/v1/messages", "x.pdf", WEBP))
    assert (source["type"], source["source"]["media_type"]) == ("image", "image/webp")
    picture = json.loads(part("openai", "/v1/responses", "x", b"\xff\xd8\xff0"))
    assert picture["image_url"].startswith("data:image/jpeg;base64,")
    text = json.loads(part("openai", "/v1/responses", "x", b"\xef\xbb\xbfhello"))
    assert text == {"type": "input_text", "text": "hello"}
    assert json.loads(part("vertex", "generateContent", "x", b"hello")) == {"text": "hello"}


@pytest.mark.parametrize(
    ("provider", "data", "words"),
    [
        ("vertex", b"GIF89a", "is image/gif, which vertex does not take"),
        ("openai", b"\x00\xff", "neither a PDF"),
        ("openai", b"", "is empty"),
        ("openai", b"a\x00b", "NUL"),
        (
            "anthropic",
            b"\x89PNG\r\n\x1a\n" + b"x" * 4_000_000,
            "more than 3900000 bytes, which is what anthropic takes of image/png",
        ),
        ("vertex", PDF + b"x" * 14_000_000, "more than 14000000 bytes, which is what vertex takes"),
    ],
)
def test_what_cannot_be_sent(provider: str, data: bytes, words: str) -> None:
    with pytest.raises(InvalidRow, match=words):
        part(provider, "any", "file", data)


def test_a_text_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_TEXT", 5)
    with pytest.raises(InvalidRow, match="more than 5 bytes"):
        part("openai", "any", "file", b"longer")
