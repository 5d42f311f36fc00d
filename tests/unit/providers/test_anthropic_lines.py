from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from anthropic.types.messages import message_batch_result
from anthropic.types.shared.error_type import ErrorType

from functions.batch.errors import InvalidRow
from functions.batch.reading.looking import decode
from functions.batch.rows import Group, Usage
from functions.providers.anthropic.answers import ERRORS, RESULTS
from functions.providers.anthropic.dialect import LIMITS, AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect

DIALECT = AnthropicDialect()
MODEL = "claude-haiku-4-5"
GROUP_FIELDS = ("anthropic", "/v1/messages", MODEL)
GROUP = Group(*GROUP_FIELDS)
DOCUMENT = {"type": "document", "source": {"type": "text", "data": "d", "media_type": "text/plain"}}


def params(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": MODEL, "max_tokens": 100, "messages": messages, **more}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in params().items() if key != name}


def turn(role: str, *blocks: Any) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def parse(request: Any) -> Any:
    data = json.dumps({"custom_id": "a", "params": request}).encode()
    return DIALECT.parse(data, decode(data))


def test_result_and_error_types_are_the_sdks() -> None:
    (union, _) = get_args(message_batch_result.MessageBatchResult)
    types = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(union)}
    assert set(RESULTS) == types
    memory_only = {"memory_precondition_failed_error", "memory_path_conflict_error"}
    assert set(get_args(ErrorType)) - memory_only == set(ERRORS) - {"request_too_large"}


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ({"custom_id": "a", "params": {}}, True),
        ({"params": {}}, True),
        ({"custom_id": "a", "params": "no object"}, True),
        ({"id": 7, "params": "a column of data"}, False),
        ({"custom_id": "a", "request": {}}, False),
        ({"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {}}, False),
    ],
)
def test_lines_are_told_by_their_shape(row: Any, ours: bool) -> None:
    fields = decode(json.dumps(row).encode())
    assert DIALECT.claims(fields) is ours
    assert not (ours and OpenAIDialect().claims(fields))


@pytest.mark.parametrize(
    ("request_params", "code"),
    [
        ("no object", "bad_body"),
        ([params()], "bad_body"),
        (without("model"), "no_model"),
        (params(model=""), "no_model"),
        (params(model=5), "no_model"),
        (without("max_tokens"), "bad_max_tokens"),
        (params(max_tokens=None), "bad_max_tokens"),
        (params(max_tokens=0), "bad_max_tokens"),
        (params(max_tokens=-1), "bad_max_tokens"),
        (params(max_tokens=True), "bad_max_tokens"),
        (params(max_tokens="100"), "bad_max_tokens"),
        (params(max_tokens=100.5), "bad_max_tokens"),
        (without("messages"), "no_messages"),
        (params(messages=[]), "no_messages"),
        (params(messages=None), "no_messages"),
        (params(messages="hello"), "bad_body"),
        (params(messages=["hello"]), "bad_body"),
        (params(messages=[{"content": "x"}]), "bad_body"),
        (params(messages=[{"role": "user"}]), "bad_body"),
        (params(stream=True), "stream"),
        (params(speed="fast"), "speed"),
        (params(speed="standard"), "speed"),
        (params(temperature=1), "sampling_parameter"),
        (params(top_p=None), "sampling_parameter"),
        (params(top_k=5), "sampling_parameter"),
        (params(messages=[turn("assistant", DOCUMENT)]), "misplaced_block"),
        (
            params(messages=[turn("user", {"type": "text", "text": "a", "citations": [{}]})]),
            "misplaced_block",
        ),
        (params(betas="output-300k-2026-03-24"), "bad_betas"),
        (params(betas=["a\r\nx-api-key: b"]), "bad_betas"),
        (params(betas=["a,b", 5]), "bad_betas"),
    ],
)
def test_what_anthropic_is_known_to_refuse_is_told(request_params: Any, code: str) -> None:
    with pytest.raises(InvalidRow) as caught:
        parse(request_params)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert caught.value.readable


