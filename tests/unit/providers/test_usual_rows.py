"""The short way of reading a usual row comes to what the long way does, or leaves it to that."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.errors import InvalidRow
from functions.batch.ports import Dialect
from functions.batch.reading.looking import decode, dialect_of, is_utf8
from functions.handlers.provider_wiring import DIALECTS

BY_NAME = {dialect.provider: dialect for dialect in DIALECTS}


def agrees(dialect: Dialect, line: bytes) -> None:
    usual = dialect.parse_usual(line) if is_utf8(line) else None
    if usual is None:
        return
    fields = decode(line)
    assert dialect_of(fields, DIALECTS) is dialect
    assert usual == dialect.parse(line, fields)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usual_rows_take_the_short_way(provider: str) -> None:
    for pieces, _ in templates(provider)[:50]:
        line = spelled(pieces, b"a")
        assert BY_NAME[provider].parse_usual(line) is not None
        agrees(BY_NAME[provider], line)


VALUES = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2.5, 10**30, "", "a", "POST", "a\0b", "\U0001f600", [], {}),
        *([{}], [{"role": "user", "content": "Hi"}], [{"role": "user", "content": None}]),
        [{"role": "assistant", "content": [{"type": "document"}]}],
        *([{"role": "user", "parts": [{"text": "Hi"}]}], {"parts": [{"text": "Hi"}]}),
        *({"maxOutputTokens": 9}, {"maxOutputTokens": "9"}, {"stopSequences": [1]}),
        *({"responseSchema": {"type": "STRING"}}, {"$x": 1}, {"temperature": "hot"}),
        *("textembedding-gecko", "/v1/responses", "/v1/chat/completions"),
    ]
)
KEYS = {
    "openai": ["model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "tools"],
    "anthropic": ["model", "messages", "max_tokens", "system", "tools", "stream", "betas", "x"],
    "vertex": ["contents", "systemInstruction", "system_instruction", "generationConfig", "labels"],
}
INNER = {"openai": "body", "anthropic": "params", "vertex": "request"}
OUTER = ("custom_id", "method", "url", "body", "params", "request", "model", "key")


@pytest.mark.parametrize("provider", PROVIDERS)
@given(data=st.data())
def test_odd_rows_come_to_the_same(provider: str, data: st.DataObject) -> None:
    """A usual row with some of its values put in, exchanged or taken away."""
    row: dict[str, Any] = json.loads(spelled(templates_of(provider), b"a"))
    inner: dict[str, Any] = row[INNER[provider]]
    for target, keys in ((inner, KEYS[provider]), (row, OUTER)):
        for key, value in data.draw(
            st.dictionaries(st.sampled_from(keys), VALUES, max_size=2)
        ).items():
            target[key] = value
        for key in data.draw(st.lists(st.sampled_from(keys), max_size=1)):
            target.pop(key, None)
    agrees(BY_NAME[provider], msgspec.json.encode(row))
    agrees(BY_NAME[provider], json.dumps(row).encode())


def templates_of(provider: str) -> tuple[bytes, ...]:
    if provider not in _FIRST:
        _FIRST[provider] = templates(provider)[0][0]
    return _FIRST[provider]


_FIRST: dict[str, tuple[bytes, ...]] = {}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "break_it",
    [
        lambda line: line[:-1],
        lambda line: line.replace(b" the ", b" \0 ", 1),
        lambda line: line.replace(b" the ", b" \xff ", 1),
        lambda line: line.replace(b" the ", rb" \u0000 ", 1),
        lambda line: line + b"x",
        lambda line: b"[" * 5_000 + line,
    ],
)
def test_broken_rows_are_told_by_the_long_way(provider: str, break_it: Any) -> None:
    dialect = BY_NAME[provider]
    line = break_it(spelled(templates_of(provider), b"a"))
    agrees(dialect, line)
    try:
        dialect.parse(line, decode(line))
    except InvalidRow:
        assert not is_utf8(line) or dialect.parse_usual(line) is None
