"""Answers without text are read in bulk too, and come to what each does by itself."""

from __future__ import annotations

import pytest

from bench.shapes import spelled, templates
from functions.batch.rows import Group, ReadAnswers
from functions.handlers.provider_wiring import DIALECTS
from functions.providers.vertex.dialect import EMBED
from tests.support.answers import ID, in_full, with_changes

DIALECT = {dialect.provider: dialect for dialect in DIALECTS}
BODY = ("response", "body")

_VECTOR = {"values": [0.1, -2e-9]}
_VECTORS = {"object": "list", "data": [{"embedding": [0.1, -2e-9]}]}
WITHOUT_TEXT: list[tuple[str, str, object, bool]] = [
    ("openai", "/v1/embeddings", {**_VECTORS, "usage": {"prompt_tokens": 7}}, True),
    ("openai", "/v1/embeddings", {**_VECTORS, "usage": {"prompt_tokens": "7"}}, True),
    ("openai", "/v1/embeddings", {**_VECTORS, "usage": {"prompt_tokens": 0}}, True),
    ("openai", "/v1/embeddings", {**_VECTORS, "usage": {"prompt_tokens": -1}}, False),
    ("openai", "/v1/embeddings", {**_VECTORS, "usage": {"total_tokens": 7}}, False),
    ("openai", "/v1/embeddings", _VECTORS, False),
    ("openai", "/v1/embeddings", {"error": {"code": "x"}, "usage": {"prompt_tokens": 7}}, False),
    ("openai", "/v1/embeddings", [_VECTORS], False),
    ("openai", "/v1/moderations", {"results": [{"flagged": False}]}, False),
    ("openai", "/v1/images/generations", {"data": [], "usage": {"input_tokens": 3}}, True),
    (
        "openai",
        "/v1/images/generations",
        {"usage": {"input_tokens": 3, "output_tokens_details": {"image_tokens": 4}}},
        True,
    ),
    ("vertex", EMBED, {"embedding": _VECTOR, "usageMetadata": {"promptTokenCount": 7}}, True),
    ("vertex", EMBED, {"embeddings": [_VECTOR], "usageMetadata": {"promptTokenCount": 7}}, True),
    ("vertex", EMBED, {"embedding": _VECTOR, "usageMetadata": {"promptTokenCount": "7"}}, False),
    ("vertex", EMBED, {"embedding": _VECTOR, "usageMetadata": {}}, True),
    (
        "vertex",
        EMBED,
        {
            "embedding": _VECTOR,
            "usageMetadata": {
                "promptTokenCount": 7,
                "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 5}],
            },
        },
        True,
    ),
    ("vertex", EMBED, {"embedding": _VECTOR}, False),
    ("vertex", EMBED, {"embedding": {}, "usageMetadata": {"promptTokenCount": 7}}, False),
    ("vertex", EMBED, {"candidates": [{}], "usageMetadata": {"promptTokenCount": 7}}, False),
    ("vertex", EMBED, None, False),
]


@pytest.mark.parametrize(("provider", "endpoint", "body", "usual"), WITHOUT_TEXT)
def test_answers_without_text(provider: str, endpoint: str, body: object, *, usual: bool) -> None:
    """Vectors, pictures and verdicts."""
    path = BODY if provider == "openai" else ("response",)
    group = Group(provider, endpoint, "m")
    line = with_changes(provider, (path, body))
    read = DIALECT[provider].read_answers(line, group)
    assert [*map(in_full, read.usual())] == ([DIALECT[provider].answer(line, group)] * usual)
    assert read.lines == ([] if usual else [line])
    sound = with_changes(provider, (path, WITHOUT_TEXT[0 if provider == "openai" else 11][2]))
    block = b"\n".join([sound, line, sound])
    read = DIALECT[provider].read_answers(block, group)
    assert (len(read.ids), read.lines) == ((3, []) if usual else (2, [line]))


def test_no_text_is_read_where_none_was_asked_for() -> None:
    line = spelled(templates("vertex")[0][1], ID)
    group = Group("vertex", EMBED, "m")
    assert DIALECT["vertex"].read_answers(line, group) == ReadAnswers.of([], [line])
    group = Group("openai", "/v1/embeddings", "m")
    line = spelled(templates("openai")[0][1], ID)
    (found,) = DIALECT["openai"].read_answers(line, group).usual()
    assert in_full(found) == DIALECT["openai"].answer(line, group)
    assert in_full(found).text == b"null"