@pytest.mark.parametrize(
    "request_params",
    [
        params(stream=False),
        params(stream=None, speed=None, betas=None),
        params(max_tokens=300_000, betas=["output-300k-2026-03-24"]),
        params(model="a-model-of-tomorrow", a_field_of_tomorrow={"x": 1}),
        params(cache_control={"type": "ephemeral", "ttl": "1h"}, mcp_servers=[{"url": "x"}]),
        params(messages=[{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]),
        params(messages=[turn("user", DOCUMENT)]),
        params(messages=[turn("user", {**DOCUMENT, "citations": {"enabled": True}})]),
        params(messages=[turn("user", {"type": "text", "text": "a", "citations": None})]),
        params(messages=[turn("assistant", {"type": "text", "text": "a", "citations": [{}]})]),
        params(
            messages=[
                turn("assistant", {"type": "web_fetch_tool_result", "content": {"a": DOCUMENT}})
            ]
        ),
        params(messages=[{"role": "user", "content": 'about "document" and "citations"'}]),
        params(metadata={"temperature": 1, "stream": True}),
    ],
)
def test_nothing_else_is_refused(request_params: dict[str, Any]) -> None:
    parsed = parse(request_params)
    assert parsed.group.model == request_params["model"]
    assert parsed.weight.rows == 1


def test_betas_make_a_batch_of_their_own_and_travel_in_its_header() -> None:
    two = params(betas=["b-2026-01-01", "a-2026-01-01", "b-2026-01-01"], betas_={"betas": [1]})
    assert parse(two).group == Group(*GROUP_FIELDS, "a-2026-01-01,b-2026-01-01")
    data = json.dumps({"custom_id": "x", "params": two}).encode()
    sent = json.loads(DIALECT.request(data, "r1"))
    assert sent == {"custom_id": "r1", "params": {**params(), "betas_": {"betas": [1]}}}
    assert parse(params()).group == GROUP


def test_a_weight_is_never_less_than_what_is_sent() -> None:
    long_id = f"r{'9' * 6}-{'9' * 9}-abcdef01-99-99999-999"
    for row in ({"params": params()}, {"custom_id": "a", "params": params()}):
        data = json.dumps(row, separators=(",", ":")).encode()
        sent = DIALECT.request(data, long_id) + DIALECT.framing[1]
        assert len(sent) <= DIALECT.parse(data, decode(data)).weight.bytes
    assert LIMITS.rows == 100_000
    assert LIMITS.bytes + 100 < 256_000_000


def test_a_batch_may_be_full_of_short_answers_and_holds_few_long_ones() -> None:
    short = parse(params(max_tokens=1_000)).weight.output
    assert LIMITS.rows * short < LIMITS.output
    long = parse(params(max_tokens=300_000)).weight.output
    assert LIMITS.output // long < 10_000


@pytest.mark.parametrize(
    "custom_id", ["x" * 300, "\N{GRINNING FACE}", "12345", 'qu"ote\n', "", None, 7, "\u2028"]
)
def test_a_custom_id_is_kept_and_never_sent(custom_id: Any) -> None:
    row = {"custom_id": custom_id, "params": params(metadata={"user_id": '"custom_id": "fake"'})}
    data = json.dumps(row, ensure_ascii=False).encode()
    assert json.loads(DIALECT.custom_id(data)) == custom_id
    assert json.loads(DIALECT.request(data, "r0-1")) == {**row, "custom_id": "r0-1"}


def test_params_are_copied_byte_for_byte_and_other_keys_stay_here() -> None:
    odd = (
        b'{"model" : "m",\t"t": 1.0e0, "a": "\\u00e9\xc3\xa9", "big": 1234567890123456789, '
        b'"system": [{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}], '
        b'"tools": [{"input_schema": {"betas" : 1}}]}'
    )
    data = b'{"params": %b , "note": [1 ,2]}' % odd
    assert DIALECT.request(data, "r1") == b'{"custom_id":"r1","params":%b}' % odd
    assert DIALECT.custom_id(data) == b"null"


def test_the_framed_file_is_what_the_api_takes() -> None:
    opening, between, closing = DIALECT.framing
    data = json.dumps({"params": params()}).encode()
    file = opening + between.join(DIALECT.request(data, f"r{n}") for n in range(3)) + closing
    assert [each["custom_id"] for each in json.loads(file)["requests"]] == ["r0", "r1", "r2"]


def answer(result: Any) -> Any:
    return DIALECT.answer(json.dumps({"custom_id": "r1", "result": result}).encode(), GROUP)


def test_a_message_is_passed_on_with_text_and_usage() -> None:
    message = {
        "id": "msg_1",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": 'bug \u2028 "', "citations": None},
            {"type": "tool_use", "id": "t", "name": "n", "input": {"text": "no"}},
            {"type": "text", "text": "\N{GRINNING FACE}\\"},
        ],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 100,
            "cache_read_input_tokens": 40,
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_1h_input_tokens": 5},
            "output_tokens": 3,
            "service_tier": "batch",
        },
    }
    got = answer({"type": "succeeded", "message": message})
    assert (got.id, got.verdict, got.error) == ("r1", "succeeded", None)
    assert json.loads(got.text) == 'bug \u2028 "\N{GRINNING FACE}\\'
    assert json.loads(got.response) == message
    assert got.usage == Usage(
        input_tokens=145,
        cached_input_tokens=40,
        cache_write_tokens=5,
        cache_write_1h_tokens=5,
        output_tokens=3,
    )


