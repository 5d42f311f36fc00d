"""What each provider is sent, and that its own dialect takes it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from functions.batch.reading.looking import decode, dialect_of
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


CONTROL = {"type": "ephemeral", "ttl": "1h"}
LONG = "A long text that all rows share. " * 30
CLAUDE: dict[str, Any] = {
    "provider": "anthropic",
    "model": "m",
    "max_tokens": 5,
    "cache": "auto",
}
TOOLS = [{"name": "a", "input_schema": {}}, {"name": "b", "description": LONG, "input_schema": {}}]


def marks(value: Any, path: str = "") -> list[str]:
    """Where in a request a breakpoint is."""
    if isinstance(value, list):
        return [place for n, each in enumerate(value) for place in marks(each, f"{path}[{n}]")]
    if not isinstance(value, dict):
        return []
    here = [path] if value.get("cache_control") == CONTROL else []
    return here + [place for name, each in value.items() for place in marks(each, f"{path}.{name}")]


def shot(text: str, answer: str, *rest: Any) -> list[Any]:
    said = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return [*said, {"role": "user", "content": [*rest, {"type": "text", "text": "{{ text }}"}]}]


@pytest.mark.parametrize(
    ("recipe", "where"),
    [
        ({"system": LONG, "prompt": "{{ text }}", "params": {"tools": TOOLS}}, [".system[0]"]),
        ({"prompt": "{{ text }}", "params": {"tools": TOOLS}}, [".tools[1]"]),
        (
            {"system": "{{ id }}", "prompt": "{{ text }}", "params": {"tools": TOOLS}},
            [".tools[1]"],
        ),
        ({"messages": shot(LONG, "ok")}, [".messages[1].content[0]"]),
        ({"messages": shot("{{ id }}", LONG)}, []),
        (
            {"system": LONG, "messages": shot("{{ id }}", LONG)},
            [".system[0]"],
        ),
        (
            {"messages": shot("q", "a", {"type": "text", "text": LONG})},
            [".messages[2].content[0]"],
        ),
        (
            {"messages": shot("q", LONG, {"type": "unknown", "text": "t"})},
            [".messages[1].content[0]"],
        ),
        (
            {"system": LONG, "messages": shot("q", "a", {"type": "text", "text": "{{ id }}"})},
            [".system[0]", ".messages[1].content[0]"],
        ),
        ({"system": "short", "messages": shot("q", "a")}, []),
        ({"system": "{{ id }}" + LONG, "messages": shot(LONG, "a")}, []),
        ({"prompt": LONG}, []),
        ({"system": LONG, "prompt": "{{ text }}", "cache": "off"}, []),
    ],
)
def test_the_last_block_that_all_rows_share_is_marked(
    recipe: dict[str, Any], where: list[str]
) -> None:
    params = made(**{**CLAUDE, **recipe})["params"]
    assert marks(params, "") == where
    plain = made(**{**CLAUDE, **recipe, "cache": "off"})["params"]
    assert unmarked(params) == unmarked(plain), "nothing else is changed"


def unmarked(value: Any) -> Any:
    """With texts and lists of one text made alike."""
    if isinstance(value, list):
        made = [unmarked(each) for each in value]
        texts = [each for each in made if isinstance(each, dict) and set(each) == {"type", "text"}]
        return texts[0]["text"] if len(made) == len(texts) == 1 else made
    if isinstance(value, dict):
        return {name: unmarked(each) for name, each in value.items() if name != "cache_control"}
    return value


@pytest.mark.parametrize(
    "recipe",
    [
        {"params": {"cache_control": {"type": "ephemeral"}}},
        {"params": {"tools": [{**TOOLS[0], "cache_control": {"type": "ephemeral"}}]}},
        {
            "messages": shot(
                "q", "a", {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
            )
        },
    ],
)
def test_who_marks_by_hand_marks_alone(recipe: dict[str, Any]) -> None:
    """A mark for five minutes may not come before one for an hour, and there are at most four."""
    asked = {} if "messages" in recipe else {"prompt": "{{ text }}"}
    request = made(**{**CLAUDE, "system": LONG, **asked, **recipe})["params"]
    assert request["system"] == LONG
    assert marks(request) == []


def test_what_openais_rows_share_makes_their_key() -> None:
    keys: dict[str, Any] = {"system": LONG, "prompt": "{{ text }}", "cache": "auto"}

    def key(**more: Any) -> str | None:
        return made(**{**CHAT, **keys, **more})["body"].get("prompt_cache_key")

    tools = [{"type": "function", "function": {"name": "f", "description": LONG}}]
    assert key() == key(prompt="{{ id }}") == key(model="gpt-5")
    assert len({key(), key(system=LONG + "!"), key(params={"tools": tools}), None}) == 4
    assert key(system="short", params={"tools": tools}) is not None
    assert key(system="short") is None
    body = made(**CHAT, cache="auto", messages=shot(LONG, "ok"))["body"]
    assert body["prompt_cache_key"]
    assert body["messages"][0] == {"role": "user", "content": LONG}


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


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("{{ order.items }}", "items is a function here, no text; a column or a key of that name"),
        ("{{ order.values }}", "values is a function"),
        ("{{ order.name.title }}", "title is a function"),
        ("{{ range }}", "range is a function"),
        ("{{ self }}", "self is a function"),
        ("{{ order['items'] | map('upper') }}", "add | list or | join"),
        ("{{ order.items | tojson }}", "cannot be written as JSON"),
        ("{{ nothing | tojson }}", 'no column "nothing", which prompt uses; it has row, order.'),
        ("{{ order['nothing'] | tojson }}", "has no attribute 'nothing'"),
        ("{{ nothing }}", 'no column "nothing", which prompt uses; it has row, order.'),
    ],
)
def test_what_python_would_tell_of_itself_is_not_asked(prompt: str, words: str) -> None:
    """It was sent, and paid for: <built-in method items of dict object at 0x7f…>."""
    row = {"row": 5, "order": {"items": ["a", "b"], "name": "n"}}
    given = {**CHAT, "id": None, "prompt": prompt}
    stored = RecipeFiles().prepare("recipe.json", json.dumps(given).encode(), "data")
    renderer = Renderer(msgspec.json.decode(stored.content, type=Instructions))
    result = renderer.make(json.dumps(row).encode())
    assert result.line == b""
    assert words in result.message


def test_json_in_a_prompt_is_written_as_it_is() -> None:
    row = {"id": 1, "text": "日本 <b> & 'c'", "order": {"items": ["é", None, True]}}
    request = made(row, **CHAT, prompt="{{ row | tojson }}")
    said = request["body"]["messages"][0]["content"]
    expected = """{"id": 1, "order": {"items": ["é", null, true]}, "text": "日本 <b> & 'c'"}"""
    assert said == expected


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
