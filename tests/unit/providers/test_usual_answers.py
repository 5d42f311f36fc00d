"""The short way of reading an answer comes to what the long way does, or leaves it to that."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.reading.looking import is_utf8
from functions.batch.rows import Answer, Group, Usage
from functions.handlers.provider_wiring import DIALECTS
from functions.providers.anthropic import answers as anthropic
from functions.providers.anthropic import plain as anthropic_plain
from functions.providers.fields import custom_id, custom_id_or_key, decode_fields
from functions.providers.in_bulk import Columns, InBulk
from functions.providers.openai import answers as openai
from functions.providers.openai import plain as openai_plain
from functions.providers.vertex import answers as vertex
from tests.support.answers import ID, Path, in_full, put, with_changes

ENDPOINT = "/v1/chat/completions"
DIALECT = {dialect.provider: dialect for dialect in DIALECTS}
LONG: dict[str, Callable[[bytes], Answer]] = {
    "openai": lambda line: openai.parse(line, ENDPOINT),
    "anthropic": anthropic.parse,
    "vertex": lambda line: vertex.parse(line, embeds=False),
}


def shortly(provider: str, line: bytes) -> Answer | None:
    """As long as it is usual."""
    read = DIALECT[provider].read_answers(line, Group(provider, ENDPOINT, "m"))
    assert len(read.ids) + len(read.lines) == 1
    return in_full(read.usual()[0]) if read.ids else None


def by_either(provider: str, line: bytes) -> Answer:
    """A line that is no text does not get to the short way."""
    found = shortly(provider, line) if is_utf8(line) else None
    return found or LONG[provider](line)


SHORT = {provider: partial(by_either, provider) for provider in LONG}


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
            found = shortly(provider, each)
            assert found is not None
            assert found == LONG[provider](each)
            assert (found.id.encode(), found.verdict) == (ID, "succeeded")
            (inputs,) = re.findall(
                rb'"(?:prompt_tokens|input_tokens|promptTokenCount)": ?(\d+)', each
            )
            (outputs,) = re.findall(
                rb'"(?:completion_tokens|output_tokens|candidatesTokenCount)": ?(\d+)', each
            )
            assert found.usage == Usage(input_tokens=int(inputs), output_tokens=int(outputs))
            assert found.text.startswith(b'"')


_MESSAGE = {
    "type": "message",
    "content": [{"type": "output_text", "text": "One"}, {"type": "output_text", "text": " two."}],
}
_RESPONSE = {
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [{"type": "reasoning", "summary": []}, _MESSAGE],
    "usage": {"input_tokens": 7, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 0}},
}
_BODY = ("response", "body")
_SEARCHED = {**_RESPONSE, "output": [{"type": "web_search_call"}, _MESSAGE]}
_CUT = {**_RESPONSE, "incomplete_details": {"reason": "max_output_tokens"}}
_FAILED = {**_RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "no"}}
_USAGE = (*_BODY, "usage")
_SAID = ("result", "message")
_COUNTS = ("response", "usageMetadata")
OTHERS: list[tuple[str, tuple[Path, object], bool]] = [
    ("openai", (_BODY, _RESPONSE), True),
    ("openai", (_BODY, _SEARCHED), True),
    ("openai", (_BODY, _CUT), False),
    ("openai", (_BODY, _FAILED), False),
    ("openai", (_BODY, {**_FAILED, "error": {}}), False),
    ("openai", (_BODY, {**_RESPONSE, "error": ""}), False),
    ("openai", (("response", "status_code"), 429), False),
    ("openai", ((*_BODY, "choices", 0, "finish_reason"), "length"), False),
    ("openai", ((*_USAGE, "prompt_tokens"), 0), True),
    ("openai", ((*_USAGE, "input_tokens"), 5), True),
    ("openai", ((*_USAGE, "prompt_tokens_details", "cached_tokens"), 200), True),
    ("openai", ((*_USAGE, "prompt_tokens_details", "cache_write_tokens"), 200), True),
    ("openai", ((*_USAGE, "prompt_tokens_details", "image_tokens"), 3), True),
    ("openai", ((*_USAGE, "completion_tokens_details", "audio_tokens"), 3), True),
    ("openai", ((*_BODY, "error"), {"message": "no"}), False),
    ("openai", ((*_BODY, "output"), [{"type": "web_search_call"}]), True),
    ("openai", ((*_USAGE, "output_tokens"), 5), True),
    ("openai", ((*_USAGE, "input_tokens_details"), {"cached_tokens": 9}), True),
    ("openai", ((*_USAGE, "output_tokens_details"), {"audio_tokens": 1}), True),
    ("openai", ((*_BODY, "choices"), []), True),
    ("openai", ((*_BODY, "choices", 0, "message", "content"), None), True),
    ("openai", ((*_BODY, "choices", 0, "finish_reason"), "content_filter"), True),
    ("openai", (_USAGE, None), False),
    ("openai", (_USAGE, {}), False),
    ("anthropic", (("result", "type"), "expired"), False),
    ("anthropic", ((*_SAID, "stop_reason"), "max_tokens"), False),
    ("anthropic", ((*_SAID, "stop_reason"), "refusal"), True),
    ("anthropic", ((*_SAID, "content"), []), True),
    ("anthropic", ((*_SAID, "content", 0, "text"), None), True),
    ("anthropic", ((*_SAID, "usage"), {}), False),
    ("anthropic", ((*_SAID, "usage"), None), False),
    ("anthropic", ((*_SAID, "usage", "cache_read_input_tokens"), 9), True),
    ("anthropic", ((*_SAID, "usage", "cache_creation_input_tokens"), 9), True),
    ("anthropic", ((*_SAID, "usage", "cache_creation", "ephemeral_1h_input_tokens"), 9), True),
    ("anthropic", ((*_SAID, "usage", "server_tool_use"), {"web_search_requests": 2}), True),
    ("anthropic", ((*_SAID, "usage", "service_tier"), "standard"), True),
    ("anthropic", ((*_SAID, "usage", "input_tokens"), 0), True),
    ("vertex", (("response", "candidates", 0, "finishReason"), "MAX_TOKENS"), False),
    ("vertex", (("response", "candidates", 0, "finishReason"), "SAFETY"), False),
    ("vertex", (("response", "candidates"), []), False),
    ("vertex", (("response", "embedding"), {"values": [1]}), False),
    ("vertex", (_COUNTS, None), False),
    ("vertex", ((*_COUNTS, "cachedContentTokenCount"), 9), True),
    ("vertex", ((*_COUNTS, "toolUsePromptTokenCount"), 9), True),
    ("vertex", ((*_COUNTS, "thoughtsTokenCount"), 9), True),
    ("vertex", ((*_COUNTS, "promptTokenCount"), 0), True),
    ("vertex", ((*_COUNTS, "promptTokensDetails", 0, "modality"), "AUDIO"), True),
    ("vertex", ((*_COUNTS, "candidatesTokensDetails", 0, "modality"), "IMAGE"), True),
]


@pytest.mark.parametrize(("provider", "change", "usual"), OTHERS)
def test_other_answers(provider: str, change: tuple[Path, object], *, usual: bool) -> None:
    """Those with tokens, or calls, at a price of their own among them."""
    line = with_changes(provider, change)
    found = shortly(provider, line)
    assert (found is not None) == usual
    if found is not None:
        assert found == LONG[provider](line)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_block_of_all_of_them_comes_to_the_same(provider: str) -> None:
    usual = spelled(templates(provider)[0][1], ID)
    others = [with_changes(provider, change) for name, change, _ in OTHERS if name == provider]
    group = Group(provider, ENDPOINT, "m")
    for lines in ([usual, *others], [*others, usual], [usual, others[-1], usual], [usual] * 3):
        read = DIALECT[provider].read_answers(b"\n".join(lines), group)
        alone = [shortly(provider, line) for line in lines]
        assert [*map(in_full, read.usual())] == [each for each in alone if each is not None]
        pairs = zip(lines, alone, strict=True)
        assert read.lines == [line for line, each in pairs if each is None]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_failed_row_does_not_have_the_others_read_one_by_one(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {
        "openai": (("response", "status_code"), 500),
        "anthropic": (("result", "type"), "errored"),
        "vertex": (("response",), None),
    }
    opened: list[bytes] = []
    subject = {"openai": openai, "anthropic": anthropic, "vertex": vertex}[provider]._in_bulk
    before = subject._opened
    monkeypatch.setattr(subject, "_opened", lambda block: opened.append(block) or before(block))
    usual = spelled(templates(provider)[0][1], ID)
    other = with_changes(provider, failed[provider])
    block = b"\n".join([usual, other, usual])
    read = DIALECT[provider].read_answers(block, Group(provider, ENDPOINT, "m"))
    assert (len(read.ids), read.lines, opened) == (2, [other], [block])


def test_plain_answers_are_not_looked_for_where_there_are_none() -> None:
    tried: list[bool] = []

    def plain(bodies: list[bytes]) -> Columns:
        tried.append(True)
        if b"7" not in bodies:
            raise ValueError
        return bodies, [1] * len(bodies), [1] * len(bodies)

    subject = InBulk(
        lambda block: ([""], [block]),
        msgspec.json.Decoder(int),
        lambda name, body, said: (name, body, body, said, 1, None),
        plain,
    )

    def tries(*blocks: bytes) -> list[int]:
        told: list[int] = []
        for block in blocks:
            tried.clear()
            assert subject.read(block).texts in ((block,), [block])
            told.append(len(tried))
        return told

    assert tries(b"7", b"7", b"1", b"7", b"7", b"7") == [1, 1, 1, 0, 1, 1]
    found = tries(*[b"1"] * 60)
    assert [at for at, tried_now in enumerate(found) if tried_now] == [0, 2, 6, 14, 30, 46]


PLAIN: dict[str, tuple[Callable[[list[bytes]], Columns], Path]] = {
    "openai": (openai_plain.plain, _BODY),
    "anthropic": (anthropic_plain.plain, _SAID),
}


def body_in(line: bytes, path: Path) -> bytes:
    said = json.loads(line)
    for name in path:
        said = said[name]
    return json.dumps(said).encode()


@pytest.mark.parametrize("provider", PLAIN)
def test_plain_answers_are_read_at_once(provider: str) -> None:
    plain, path = PLAIN[provider]
    lines = [spelled(pieces, ID) for _, pieces in templates(provider)[:50]]
    texts, given, made = plain([body_in(line, path) for line in lines])
    answers = [LONG[provider](line) for line in lines]
    assert texts == [answer.text for answer in answers]
    usages = [Usage(input_tokens=a, output_tokens=b) for a, b in zip(given, made, strict=True)]
    assert usages == [answer.usage for answer in answers]
    for name, change, _ in OTHERS:
        if name == provider and change[0][: len(path)] == path:
            other = with_changes(provider, change)
            with pytest.raises(ValueError, match=r"Expected|is no string|missing|Invalid"):
                plain([body_in(lines[0], path), body_in(other, path)])


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