@pytest.mark.parametrize(
    ("message", "cut"),
    [
        ({"stop_reason": "max_tokens", "content": []}, True),
        ({"stop_reason": "end_turn", "content": []}, False),
        ({"stop_reason": 7}, False),
        ({}, False),
    ],
)
def test_a_message_that_its_limit_cut_says_so(message: dict[str, Any], cut: bool) -> None:
    said = answer({"type": "succeeded", "message": message})
    assert (said.verdict, said.cut) == ("succeeded", cut)


def test_a_message_is_copied_byte_for_byte() -> None:
    message = b'{"content" : [ {"type":"text","text":"\\u00e9\xc3\xa9"} ],\t"x": 1.0e0}'
    line = b'{"result":{"message":%b,"type":"succeeded"},"custom_id":"r1"}' % message
    got = DIALECT.answer(line, GROUP)
    assert got.response == message
    assert got.text == b'"\\u00e9\xc3\xa9"'
    assert got.usage is None


def test_messages_of_another_shape_still_count_as_answers() -> None:
    for message in ({"content": "odd", "usage": []}, {"content": []}, {}, {"content": None}, None):
        got = answer({"type": "succeeded", "message": message})
        assert (got.verdict, got.text, got.usage) == ("succeeded", b"null", None)
    nulls = {"content": [{"type": "text", "text": None}], "usage": {"output_tokens": None}}
    got = answer({"type": "succeeded", "message": nulls})
    assert (got.text, got.usage) == (b"null", None)


def errored(kind: Any, message: Any = "m", **more: Any) -> dict[str, Any]:
    error = {"type": kind, "message": message, **more}
    return {"type": "errored", "error": {"type": "error", "error": error, "request_id": "req_1"}}


CREDIT = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
LIMIT = "You have reached your specified API usage limits. You will regain access on 2026-12-01."


@pytest.mark.parametrize(
    ("result", "verdict", "code"),
    [
        ({"type": "canceled"}, "resend", "canceled"),
        ({"type": "expired"}, "resend", "expired"),
        ({"type": "paused"}, "again", "paused"),
        (errored("invalid_request_error"), "failed", "invalid_request_error"),
        (errored("not_found_error"), "failed", "not_found_error"),
        (errored("permission_error"), "failed", "permission_error"),
        (errored("request_too_large"), "failed", "request_too_large"),
        (errored("api_error"), "again", "api_error"),
        (errored("overloaded_error"), "again", "overloaded_error"),
        (errored("rate_limit_error"), "again", "rate_limit_error"),
        (errored("timeout_error"), "again", "timeout_error"),
        (errored("conflict_error"), "again", "conflict_error"),
        (errored("error_of_tomorrow", None), "again", "error_of_tomorrow"),
        (errored("billing_error"), "resend", "billing_error"),
        (errored("authentication_error"), "resend", "authentication_error"),
        (errored("invalid_request_error", CREDIT), "resend", "invalid_request_error"),
        (errored("invalid_request_error", LIMIT), "resend", "invalid_request_error"),
        (
            errored("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
            "resend",
            "rate_limit_error",
        ),
        (errored("api_error", details={"error_code": "new"}), "again", "api_error"),
        ({"type": "errored", "error": {"type": "api_error", "message": "m"}}, "again", "api_error"),
        ({"type": "errored", "error": {"type": "error", "error": None}}, "again", "no_answer"),
        ({"type": "errored", "error": "words"}, "again", "no_answer"),
        ({"type": "errored", "error": None}, "again", "no_answer"),
        ({"type": "errored"}, "again", "no_answer"),
    ],
)
def test_every_failure_has_a_verdict_and_a_message(result: Any, verdict: str, code: str) -> None:
    got = answer(result)
    assert got.verdict == verdict
    assert got.error is not None
    assert got.error.code == code
    assert got.error.message
    assert got.error.retryable == (verdict != "failed")
    assert json.loads(got.response) == result.get("error")
    assert got.usage is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"custom_id": "r1"}', b'{"custom_id": 5, "result": {"type": "expired"}}'],
)
def test_what_is_no_answer_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        DIALECT.answer(data, GROUP)
