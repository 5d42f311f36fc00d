from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import pytest
from openai.types import Batch, BatchCreateParams

from functions.batch.errors import InvalidRow
from functions.batch.reading.looking import decode
from functions.batch.rows import Group, Usage
from functions.providers.openai.dialect import ENDPOINTS, LIMITS, OpenAIDialect
from functions.providers.openai.states import STATES
from tests.support.lines import CHAT, body, embedding, line

DIALECT = OpenAIDialect()
CHATTING = Group("openai", CHAT, "gpt-5-mini")


def parse(row: Any) -> Any:
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    return DIALECT.parse(data, decode(data))


def test_statuses_and_endpoints_are_the_sdks() -> None:
    assert set(STATES) == set(get_args(Batch.model_fields["status"].annotation))
    (literal,) = get_args(get_type_hints(BatchCreateParams, include_extras=True)["endpoint"])
    assert set(get_args(literal)) == set(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_is_taken(endpoint: str) -> None:
    parsed = parse(line("a", {"model": "m"}, endpoint))
    assert parsed.group == Group("openai", endpoint, "m")
    assert parsed.weight.rows == 1


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({**line("a", body("x")), "method": "GET"}, "bad_method"),
        ({"url": CHAT, "body": body("x")}, "bad_method"),
        (line("a", body("x"), "/v1/audio"), "unknown_endpoint"),
        ({"method": "POST", "body": body("x")}, "unknown_endpoint"),
        (line("a", {"messages": []}), "no_model"),
        (line("a", body("x", model="")), "no_model"),
        (line("a", {"model": 5}), "no_model"),
        (line("a", body("x", stream=True)), "stream"),
        (line("a", body("a\0b")), "nul_character"),
        (line("a", "no object"), "bad_body"),
        (embedding("a", ["x"] * 50_001), "too_many_inputs"),
    ],
)
def test_what_no_batch_can_hold_is_told(row: Any, code: str) -> None:
    with pytest.raises(InvalidRow) as caught:
        parse(row)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert caught.value.readable


def test_text_that_only_mentions_an_escaped_nul_is_fine() -> None:
    assert parse(line("a", body(r"a \u0000 b"))).group.model == "gpt-5-mini"


def test_inputs_and_expected_output_are_weighed() -> None:
    assert parse(embedding("a", "one")).weight.inputs == 1
    assert parse(embedding("a", ["a", "b", "c"])).weight.inputs == 3
    assert parse(embedding("a", [1, 2, 3])).weight.inputs == 1
    assert parse(embedding("a", [[1], [2]])).weight.inputs == 2
    images = parse(line("a", {"model": "gpt-image-1", "n": 4}, "/v1/images/generations"))
    assert LIMITS.output // images.weight.output < 200
    chat = parse(line("a", body("x", max_completion_tokens=100_000)))
    assert LIMITS.rows * chat.weight.output < LIMITS.output


@pytest.mark.parametrize(
    "custom_id", ["x" * 300, "\N{GRINNING FACE}", "12345", 'qu"ote\n', "", None, 7, "\u2028"]
)
def test_a_custom_id_is_kept_and_never_sent(custom_id: Any) -> None:
    row = line(custom_id, body('says "custom_id": "fake"', custom_id="inner"))
    data = json.dumps(row, ensure_ascii=False).encode()
    assert json.loads(DIALECT.custom_id(data)) == custom_id
    sent = json.loads(DIALECT.request(data, "r0-1"))
    assert sent == {**row, "custom_id": "r0-1"}


def test_a_body_is_copied_byte_for_byte() -> None:
    odd = b'{"model" : "m",\t"t": 1.0e0, "a": "\\u00e9\xc3\xa9", "big": 1234567890123456789}'
    data = b'{"body": %b , "url": "/v1/responses","method":"POST","more": [1 ,2]}' % odd
    sent = DIALECT.request(data, "r1")
    assert sent == (
        b'{"custom_id":"r1","body":%b,"url":"/v1/responses","method":"POST","more":[1 ,2]}' % odd
    )
    assert DIALECT.custom_id(data) == b"null"


def answered(response: Any, error: Any = None) -> bytes:
    return json.dumps({"custom_id": "r1", "response": response, "error": error}).encode()


def ok(content: dict[str, Any]) -> bytes:
    return answered({"status_code": 200, "request_id": "q", "body": content})


