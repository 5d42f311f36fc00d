from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch.errors import InvalidRow
from functions.batch.reading.looking import decode
from functions.batch.rows import Group
from functions.providers.vertex.dialect import EMBED, GENERATE, VertexDialect
from functions.providers.vertex.names import model_name
from local.simulator.vertex_import import ImportFailed, load

DIALECT = VertexDialect()
MODEL = "gemini-2.5-flash"
ROW_ID = "r000000-000000017-1234abcd-r01-0002-3"
TEXT = [{"role": "user", "parts": [{"text": "hello {} $x"}]}]


def row(request: Any = None, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "request": {"contents": TEXT} if request is None else request, **more}


def asking(**more: Any) -> dict[str, Any]:
    return row({"contents": TEXT, **more})


def data_of(line: Any) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line).encode()


def parse(line: Any) -> Any:
    data = data_of(line)
    return DIALECT.parse(data, decode(data))


def sent(line: Any) -> Any:
    return json.loads(DIALECT.request(data_of(line), ROW_ID))


def test_which_lines_are_vertexs() -> None:
    assert DIALECT.claims(decode(data_of(row())))
    assert DIALECT.claims(decode(b'{"request": {"contents": []}}'))
    assert not DIALECT.claims(decode(b'{"request": "a column of a data row"}'))
    assert not DIALECT.claims(decode(b'{"custom_id": "a", "params": {}}'))
    assert not DIALECT.claims(decode(b'{"custom_id": "a", "body": {}}'))


def test_rows_are_grouped_by_endpoint_and_the_users_own_model_name() -> None:
    assert parse(row()).group == Group("vertex", GENERATE, MODEL)
    named = row(model="publishers/google/models/gemini-2.5-pro")
    assert parse(named).group.model == "publishers/google/models/gemini-2.5-pro"
    embedding = row({"content": {"parts": [{"text": "x"}]}}, model="gemini-embedding-001")
    assert parse(embedding).group == Group("vertex", EMBED, "gemini-embedding-001")


@pytest.mark.parametrize(
    ("model", "resource"),
    [
        (MODEL, "publishers/google/models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "publishers/google/models/gemini-2.5-flash"),
        ("publishers/google/models/x", "publishers/google/models/x"),
        ("projects/p/locations/l/models/7", "projects/p/locations/l/models/7"),
    ],
)
def test_a_models_resource(model: str, resource: str) -> None:
    assert model_name(model) == resource


def deep(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"a": value}
    return value


def calling(args: Any) -> dict[str, Any]:
    return row({"contents": [{"role": "model", "parts": [{"functionCall": {"args": args}}]}]})


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"request": {"contents": TEXT}}, "no_model"),
        (row(model=""), "no_model"),
        (row(model=7), "no_model"),
        (row({"contents": [{"parts": [{"text": "a\0b"}]}]}), "nul_character"),
        (row({}), "bad_body"),
        (row({"contents": []}), "bad_body"),
        (row({"contents": None}), "bad_body"),
        (row({"content": "text"}), "bad_body"),
        (asking(labels=["a"]), "bad_body"),
        (asking(labels={f"l{n}": "v" for n in range(64)}), "bad_body"),
        (row({"content": "text"}, model="text-embedding-005"), "unsupported_model"),
        (
            row(model="publishers/google/models/text-multilingual-embedding-002"),
            "unsupported_model",
        ),
        (asking(tools=[{"googleSearch": {}}]), "empty_object"),
        (asking(tools=[{"code_execution": {}}]), "empty_object"),
        (asking(systemInstruction={}), "empty_object"),
        (asking(unheard_of={}), "empty_object"),
        (calling({"a": {}}), "empty_object"),
        (calling({"a": [{}]}), "empty_object"),
        (calling({"$ref": "x"}), "bad_key"),
        (calling({"$schema": "data, not a schema's"}), "bad_key"),
        (calling({"": "x"}), "bad_key"),
        (asking(generationConfig={"responseJsonSchema": {"$defs": {"a": {}}}}), "bad_key"),
        (asking(**{"$x": 1}), "bad_key"),
        (calling(deep(12)), "too_deep"),
        (calling({"a": json.loads("[" * 40 + "]" * 40)}), "too_deep"),
        (calling({"a": [1, "x"]}), "mixed_types"),
        (calling({"a": [{"b": 1}, {"b": "x"}]}), "mixed_types"),
    ],
)
def test_what_no_batch_can_hold_is_told(line: Any, code: str) -> None:
    with pytest.raises(InvalidRow) as caught:
        parse(line)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert caught.value.readable


