from __future__ import annotations

import json
from typing import Any

import pytest

from functions.batch.rows import Group, Usage
from functions.providers.vertex.dialect import EMBED, GENERATE, VertexDialect

DIALECT = VertexDialect()
ROW_ID = "r000000-000000017-1234abcd-r01-0002-3"
LABELS = {"labels": {"batchdrop_row": ROW_ID, "team": "a"}}
TIME = "2026-11-21T10:00:00.000+00:00"


def answer(line: Any, endpoint: str = GENERATE) -> Any:
    data = line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode()
    return DIALECT.answer(data, Group("vertex", endpoint, "gemini-2.5-flash"))


def line(**more: Any) -> dict[str, Any]:
    request = {"contents": [{"parts": [{"text": "x"}]}], **LABELS}
    return {"status": "", "processed_time": TIME, "key": ROW_ID, "request": request, **more}


def saying(*parts: Any, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    return {"candidates": [{**candidate, **more}], "modelVersion": "m"}


def failed(status: Any, **more: Any) -> Any:
    return answer(line(status=status, **more))


def test_an_answer_is_the_text_without_thoughts_and_the_response_as_it_came() -> None:
    response = saying({"text": "hm", "thought": True}, {"text": "bu"}, {"text": "g\u2028"})
    response["usageMetadata"] = {
        "promptTokenCount": 800,
        "cachedContentTokenCount": 300,
        "toolUsePromptTokenCount": 12,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 835,
        "trafficType": "ON_DEMAND",
    }
    made = answer(line(response=response))
    assert made.id == ROW_ID
    assert made.verdict == "succeeded"
    assert made.error is None
    assert json.loads(made.text) == "bug\u2028"
    assert made.response == json.dumps(response, separators=(",", ":")).encode()
    assert made.usage == Usage(input_tokens=812, cached_input_tokens=300, output_tokens=23)


@pytest.mark.parametrize(
    "response",
    [
        saying({"functionCall": {"name": "f"}}),
        saying({"text": "all thought", "thought": True}),
        {"candidates": [{"finishReason": "MAX_TOKENS"}]},
        {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]},
        {"candidates": [{"content": "a shape of tomorrow"}]},
    ],
)
def test_an_answer_may_have_no_text(response: Any) -> None:
    made = answer(line(response=response))
    assert (made.verdict, made.text, made.usage) == ("succeeded", b"null", None)
    assert json.loads(made.response) == response


@pytest.mark.parametrize(("reason", "cut"), [("MAX_TOKENS", True), ("STOP", False), (None, False)])
def test_an_answer_that_its_limit_cut_says_so(reason: str | None, cut: bool) -> None:
    said = answer(line(response=saying({"text": "bu"}, finishReason=reason)))
    assert (said.verdict, said.cut) == ("succeeded", cut)


def test_counts_that_are_zero_are_absent() -> None:
    response = {**saying({"text": ""}), "usageMetadata": {"promptTokenCount": 4}}
    made = answer(line(response=response))
    assert made.usage == Usage(input_tokens=4)
    assert made.text == b'""'


def test_each_token_that_is_not_text_is_counted_once() -> None:
    """The prompt's counts have those in them that came from a cache."""
    counts = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 50,
        "candidatesTokenCount": 9,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 30},
            {"modality": "AUDIO", "tokenCount": 60},
            {"modality": "IMAGE", "tokenCount": 10},
        ],
        "cacheTokensDetails": [
            {"modality": "TEXT", "tokenCount": 10},
            {"modality": "AUDIO", "tokenCount": 30},
            {"modality": "IMAGE", "tokenCount": 10},
        ],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}],
    }
    made = answer(line(response={**saying({"text": "a"}), "usageMetadata": counts}))
    assert made.usage == Usage(
        input_tokens=100,
        cached_input_tokens=50,
        output_tokens=9,
        kinds={"input_audio": 30, "cached_audio": 30, "cached_image": 10, "output_image": 9},
    )


def test_an_embedding_has_no_text() -> None:
    response = {"embedding": {"values": [0.1]}, "usageMetadata": {"promptTokenCount": 4}}
    told = {"status": "", "key": ROW_ID, "request": {"content": {}}, "response": response}
    made = answer(told, EMBED)
    assert (made.verdict, made.text) == ("succeeded", b"null")
    assert made.usage == Usage(input_tokens=4)


@pytest.mark.parametrize(
    "response",
    [
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "why"}},
        {"candidates": [{"finishReason": "SAFETY"}]},
        {"candidates": [{"finishReason": "RECITATION", "content": {"role": "model"}}]},
    ],
)
def test_what_policy_withholds_fails_for_good_and_keeps_the_response(response: Any) -> None:
    made = answer(line(response={**response, "usageMetadata": {"promptTokenCount": 9}}))
    assert made.verdict == "failed"
    assert (made.error.code, made.error.retryable) == ("blocked", False)
    assert made.error.message
    assert made.usage == Usage(input_tokens=9)
    assert json.loads(made.response)["usageMetadata"]