def test_a_chat_answer_is_passed_on_with_text_and_usage() -> None:
    content = {
        "choices": [{"message": {"content": "bug \u2028"}}],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 5},
        },
    }
    answer = DIALECT.answer(ok(content), CHATTING)
    assert (answer.id, answer.verdict) == ("r1", "succeeded")
    assert json.loads(answer.text) == "bug \u2028"
    assert json.loads(answer.response) == content
    assert answer.usage == Usage(
        input_tokens=100, cached_input_tokens=40, cache_write_tokens=5, output_tokens=3
    )


def test_texts_of_other_endpoints() -> None:
    responses = Group("openai", "/v1/responses", "m")
    output = [
        {"type": "reasoning", "content": None},
        {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "b"}]},
    ]
    usage = {"input_tokens": 4, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}
    answer = DIALECT.answer(ok({"output": output, "usage": usage}), responses)
    assert json.loads(answer.text) == "ab"
    assert answer.usage == Usage(input_tokens=4, output_tokens=2, cached_input_tokens=1)
    completion = Group("openai", "/v1/completions", "m")
    assert DIALECT.answer(ok({"choices": [{"text": "c"}]}), completion).text == b'"c"'
    vectors = Group("openai", "/v1/embeddings", "m")
    answer = DIALECT.answer(ok({"data": [], "usage": {"prompt_tokens": 9}}), vectors)
    assert (answer.text, answer.usage) == (b"null", Usage(input_tokens=9))


@pytest.mark.parametrize(
    ("endpoint", "content", "cut"),
    [
        ("/v1/chat/completions", {"choices": [{"finish_reason": "length"}]}, True),
        ("/v1/chat/completions", {"choices": [{"finish_reason": "stop"}]}, False),
        ("/v1/chat/completions", {"choices": [{"finish_reason": 7}]}, False),
        ("/v1/completions", {"choices": [{"text": "a", "finish_reason": "length"}]}, True),
        ("/v1/responses", {"incomplete_details": {"reason": "max_output_tokens"}}, True),
        ("/v1/responses", {"incomplete_details": {"reason": "content_filter"}}, False),
        ("/v1/responses", {"incomplete_details": None, "output": []}, False),
        ("/v1/embeddings", {"data": []}, False),
    ],
)
def test_an_answer_that_its_limit_cut_says_so(
    endpoint: str, content: dict[str, Any], cut: bool
) -> None:
    answer = DIALECT.answer(ok(content), Group("openai", endpoint, "m"))
    assert (answer.verdict, answer.cut) == ("succeeded", cut)


def test_bodies_of_another_shape_still_count_as_answers() -> None:
    for content in ({"choices": "odd"}, {"choices": [{"message": {"content": None}}]}, {}):
        answer = DIALECT.answer(ok(content), CHATTING)
        assert (answer.verdict, answer.text) == ("succeeded", b"null")


@pytest.mark.parametrize(
    ("response", "error", "verdict", "code"),
    [
        (
            {"status_code": 400, "body": {"error": {"code": "bad", "message": "m"}}},
            None,
            "failed",
            "bad",
        ),
        (
            {"status_code": 404, "body": {"error": {"type": "t", "message": "m"}}},
            None,
            "failed",
            "t",
        ),
        ({"status_code": 422, "body": {"error": "only words"}}, None, "failed", "http_422"),
        ({"status_code": 429, "body": {}}, None, "again", "http_429"),
        ({"status_code": 408, "body": None}, None, "again", "http_408"),
        ({"status_code": 409, "body": {}}, None, "again", "http_409"),
        (
            {"status_code": 500, "body": {"error": {"code": None, "message": "m"}}},
            None,
            "again",
            "http_500",
        ),
        ({"status_code": 0, "body": {}}, None, "again", "no_answer"),
        (None, None, "again", "no_answer"),
        (None, {"code": "batch_expired", "message": "m"}, "resend", "batch_expired"),
        (None, {"code": "batch_cancelled", "message": "m"}, "resend", "batch_cancelled"),
        (None, {"code": "request_timeout", "message": "m"}, "again", "request_timeout"),
        (None, {"code": "something_new", "message": None}, "again", "something_new"),
    ],
)
def test_every_failure_has_a_verdict_and_a_message(
    response: Any, error: Any, verdict: str, code: str
) -> None:
    answer = DIALECT.answer(answered(response, error), CHATTING)
    assert answer.verdict == verdict
    assert answer.error is not None
    assert answer.error.code == code
    assert answer.error.message
    assert answer.error.retryable == (verdict != "failed")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"id": 1}', b'{"custom_id": 5}'])
def test_what_is_no_answer_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        DIALECT.answer(data, CHATTING)