def test_the_id_travels_twice_and_the_request_as_it_was() -> None:
    request = {
        "contents": TEXT,
        "labels": {"team": "a"},
        "generationConfig": {"temperature": 1.0, "seed": 12345678901234567890},
        "safety_settings": [{"category": "c", "threshold": "t"}],
    }
    line = row(request, custom_id="mine", extra={"not": "sent"})
    made = sent(line)
    assert made.pop("key") == ROW_ID
    assert made["request"].pop("labels") == {"team": "a", "batchdrop_row": ROW_ID}
    del request["labels"]
    assert made == {"request": request}
    assert b'"temperature":1.0' in DIALECT.request(data_of(line), ROW_ID)


def test_an_embedding_request_has_no_labels_so_its_id_is_beside_it() -> None:
    request = {"content": {"parts": [{"text": "x"}]}, "embed_content_config": {"title": "t"}}
    assert sent(row(request)) == {"key": ROW_ID, "request": request}


def declaring(parameters: Any) -> list[Any]:
    return [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"generationConfig": {}}, {}),
        ({"generation_config": {"thinking_config": {}}}, {}),
        (
            {"generationConfig": {"seed": 1, "thinkingConfig": {}}},
            {"generationConfig": {"seed": 1}},
        ),
        ({"toolConfig": {}, "labels": {}}, {}),
        (
            {
                "tools": [
                    {"functionDeclarations": [{"parameters": {"type": "o", "properties": {}}}]}
                ]
            },
            {"tools": [{"functionDeclarations": [{"parameters": {"type": "o"}}]}]},
        ),
        (
            {"generationConfig": {"responseJsonSchema": {"$schema": "s", "type": "object"}}},
            {"generationConfig": {"responseJsonSchema": {"type": "object"}}},
        ),
    ],
)
def test_what_says_nothing_is_left_out(more: dict[str, Any], left: dict[str, Any]) -> None:
    line = asking(**more)
    parse(line)
    made = sent(line)["request"]
    del made["labels"]
    assert made == {"contents": TEXT, **left}


def test_a_function_call_without_arguments_is_sent_without_them() -> None:
    made = sent(row({"contents": [{"parts": [{"functionCall": {"name": "f", "args": {}}}]}]}))
    assert made["request"]["contents"] == [{"parts": [{"functionCall": {"name": "f"}}]}]


@pytest.mark.parametrize(
    "line",
    [
        row(),
        asking(system_instruction={"parts": [{"text": "be brief"}]}),
        asking(systemInstruction={"parts": [{"text": "long " * 9000}]}),
        asking(generationConfig={"temperature": 0, "topK": 4.5, "stopSequences": ["."]}),
        asking(
            generation_config={"max_output_tokens": 5, "thinking_config": {"thinkingBudget": 0}}
        ),
        asking(
            generationConfig={
                "responseSchema": {
                    "type": "OBJECT",
                    "required": ["type"],
                    "properties": {
                        "type": {"type": "STRING", "enum": ["a"]},
                        "items": {"type": "ARRAY", "maxItems": 3, "items": {"type": "NUMBER"}},
                    },
                }
            }
        ),
        asking(tools=declaring({"type": "OBJECT"})),
        asking(labels={"team": "a"}, cachedContent=None, safetySettings=[]),
        calling({"where": "here", "who": ["you"]}) | {"request": row()["request"]},
        calling({"where": "only strings are expected of arguments"}),
        row({"contents": [{"parts": [{"inlineData": {"mimeType": "m", "data": "x"}}]}]}),
        row({"contents": [{"parts": [{"file_data": {"file_uri": "gs://b/o"}, "thought": True}]}]}),
    ],
)
def test_ordinary_rows_share_a_batch(line: Any) -> None:
    assert parse(line).group.variant == ""