def test_an_answer_that_was_cut_short_by_policy_is_still_one() -> None:
    made = answer(line(response=saying({"text": "half"}, finishReason="SAFETY")))
    assert (made.verdict, made.text) == ("succeeded", b'"half"')


BAD = {"code": 400, "message": "Invalid argument.", "status": "INVALID_ARGUMENT"}


@pytest.mark.parametrize(
    ("status", "more", "code", "verdict"),
    [
        (f"Bad Request: {json.dumps({'error': BAD})}", {}, "INVALID_ARGUMENT", "failed"),
        (
            f"Bad Request: {json.dumps({'error': BAD})}",
            {"response": {}},
            "INVALID_ARGUMENT",
            "failed",
        ),
        (f"Bad Request: {json.dumps(BAD)}", {"response": None}, "INVALID_ARGUMENT", "failed"),
        ("Bad Request", {}, "INVALID_ARGUMENT", "failed"),
        ("Bad Request: {cut off", {}, "INVALID_ARGUMENT", "failed"),
        ("INVALID_ARGUMENT: no", {}, "INVALID_ARGUMENT", "failed"),
        ("PERMISSION_DENIED", {}, "PERMISSION_DENIED", "failed"),
        ("Not Found: {}", {}, "NOT_FOUND", "failed"),
        ("Too Many Requests", {}, "RESOURCE_EXHAUSTED", "again"),
        ("RESOURCE_EXHAUSTED: quota", {}, "RESOURCE_EXHAUSTED", "again"),
        ("UNAVAILABLE", {}, "UNAVAILABLE", "again"),
        ("Internal Server Error: {}", {}, "INTERNAL", "again"),
        ("DEADLINE_EXCEEDED", {}, "DEADLINE_EXCEEDED", "again"),
        ("CANCELLED: the job", {}, "CANCELLED", "resend"),
        ("words of tomorrow", {}, "unknown", "again"),
        ({"code": 8, "message": "full"}, {}, "RESOURCE_EXHAUSTED", "again"),
        ({"code": 3, "message": "bad"}, {}, "INVALID_ARGUMENT", "failed"),
        ({"code": 418, "message": "teapot"}, {}, "code_418", "again"),
        ("", {"error": {"status": "NOT_FOUND", "message": "gone"}}, "NOT_FOUND", "failed"),
        ("", {"error": {"code": "odd", "message": "odd"}}, "odd", "again"),
        ("", {"response": {"error": {"code": 503, "message": "later"}}}, "UNAVAILABLE", "again"),
        ("", {"response": {"candidates": []}}, "no_answer", "again"),
        ("", {}, "no_answer", "again"),
    ],
)
def test_failures(status: Any, more: dict[str, Any], code: str, verdict: str) -> None:
    made = failed(status, **more)
    assert (made.error.code, made.verdict) == (code, verdict)
    assert made.error.retryable is (verdict != "failed")
    assert made.error.message
    json.loads(made.response)


def test_the_services_error_is_kept_as_the_rows_response() -> None:
    made = failed(f"Bad Request: {json.dumps({'error': BAD})}")
    assert json.loads(made.response) == {"error": BAD}
    assert made.error.message == "Invalid argument."
    assert failed("Bad Request").response == b"null"


def test_an_answer_is_taken_though_its_status_says_something() -> None:
    assert failed("truncated", response=saying({"text": "x"})).verdict == "succeeded"


@pytest.mark.parametrize(
    "told",
    [
        b"not json",
        b"[]",
        b"{}",
        {"request": {"contents": []}},
        {"request": LABELS},  # never processed
        {"key": ROW_ID, "request": LABELS, "status": "", "response": {}},
        {"key": ROW_ID, "request": LABELS, "status": None},
        line(key="r000000-000000018-1234abcd-r01-0002-3", response=saying({"text": "x"})),
        line(key=17, request={}, response=saying({"text": "x"})),
        {"instance": {"content": "x"}, "predictions": [], "status": ""},
        b'{"key":"\xff"}',
    ],
)
def test_what_is_no_answer(told: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        answer(told)


@pytest.mark.parametrize("lost", ["key", "label"])
def test_either_of_the_two_ids_will_do(lost: str) -> None:
    told = line(response=saying({"text": "x"}))
    if lost == "key":
        del told["key"]
    else:
        told["request"] = {"contents": []}
    assert answer(told).id == ROW_ID
