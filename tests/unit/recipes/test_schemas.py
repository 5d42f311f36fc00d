from __future__ import annotations

import json
from typing import Any

import pytest

from functions.recipes.schemas import BadSchema, check, checker, inlined, is_strict

TREE = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}, "name": {"$ref": "#/$defs/a~1b"}},
    "$defs": {"a/b": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ({"type": "object", "properties": {"a": {"type": 5}}}, ".properties.a.type", "no JSON"),
        ({"type": "object", "items": {"$ref": "http://x/y"}}, ".items.$ref", "lies elsewhere"),
        ({"type": "object", "items": {"$ref": "#/$defs/no"}}, ".$ref", "nothing lies at"),
        ({"type": "array"}, ".type", '"type": "object"'),
    ],
)
def test_a_schema_that_cannot_be_used(schema: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(BadSchema, match=words) as raised:
        check(schema, of_object=True)
    assert raised.value.path == path


def test_one_that_refers_to_itself_can_be_checked_but_not_written_out() -> None:
    check(TREE, of_object=True)
    with pytest.raises(BadSchema, match="refers to itself"):
        inlined(TREE)
    misfit = checker(json.dumps(TREE).encode())
    assert misfit(json.dumps('{"next": {"name": "x"}}').encode()) is None
    assert misfit(json.dumps('{"next": {"name": 5}}').encode()) is not None


def test_definitions_of_definitions_do_not_explode() -> None:
    levels = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}
    schema = {"type": "object", "$defs": {**levels, "d20": {}}, "items": {"$ref": "#/$defs/d0"}}
    with pytest.raises(BadSchema, match="too large"):
        inlined(schema)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"kind": "bug"}', None),
        ('{"kind": "other"}', "kind: 'other' is not one of"),
        ("{}", "'kind' is a required property"),
        ("bug", "is not JSON"),
        ('{"kind": "bug"', "is not JSON"),
        ("[" * 5_000, "is not JSON"),
        (None, "has no text"),
    ],
)
def test_whether_an_answer_fits(text: str | None, words: str | None) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["bug"]}}, "required": ["kind"]}
    told = checker(json.dumps(schema).encode())(json.dumps(text).encode())
    assert told is None if words is None else words in (told or "")


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object"}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "object"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
    ],
)
def test_what_openais_strict_mode_takes(schema: dict[str, Any], strict: bool) -> None:
    assert is_strict(schema) == strict
