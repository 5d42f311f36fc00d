from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from functions.batch.ports import Dialect
from functions.batch.reading.identity import DIGEST_LENGTH, Identifier
from functions.batch.reading.looking import decode
from functions.batch.recipe import StoredRecipe
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from tests.support.lines import body, line

ANTHROPIC = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}


def recipe(schema: Any = None, escalate_to: str | None = None) -> StoredRecipe:
    return StoredRecipe(
        key="recipe.yaml",
        content=msgspec.Raw(b"{}"),
        makes_requests=True,
        response_schema=msgspec.Raw(json.dumps(schema).encode()),
        escalate_to=escalate_to,
    )


def digest(dialect: Dialect, row: Any, *, made: bool = True, **terms: Any) -> bytes:
    data = json.dumps(row).encode()
    fields = decode(data)
    return Identifier(recipe(**terms)).digest(dialect.parse(data, fields).group, fields, made=made)


@pytest.mark.parametrize(
    ("dialect", "one", "same"),
    [
        (OpenAIDialect(), line("a", body("x")), line(None, body("x"))),
        (
            OpenAIDialect(),
            line("a", body("x")),
            dict(reversed([*line("b\n", body("x")).items()])),
        ),
        (
            AnthropicDialect(),
            {"custom_id": "a", "params": ANTHROPIC},
            {"params": ANTHROPIC, "custom_id": "b"},
        ),
        (
            VertexDialect(),
            {"key": "a", "model": "gemini-2.5-flash", "request": GEMINI},
            {"custom_id": "b", "model": "gemini-2.5-flash", "request": GEMINI},
        ),
    ],
)
def test_what_names_a_row_is_no_part_of_its_request(dialect: Dialect, one: Any, same: Any) -> None:
    assert digest(dialect, one) == digest(dialect, same)
    assert len(digest(dialect, one)) == DIGEST_LENGTH


def test_whatever_changes_the_answer_changes_the_digest() -> None:
    openai, anthropic, vertex = OpenAIDialect(), AnthropicDialect(), VertexDialect()
    row = line("a", body("x"))
    gemini = {"model": "gemini-2.5-flash", "request": GEMINI}
    found = [
        digest(openai, row),
        digest(openai, line("a", body("y"))),
        digest(openai, line("a", body("x", model="gpt-5-nano"))),
        digest(openai, line("a", body("x", temperature=0))),
        digest(openai, line("a", {"model": "gpt-5-mini", "input": "x"}, "/v1/responses")),
        digest(openai, row, schema={"type": "object"}),
        digest(openai, row, schema={"type": "array"}),
        digest(openai, row, schema={"type": "object"}, escalate_to="gpt-5"),
        digest(anthropic, {"params": {**ANTHROPIC, "model": "gpt-5-mini"}}),
        digest(anthropic, {"params": ANTHROPIC}),
        digest(vertex, gemini),
        digest(vertex, {**gemini, "model": "gemini-2.5-pro"}),
    ]
    assert len(set(found)) == len(found)


def test_a_row_that_no_recipe_made_is_under_no_terms() -> None:
    openai, row = OpenAIDialect(), line("a", body("x"))
    without = digest(openai, row, made=False)
    terms: Any = {"schema": {"type": "object"}, "escalate_to": "b"}
    assert without == digest(openai, row, made=False, **terms) == digest(openai, row)
    assert without != digest(openai, row, **terms)
