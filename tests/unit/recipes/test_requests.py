"""What each provider is sent, and that its own dialect takes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.batch.looking import decode, dialect_of
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import ENDPOINTS, OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from functions.recipes.adapter import RecipeFiles
from functions.recipes.rendering import Renderer
from functions.recipes.requests import Instructions

DIALECTS = (OpenAIDialect(), AnthropicDialect(), VertexDialect())
ROW = {
    "id": "t-1",
    "text": 'a "quoted"\n\u2028 text',
    "n": 3,
    "none": None,
    "Ticket text": "spaced",
}
STRICT = {
    "type": "object",
    "properties": {"kind": {"type": "string"}},
    "required": ["kind"],
    "additionalProperties": False,
}
SHARED = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/name"}, "definitions": {"$ref": "#/$defs/name"}},
    "$defs": {"name": {"type": "string", "description": "a name"}},
}


def made(row: dict[str, Any] = ROW, **recipe: Any) -> dict[str, Any]:
    """The request, after its dialect took it, and after a model was put in the place of its own."""
    import msgspec

    stored = RecipeFiles().prepare("recipe.json", json.dumps(recipe).encode(), "data")
    renderer = Renderer(msgspec.json.decode(stored.content, type=Instructions))
    result = renderer.make(json.dumps(row).encode())
    assert result.code == "", result.message
    fields = decode(result.line)
    dialect = dialect_of(fields, DIALECTS)
    assert dialect is not None
    assert dialect.provider == recipe["provider"]
    parsed = dialect.parse(result.line, fields)
    assert parsed.group.model == recipe["model"]
    stronger = dialect.with_model(result.line, "stronger")
    assert dialect.parse(stronger, decode(stronger)).group.model == "stronger"
    assert dialect.custom_id(stronger) == dialect.custom_id(result.line)
    assert dialect.request(result.line, "r000000-000000000-x-01-00001-1")
    return json.loads(result.line)


CHAT = {"provider": "openai", "model": "gpt-5-mini", "id": "id"}
TEXT = 'Sort a "quoted"\n\u2028 text.'


def test_a_chat() -> None:
    request = made(
        **CHAT, prompt="Sort {{ text }}.", system="Be {{ n }}.", max_tokens=9, params={"user": "u"}
    )
    assert request["custom_id"] == "t-1"
    assert request["url"] == "/v1/chat/completions"
    assert request["body"] == {
        "model": "gpt-5-mini",
        "messages": [
            {"role": "system", "content": "Be 3."},
            {"role": "user", "content": TEXT},
        ],
        "max_completion_tokens": 9,
        "user": "u",
    }


@pytest.mark.parametrize(("schema", "strict"), [(STRICT, True), (SHARED, False)])
def test_a_schema_for_openai(schema: dict[str, Any], strict: bool) -> None:
    body = made(**CHAT, prompt="x", response_schema=schema)["body"]
    described = {"name": "answer", "schema": schema, "strict": strict}
    assert body["response_format"] == {"type": "json_schema", "json_schema": described}
    body = made(
        **CHAT,
        prompt="x",
        system="s",
        max_tokens=5,
        response_schema=schema,
        endpoint="/v1/responses",
        params={"text": {"verbosity": "low"}},
    )["body"]
    assert body == {
        "model": "gpt-5-mini",
        "instructions": "s",
        "input": "x",
        "max_output_tokens": 5,
        "text": {"verbosity": "low", "format": {"type": "json_schema", **described}},
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_of_openai(endpoint: str) -> None:
    asks = "input" if endpoint in ("/v1/embeddings", "/v1/moderations") else "prompt"
    request = made(**CHAT, **{asks: "Sort {{ text }}."}, endpoint=endpoint)
    assert request["url"] == endpoint
    assert TEXT in json.dumps(request["body"], ensure_ascii=False).replace("\\n", "\n").replace(
        '\\"', '"'
    )


def test_embeddings_need_no_endpoint() -> None:
    assert made(**CHAT, input="{{ text }}")["url"] == "/v1/embeddings"
    request = made(provider="vertex", model="gemini-embedding-001", input="{{ id }}")
    assert request["request"] == {"content": {"parts": [{"text": "t-1"}]}}


def test_anthropic() -> None:
    parts = [{"type": "text", "text": "{{ id }}", "cache_control": {"type": "ephemeral"}}]
    request = made(
        provider="anthropic",
        model="claude-haiku-4-5",
        system="Be.",
        messages=[
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "{"},
        ],
        max_tokens=7,
        params={"stop_sequences": ["."], "output_config": {"effort": "low"}},
        response_schema=SHARED,
    )
    assert request["custom_id"] is None
    assert request["params"] == {
        "model": "claude-haiku-4-5",
        "max_tokens": 7,
        "system": "Be.",
        "messages": [
            {"role": "user", "content": [{**parts[0], "text": "t-1"}]},
            {"role": "assistant", "content": "{"},
        ],
        "stop_sequences": ["."],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SHARED}},
    }


def test_a_prefix_that_all_rows_share_is_marked() -> None:
    glossary = "cache: a place for later. " * 200
    keys = {"system": glossary, "prompt": "{{ text }}", "cache": "auto"}
    system = made(provider="anthropic", model="m", max_tokens=5, **keys)["params"]["system"]
    control = {"type": "ephemeral", "ttl": "1h"}
    assert system == [{"type": "text", "text": glossary, "cache_control": control}]
    first = made(**CHAT, **keys)["body"]
    other = made({**ROW, "text": "other"}, **CHAT, **keys)["body"]
    assert first["prompt_cache_key"] == other["prompt_cache_key"]
    assert first["messages"][0]["content"] == glossary
    for changed in ({"system": "short"}, {"system": glossary + "{{ id }}"}, {"cache": "off"}):
        body = made(**CHAT, **{**keys, **changed})["body"]
        assert "prompt_cache_key" not in body


def test_gemini() -> None:
    request = made(
        provider="vertex",
        model="gemini-2.5-flash",
        system="Be.",
        messages=[
            {"role": "user", "content": "{{ n }}"},
            {"role": "assistant", "content": [{"text": "ok {{ n }}"}]},
            {"role": "user", "content": "go"},
        ],
        max_tokens=7,
        params={"generationConfig": {"temperature": 0}, "labels": {"team": "a"}},
        response_schema=SHARED,
    )
    name = {"type": "string", "description": "a name"}
    assert request["request"] == {
        "systemInstruction": {"parts": [{"text": "Be."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "3"}]},
            {"role": "model", "parts": [{"text": "ok 3"}]},
            {"role": "user", "parts": [{"text": "go"}]},
        ],
        "generationConfig": {
            "temperature": 0,
            "maxOutputTokens": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": {
                "type": "object",
                "properties": {"a": name, "definitions": name},
            },
        },
        "labels": {"team": "a"},
    }


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("{{ none }}|", "|"),
        ('{{ row["Ticket text"] }}', "spaced"),
        ("{{ missing | default('d') }}", "d"),
        ("{{ n + 1 }}", "4"),
        ("{% raw %}{{ n }}{% endraw %}", "{{ n }}"),
        ("line\n", "line\n"),
        ("{{ text | upper | trim | length }}", f"{len(ROW['text'])}"),
    ],
)
def test_what_a_template_makes(prompt: str, text: str) -> None:
    assert made(**CHAT, prompt=prompt)["body"]["messages"][0]["content"] == text


def test_a_template_in_a_rows_value_is_text() -> None:
    request = made({"id": 1, "text": "{{ 7 * 7 }} {% include 'x' %}"}, **CHAT, prompt="{{ text }}")
    assert request["body"]["messages"][0]["content"] == "{{ 7 * 7 }} {% include 'x' %}"


@pytest.mark.parametrize(
    ("value", "custom_id"),
    [
        ("17", "17"),
        (17, "17"),
        (17.0, "17"),
        (1.5, "1.5"),
        ("", ""),
        (None, None),
        ("\u00e9", "\u00e9"),
    ],
)
def test_an_id_is_a_text(value: object, custom_id: str | None) -> None:
    assert made({"id": value}, **CHAT, prompt="x")["custom_id"] == custom_id


@pytest.mark.parametrize("row", [b'{"id":1e999}', b'{"id":' + b"[" * 9_000 + b"]" * 9_000 + b"}"])
def test_a_row_of_whatever_kind_is_answered(row: bytes) -> None:
    import msgspec

    renderer = Renderer(
        msgspec.convert(
            {**CHAT, "endpoint": "/v1/chat/completions", "prompt": "{{ id }}"}, Instructions
        )
    )
    assert renderer.make(row).code in ("template_error", "bad_id", "not_json")
