"""The short way of reading an answer comes to what the long way does, or leaves it to that."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.rows import Answer, Usage
from functions.providers.anthropic import answers as anthropic
from functions.providers.fields import custom_id, custom_id_or_key, decode_fields
from functions.providers.openai import answers as openai
from functions.providers.vertex import answers as vertex

ID = b"r000000-000000007-12345678-0001-1"
ENDPOINT = "/v1/chat/completions"
SHORT: dict[str, Callable[[bytes], Answer]] = {
    "openai": lambda line: openai.parse(line, ENDPOINT),
    "anthropic": anthropic.parse,
    "vertex": lambda line: vertex.parse(line, embeds=False),
}


class Never:
    """A decoder that nothing is usual for."""

    def decode(self, data: bytes) -> Any:
        raise msgspec.ValidationError


def the_long_way(provider: str, line: bytes) -> Answer:
    """OpenAI's have one way alone."""
    with (
        patch.object(anthropic, "_message", Never()),
        patch.object(vertex, "_full", Never()),
    ):
        return SHORT[provider](line)


LONG = {provider: partial(the_long_way, provider) for provider in SHORT}


def come_to(read: Callable[[bytes], Answer], line: bytes) -> Answer | None:
    try:
        return read(line)
    except ValueError:
        return None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usual_answers_are_read(provider: str) -> None:
    for _, pieces in templates(provider)[:50]:
        line = spelled(pieces, ID)
        for each in (line, json.dumps(json.loads(line)).encode()):
            found = SHORT[provider](each)
            assert found == LONG[provider](each)
            assert (found.id.encode(), found.verdict) == (ID, "succeeded")
            assert found.usage == Usage(input_tokens=212, output_tokens=87)
            assert found.text.startswith(b'"')


VALUES = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            -1,
            1,
            2.0,
            2.5,
            10**13,
            10**30,
            "",
            "7",
            "a",
            "null",
            "\U0001f600",
            [],
            {},
            [{}],
        ),
        *({"body": {}}, {"message": {}}, {"response": {}}, {"body": 0}, {"message": 0}),
        *(
            200,
            204,
            400,
            500,
            "succeeded",
            "errored",
            "SAFETY",
            "MAX_TOKENS",
            "length",
            "max_tokens",
        ),
        *([{"type": "text", "text": "a"}, {"type": "text", "text": "\u00e9"}], [{"type": "text"}]),
        *(
            [{"text": "a"}, {"text": "b", "thought": True}],
            [{"modality": "AUDIO", "tokenCount": 3}],
        ),
        *({"batchdrop_row": "other"}, {"blockReason": "SAFETY"}, {"message": "no", "code": "x"}),
    ]
)
Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> list[Path]:
    """Where everything in it stands."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    found = [path] if path else []
    for key, each in inner:
        found += places(each, (*path, key))
    return found


def put(row: Any, path: Path, value: object, *, remove: bool) -> None:
    for step in path[:-1]:
        row = row[step]
    if remove:
        del row[path[-1]]
    else:
        row[path[-1]] = copy.deepcopy(value)


KEYS = ("body", "message", "response", "error", "custom_id", "key", "type", "embedding", "content")


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(max_examples=100)
@given(data=st.data())
def test_odd_answers_come_to_the_same(provider: str, data: st.DataObject) -> None:
    """A usual one with some of its values exchanged, put in or taken away; keys in any order."""
    row: Any = json.loads(spelled(templates(provider)[0][1], ID))
    for _ in range(data.draw(st.integers(0, 2))):
        put(
            row,
            data.draw(st.sampled_from(places(row))),
            data.draw(VALUES),
            remove=data.draw(st.booleans()),
        )
        if not row:
            break
    if data.draw(st.booleans()):
        row[data.draw(st.sampled_from(KEYS))] = copy.deepcopy(data.draw(VALUES))
    if data.draw(st.booleans()):
        row = dict(reversed(row.items()))
    for line in (msgspec.json.encode(row), json.dumps(row).encode()):
        assert come_to(SHORT[provider], line) == come_to(LONG[provider], line)


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(max_examples=100)
@given(data=st.data())
def test_broken_lines_come_to_the_same(provider: str, data: st.DataObject) -> None:
    """Bytes taken out, put in, or repeated anywhere."""
    line = spelled(templates(provider)[0][1], ID)
    at = data.draw(st.integers(0, len(line)))
    gone = data.draw(st.integers(0, 3))
    put_in = data.draw(
        st.sampled_from(
            [
                b"",
                b"}",
                b"{",
                b'"',
                b"\\",
                b" ",
                b",",
                b"\xff",
                b"}}",
                b'"body":{},',
                b'"message":{},',
            ]
        )
        | st.tuples(st.integers(0, len(line)), st.integers(0, 90)).map(
            lambda cut: line[cut[0] :][: cut[1]]
        )
    )
    broken = line[:at] + put_in + line[at + gone :]
    assert come_to(SHORT[provider], broken) == come_to(LONG[provider], broken)


@given(
    fields=st.lists(
        st.tuples(st.sampled_from(["custom_id", "key", "body", "a"]), VALUES), max_size=5
    )
)
def test_an_id_is_read_as_before(fields: list[tuple[str, object]]) -> None:
    pairs = (f"{json.dumps(key)}:{json.dumps(value)}" for key, value in fields)
    line = f"{{{','.join(pairs)}}}".encode()
    known = decode_fields(line)
    given_ = bytes(known.get("custom_id", b"null"))
    assert custom_id(line) == given_
    other = bytes(known.get("key", b"null"))
    assert custom_id_or_key(line) == (given_ if given_ != b"null" else other)