def test_only_rows_of_unusual_types_are_kept_apart() -> None:
    one, same, other = (
        parse(calling(args)).group.variant for args in ({"n": 1, "s": "x"}, {"n": 2.5}, {"n": "1"})
    )
    assert one == same
    assert one
    assert other == ""
    assert parse(calling(deep(11))).group.variant
    assert parse(calling({"n": {"deep": "x"}})).group.variant not in (one, other)
    listed = asking(generationConfig={"responseJsonSchema": {"type": ["string", "null"]}})
    assert parse(listed).group.variant
    assert parse(asking(generationConfig={"maxOutputTokens": "5"})).group.variant


def test_weight_counts_the_request_twice_since_the_answer_repeats_it() -> None:
    short, long = parse(row()).weight, parse(asking(systemInstruction=row()["request"])).weight
    assert short.rows == 1
    assert short.bytes >= len(DIALECT.request(data_of(row()), "r" * 63))
    assert long.output - short.output == long.bytes - short.bytes
    more = parse(asking(generation_config={"max_output_tokens": 4096, "candidate_count": 2}))
    assert more.weight.output > short.output + 2 * 4096 * 6 - 1024 * 6
    odd = parse(asking(generationConfig={"maxOutputTokens": "x", "candidateCount": -1}))
    assert odd.weight.output > 0
    assert DIALECT.weigh(data_of(row())) == short


def test_limits_are_googles_or_lower() -> None:
    generating = DIALECT.limits(Group("vertex", GENERATE, MODEL))
    assert generating.rows == 200_000
    assert generating.bytes <= 1_000_000_000
    assert DIALECT.limits(Group("vertex", EMBED, "e")).rows == 1_000_000


@pytest.mark.parametrize(
    ("more", "custom_id"),
    [
        ({}, b"null"),
        ({"custom_id": "a", "key": "b"}, b'"a"'),
        ({"key": "b"}, b'"b"'),
        ({"custom_id": None, "key": 7}, b"7"),
    ],
)
def test_the_users_id(more: dict[str, Any], custom_id: bytes) -> None:
    assert DIALECT.custom_id(data_of(row(**more))) == custom_id


_keys = st.sampled_from(["a", "b", "c", "items", "type", "$d", "properties"])
_leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=3)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3)
)
_requests = st.builds(
    lambda args, schema, config: {
        "contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": args}}]}],
        "generationConfig": {"responseJsonSchema": schema, **config},
    },
    st.dictionaries(_keys, _values, max_size=3),
    st.dictionaries(_keys, _values, max_size=3),
    st.dictionaries(st.sampled_from(["seed", "stopSequences", "thinkingConfig"]), _values),
)


@settings(max_examples=60)
@given(st.lists(_requests, min_size=1, max_size=12))
def test_an_importer_takes_every_batch_of_rows_that_were_let_through(requests: list[Any]) -> None:
    files: dict[str, list[bytes]] = defaultdict(list)
    for request in requests:
        line = data_of(row(request))
        try:
            group = parse(line).group
        except InvalidRow:
            continue
        files[group.variant].append(DIALECT.request(line, ROW_ID))
    with tempfile.TemporaryDirectory() as directory:
        for lines in files.values():
            path = Path(directory) / "requests.jsonl"
            path.write_bytes(b"\n".join(lines) + b"\n")
            try:
                load(path, lambda index, line, value: None)
            except ImportFailed as reason:
                raise AssertionError(f"{reason}: {lines}") from None
