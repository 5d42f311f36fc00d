"""Lines of a batch's results: `{"custom_id", "result": {"type", ...}}`.

Result types: https://platform.claude.com/docs/en/build-with-claude/batch-processing
Error types: https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import msgspec

from functions.batch.rows import Answer, ReadAnswers, RowError, Usage, UsualAnswer
from functions.providers.anthropic.plain import plain
from functions.providers.content import record
from functions.providers.in_bulk import InBulk, Opened
from functions.providers.said import Tokens, told

Verdict = Literal["succeeded", "failed", "again", "resend"]

RESULTS: dict[str, Verdict] = {
    "succeeded": "succeeded",
    "errored": "again",  # or as `ERRORS` has it
    "canceled": "resend",
    "expired": "resend",
}

ERRORS: dict[str, Verdict] = {
    "invalid_request_error": "failed",
    "not_found_error": "failed",
    "permission_error": "failed",
    "request_too_large": "failed",
    "authentication_error": "resend",
    "billing_error": "resend",
    "api_error": "again",
    "conflict_error": "again",
    "overloaded_error": "again",
    "rate_limit_error": "again",
    "timeout_error": "again",
}
"""A type that is not here may pass as well: only a request that is wrong stays wrong. An account
that refuses its rows has not tried them."""

ACCOUNT_CODES = frozenset(
    {
        "billing_error",
        "claude_code_key_creator_not_member",
        "cmek_key_disabled",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
        "organization_on_hold",
        "organization_type_not_supported",
    }
)
"""Types, and codes of `error.details`, that speak of the account, whatever the HTTP status."""

ACCOUNT_SECONDS = 300
"""After which rows that the account was refused for go again, at first."""

_ACCOUNT_WORDS = ("credit balance is too low", "specified api usage limits")
"""An empty balance and a spend limit of one's own come as `invalid_request_error`, without a code
of their own; both have been seen."""

_SAID = {
    "canceled": "The batch was cancelled before this row was sent to the model.",
    "expired": "The batch expired, after 24 hours, before this row was sent to the model.",
}

_NULL = msgspec.Raw(b"null")


class _Result(msgspec.Struct, gc=False):
    type: str
    message: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    result: _Result


class _Error(msgspec.Struct, gc=False):
    type: object = None
    message: object = None
    details: object = None


class _ErrorBody(_Error):
    error: _Error | str | None = None


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: msgspec.Raw = _NULL


class _Written(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: Tokens | None = None


class _Tools(msgspec.Struct, gc=False):
    web_search_requests: Tokens | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_creation: _Written | None = None
    output_tokens: Tokens | None = None
    server_tool_use: _Tools | None = None
    service_tier: str | None = None


class _Content(msgspec.Struct, gc=False):
    content: list[_Block] = []


class _Metered(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _Stopped(msgspec.Struct):
    stop_reason: str | None = None


class _Message(msgspec.Struct, gc=False):
    """All of the three."""

    content: list[_Block] = []
    usage: _Usage | None = None
    stop_reason: str | None = None


_line = msgspec.json.Decoder(_Line)
_error_body = msgspec.json.Decoder(_ErrorBody)
_content = msgspec.json.Decoder(_Content)
_metered = msgspec.json.Decoder(_Metered, strict=False)
_message = msgspec.json.Decoder(_Message)
_stopped = msgspec.json.Decoder(_Stopped)


def usual(block: bytes) -> ReadAnswers:
    """What `parse` says of each line, where it is an answer that succeeded and was not cut; else
    the line."""
    return _in_bulk.read(block)


def _opened(block: bytes) -> Opened:
    said = _line.decode_lines(block)
    bodies = [
        bytes(each.result.message) if each.result.type == "succeeded" else b"{}" for each in said
    ]
    return [each.custom_id for each in said], bodies


def _usual_answer(row_id: str, data: bytes, message: _Message) -> UsualAnswer | None:
    counts = message.usage
    if counts is None or message.stop_reason == "max_tokens":
        return None
    text = _joined(message.content)
    given = counts.input_tokens
    if given and _is_plain(counts):
        return (row_id, data, text, given, counts.output_tokens or 0, None)
    usage = _counted(counts)
    if usage is None:
        return None
    return (row_id, data, text, usage.input_tokens, usage.output_tokens, usage)


_in_bulk = InBulk(_opened, _message, _usual_answer, plain)


def _is_plain(usage: _Usage) -> bool:
    """Whether all tokens have one of two prices: none from a cache, or into one."""
    return (
        not (usage.cache_read_input_tokens or usage.cache_creation_input_tokens)
        and (usage.service_tier == "batch" or usage.service_tier is None)
        and (usage.cache_creation is None or not usage.cache_creation.ephemeral_1h_input_tokens)
        and (usage.server_tool_use is None or not usage.server_tool_use.web_search_requests)
    )


def parse(line: bytes) -> Answer:
    """Raises `ValueError` (msgspec's errors are) for a line that is no answer."""
    answer = _line.decode(line)
    result = answer.result
    if result.type == "succeeded":
        return _succeeded(answer.custom_id, bytes(result.message))
    if result.type == "errored":
        return _errored(answer.custom_id, bytes(result.error))
    said = _SAID.get(result.type, f"The row ended as {result.type!r}, which says nothing more.")
    return Answer(
        id=answer.custom_id,
        verdict=RESULTS.get(result.type, "again"),
        error=RowError(code=result.type, message=said, retryable=True),
    )


def _succeeded(row_id: str, data: bytes) -> Answer:
    return Answer(
        id=row_id,
        verdict="succeeded",
        response=data,
        text=_text(data),
        usage=_usage(data),
        cut=_cut(data),
    )


def about_account(code: str, message: str) -> bool:
    words = message.lower()
    return code in ACCOUNT_CODES or any(phrase in words for phrase in _ACCOUNT_WORDS)


def _text(message: bytes) -> bytes:
    try:
        return _joined(_content.decode(message).content)
    except msgspec.MsgspecError:
        return b"null"


def _joined(blocks: list[_Block]) -> bytes:
    """The text blocks, as they stand: escapes in JSON strings do not reach across."""
    if len(blocks) == 1 and blocks[0].type == "text":
        text = bytes(blocks[0].text)
        return text if text.startswith(b'"') else b"null"
    texts = [bytes(block.text) for block in blocks if block.type == "text"]
    strings = [text[1:-1] for text in texts if text.startswith(b'"')]
    return b'"%b"' % b"".join(strings) if strings else b"null"


def _cut(message: bytes) -> bool:
    with suppress(msgspec.MsgspecError):
        return _stopped.decode(message).stop_reason == "max_tokens"
    return False


def _usage(message: bytes) -> Usage | None:
    try:
        usage = _metered.decode(message).usage
    except msgspec.MsgspecError:
        return None
    return _counted(usage)


def _counted(usage: _Usage | None) -> Usage | None:
    """Anthropic's `input_tokens` leaves out what was read from and written to the cache. Its
    `service_tier` is `batch`, unless the row was answered, and billed, as in real time."""
    if usage is None or usage.input_tokens is usage.output_tokens is None:
        return None
    created, tools = usage.cache_creation, usage.server_tool_use
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    return Usage(
        input_tokens=(usage.input_tokens or 0) + read + written,
        cached_input_tokens=read,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens or 0,
        cache_write_1h_tokens=0 if created is None else created.ephemeral_1h_input_tokens or 0,
        web_searches=0 if tools is None else tools.web_search_requests or 0,
        at_list=usage.service_tier not in (None, "batch"),
    )


def _errored(row_id: str, body: bytes) -> Answer:
    """The error stands in an envelope of its own: `{"type": "error", "error": {"type", …}}`."""
    error = _Error()
    with suppress(msgspec.MsgspecError):
        given = _error_body.decode(body)
        inner = given.error if given.type == "error" else given
        error = _Error(message=inner) if isinstance(inner, str) else inner or error
    code = told(error.type) or "no_answer"
    message = told(error.message) or (
        f"Anthropic reported {code} and said no more."
        if error.type
        else "Anthropic reported an error and did not say which."
    )
    detail = told(record(error.details).get("error_code"))
    verdict = ERRORS.get(code, "again")
    if about_account(detail or code, message):
        verdict = "resend"
    return Answer(
        id=row_id,
        verdict=verdict,
        response=body,
        error=RowError(code=code, message=message, retryable=verdict != "failed"),
        delay_seconds=ACCOUNT_SECONDS if verdict == "resend" else 0,
    )
