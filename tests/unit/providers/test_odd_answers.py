"""Answers as compatible services and gateways give them: paid, so that none may be overlooked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.batch.rows import Answer, Group
from functions.providers.anthropic import answers as anthropic
from functions.providers.openai import answers as openai
from functions.providers.said import count, told
from functions.providers.vertex.dialect import GENERATE, VertexDialect

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {
    "choices": [{"message": {"content": "hi"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


def of_openai(**line: Any) -> Answer:
    return openai.parse(json.dumps({"custom_id": "r", **line}).encode(), CHAT)


@pytest.mark.parametrize("status", [200, "200", 200.0])
def test_a_status_may_be_written_in_any_way(status: object) -> None:
    answer = of_openai(response={"status_code": status, "body": BODY}, error=None)
    assert answer.verdict == "succeeded"
    assert json.loads(answer.text) == "hi"
    assert answer.usage is not None
    assert answer.usage.input_tokens == 3


def test_a_body_written_into_a_text_is_unpacked() -> None:
    answer = of_openai(response={"status_code": 200, "body": json.dumps(BODY)})
    assert json.loads(answer.response) == BODY
    assert json.loads(answer.text) == "hi"


def test_a_body_that_is_a_text_stays_one() -> None:
    answer = of_openai(response={"status_code": 200, "body": "hello"})
    assert (answer.verdict, answer.response) == ("succeeded", b'"hello"')


@pytest.mark.parametrize("usage", [{"prompt_tokens": 2.5}, {"prompt_tokens_details": []}, "none"])
def test_odd_usage_does_not_cost_the_text(usage: object) -> None:
    answer = of_openai(response={"status_code": 200, "body": {**BODY, "usage": usage}})
    assert json.loads(answer.text) == "hi"
    assert answer.usage is None


def test_a_reasoning_items_text_does_not_cost_the_messages() -> None:
    output = [
        {"type": "reasoning", "content": "hm"},
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
    ]
    line = {"custom_id": "r", "response": {"status_code": 200, "body": {"output": output}}}
    assert openai.parse(json.dumps(line).encode(), "/v1/responses").text == b'"hi"'


@pytest.mark.parametrize(
    ("line", "verdict", "code", "message"),
    [
        ({"response": None, "error": "boom"}, "again", "no_answer", "boom"),
        (
            {"response": {"status_code": 400, "body": {"error": {"code": 400, "message": ["x"]}}}},
            "failed",
            "400",
            '["x"]',
        ),
        (
            {"response": {"status_code": 400, "body": {}}, "error": {"code": {"a": 1}}},
            "failed",
            '{"a":1}',
            "The provider answered with status 400 and said no more.",
        ),
    ],
)
def test_an_error_of_any_shape_is_told(line: Any, verdict: str, code: str, message: str) -> None:
    answer = of_openai(**line)
    assert answer.error is not None
    assert (answer.verdict, answer.error.code, answer.error.message) == (verdict, code, message)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "insufficient_quota", "type": "insufficient_quota", "message": "Pay."},
        {"code": None, "type": "insufficient_quota", "message": "Pay."},
        {"code": "billing_hard_limit_reached", "message": "Pay."},
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_rows_that_the_account_was_refused_for_were_not_tried(error: Any, inside: bool) -> None:
    body = {"error": error} if inside else {}
    line = {"response": {"status_code": 429, "body": body}, "error": None if inside else error}
    answer = of_openai(**line)
    assert (answer.verdict, answer.delay_seconds) == ("resend", openai.ACCOUNT_SECONDS)


def test_a_row_that_came_too_fast_has_failed_for_now() -> None:
    error = {"code": "rate_limit_exceeded", "type": "requests", "message": "Slow down."}
    answer = of_openai(response={"status_code": 429, "body": {"error": error}})
    assert (answer.verdict, answer.delay_seconds) == ("again", 0)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ({"status": "failed", "error": {"code": "server_error"}, "output": []}, "again"),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded"}, "output": [{}]}, "again"),
        ({"status": "failed", "error": {"code": "invalid_prompt", "message": "no"}}, "failed"),
        ({"error": {"type": "server_error", "code": None, "message": "boom"}}, "again"),
        ({"error": {"type": "insufficient_quota", "message": "Pay."}}, "resend"),
        ({"error": "boom"}, "again"),
        ({"error": {"type": "invalid_request_error", "message": "no"}, "choices": []}, "failed"),
        ({**BODY, "error": None}, "succeeded"),
        ({**BODY, "error": {"code": "a_part_of_it"}}, "succeeded"),
    ],
)
def test_an_error_with_a_status_of_success_is_an_error(body: Any, verdict: str) -> None:
    """A response that failed after it had begun has one."""
    answer = of_openai(response={"status_code": 200, "body": body}, error=None)
    assert answer.verdict == verdict
    assert (answer.error is None) == (verdict == "succeeded")


@pytest.mark.parametrize("usage", [{}, {"total_tokens": 5}, {"prompt_tokens": None}])
def test_usage_without_a_count_is_not_free(usage: object) -> None:
    answer = of_openai(response={"status_code": 200, "body": {**BODY, "usage": usage}})
    assert (answer.text, answer.usage) == (b'"hi"', None)


@pytest.mark.parametrize("details", [None, "x", {"error_code": None}, {"error_code": 7}, []])
def test_a_wrong_request_stays_wrong_whatever_its_details(details: object) -> None:
    error = {"type": "invalid_request_error", "message": "bad", "details": details}
    result = {"type": "errored", "error": {"type": "error", "error": error}}
    line = json.dumps({"custom_id": "r", "result": result}).encode()
    assert anthropic.parse(line).verdict == "failed"


def test_an_error_that_is_a_text_is_told() -> None:
    result = {"type": "errored", "error": {"type": "error", "error": "Something broke."}}
    answer = anthropic.parse(json.dumps({"custom_id": "r", "result": result}).encode())
    assert answer.error is not None
    assert answer.error.message == "Something broke."


@pytest.mark.parametrize("request_", ["{}", [{"name": "contents"}], {"labels": [{"key": "a"}]}, 7])
def test_a_vertex_line_is_known_by_its_key_where_its_request_has_another_form(
    request_: object,
) -> None:
    response = {
        "candidates": [{"content": {"parts": [{"text": "hi"}]}}],
        "usageMetadata": {"promptTokenCount": "3", "candidatesTokenCount": 2},
    }
    line = {"key": "r", "status": "", "request": request_, "response": response}
    answer = VertexDialect().answer(json.dumps(line).encode(), Group("vertex", GENERATE, "m"))
    assert (answer.id, answer.verdict, answer.text) == ("r", "succeeded", b'"hi"')
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize("key", [[], {}, 7, ["r"]])
def test_a_key_that_is_no_text_is_not_ours(key: object) -> None:
    line = {"key": key, "status": "", "request": {}, "response": {"candidates": [{}]}}
    with pytest.raises(ValueError, match="id"):
        VertexDialect().answer(json.dumps(line).encode(), Group("vertex", GENERATE, "m"))


@pytest.mark.parametrize("tokens", [-1, 2**63, 2**64, 10**30])
def test_usage_that_no_request_can_have_is_not_known(tokens: int) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    answers = [of_openai(response={"status_code": 200, "body": {**BODY, "usage": usage}})]
    message = {
        "content": [{"type": "text", "text": "hi"}],
        "usage": {"input_tokens": 1, "output_tokens": tokens},
    }
    result = {"type": "succeeded", "message": message}
    answers.append(anthropic.parse(json.dumps({"custom_id": "r", "result": result}).encode()))
    response = {
        "candidates": [{"content": {"parts": [{"text": "hi"}]}}],
        "usageMetadata": {"promptTokenCount": tokens},
    }
    line = json.dumps({"key": "r", "status": "", "request": {}, "response": response}).encode()
    answers.append(VertexDialect().answer(line, Group("vertex", GENERATE, "m")))
    assert [(each.text, each.usage) for each in answers] == [(b'"hi"', None)] * 3


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (400, "400"), (None, ""), (False, ""), ({"a": 1}, '{"a":1}')]
)
def test_what_was_said_is_told_as_a_text(value: object, text: str) -> None:
    assert told(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), ("3", 3), (3.0, 3), (None, 0), ("x", 0), (-1, 0), (True, 0), (float("nan"), 0)],
)
def test_what_is_no_count_counts_nothing(value: object, number: int) -> None:
    assert count(value) == number
