"""Lines of OpenAI's output and error files, told apart by what they say, not by which file they
came in. A line has a `response` with an HTTP status, or an `error` with a code, or (seen in the
wild) neither: status 0, an empty body, a null error."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import msgspec

from functions.batch.rows import Answer, ReadAnswers, RowError, Usage, UsualAnswer
from functions.providers.in_bulk import InBulk, Opened
from functions.providers.openai.plain import plain
from functions.providers.said import Tokens, told

_NULL = msgspec.Raw(b"null")

_WITH_TEXT = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
_RETRYABLE_STATUSES = frozenset({0, 408, 409, 429})
_NEVER_TRIED = frozenset({"batch_expired", "batch_cancelled"})

ACCOUNT_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        "invalid_api_key",
    }
)
"""Codes that speak of the account: its rows have not been tried."""

_WRONG = ("invalid_", "image_", "unsupported_", "empty_", "failed_to_download_image")
"""How the codes of a response's error begin that speak of the request: any other may pass.
https://platform.openai.com/docs/api-reference/responses/object"""

ACCOUNT_SECONDS = 300
"""After which rows that the account was refused for go again, at first."""


class _Response(msgspec.Struct, gc=False):
    status_code: int | None = None
    body: msgspec.Raw = _NULL


class _Error(msgspec.Struct, gc=False):
    """Of whatever types: some services number their codes."""

    code: object = None
    type: object = None
    message: object = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: _Error | str | None = None


class _ErrorBody(msgspec.Struct, gc=False):
    error: _Error | str | None = None


class _ErrorAlone(_ErrorBody, gc=False):
    status: object = None
    output: msgspec.Raw = _NULL
    choices: msgspec.Raw = _NULL
    data: msgspec.Raw = _NULL


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = _NULL


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    text: msgspec.Raw = _NULL
    finish_reason: object = None


class _Content(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Output(msgspec.Struct, gc=False):
    type: str = ""
    content: list[_Content] | str | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None
    image_tokens: Tokens | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    input_tokens_details: _Details | None = None
    prompt_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Body(msgspec.Struct, gc=False):
    usage: _Usage | None = None
    choices: list[_Choice] | None = None
    output: list[_Output] | None = None
    incomplete_details: object = None


class _Usual(_Body, gc=False):
    error: object = None


class _Metered(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _UsualMetered(_Metered, gc=False):
    error: object = None


class _Unmetered(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    output: list[_Output] | None = None
    incomplete_details: object = None


_NOTHING = _Details()
# Not strict: compatible services write counts and statuses as texts, or as floats.
_line = msgspec.json.Decoder(_Line, strict=False)
_body = msgspec.json.Decoder(_Body, strict=False)
_usual = msgspec.json.Decoder(_Usual, strict=False)
_metered = msgspec.json.Decoder(_Metered, strict=False)
_usual_metered = msgspec.json.Decoder(_UsualMetered, strict=False)
_unmetered = msgspec.json.Decoder(_Unmetered)
_error_body = msgspec.json.Decoder(_ErrorBody)
_error_alone = msgspec.json.Decoder(_ErrorAlone)
_string = msgspec.json.Decoder(str)


def usual(block: bytes, endpoint: str) -> ReadAnswers:
    """What `parse` says of each line, where it is an answer that succeeded and was not cut; else
    the line."""
    return (_in_bulk if endpoint in _WITH_TEXT else _without_text).read(block)


def _opened(block: bytes) -> Opened:
    said = _line.decode_lines(block)
    bodies = [
        bytes(response.body)
        if (response := each.response) is not None and response.status_code == 200
        else b"{}"
        for each in said
    ]
    return [each.custom_id for each in said], bodies


def _usual_answer(row_id: str, data: bytes, body: _Usual) -> UsualAnswer | None:
    counts = body.usage
    if counts is None or body.error is not None:
        return None
    text, cut = _text(body)
    if cut:
        return None
    return _metered_answer(row_id, data, text, counts, _searches(body) if body.output else 0)


def _usual_textless(row_id: str, data: bytes, body: _UsualMetered) -> UsualAnswer | None:
    counts = body.usage
    if counts is None or body.error is not None:
        return None
    return _metered_answer(row_id, data, b"null", counts, 0)


def _metered_answer(
    row_id: str, data: bytes, text: bytes, counts: _Usage, searches: int
) -> UsualAnswer | None:
    given = counts.input_tokens or counts.prompt_tokens
    if searches or not given or not _is_plain(counts):
        usage = _usage(counts, searches)
        if usage is None:
            return None
        return (row_id, data, text, usage.input_tokens, usage.output_tokens, usage)
    made = counts.output_tokens or counts.completion_tokens or 0
    return (row_id, data, text, given, made, None)


_in_bulk = InBulk(_opened, _usual, _usual_answer, plain)
_without_text = InBulk(_opened, _usual_metered, _usual_textless)


def _is_plain(usage: _Usage) -> bool:
    """Whether all tokens are text, and none from a cache."""
    given = usage.input_tokens_details or usage.prompt_tokens_details
    if given is not None and (
        given.cached_tokens or given.cache_write_tokens or given.audio_tokens or given.image_tokens
    ):
        return False
    made = usage.output_tokens_details or usage.completion_tokens_details
    return made is None or not (made.audio_tokens or made.image_tokens)


def parse(line: bytes, endpoint: str) -> Answer:
    """Raises `ValueError` (msgspec's errors are) for a line that is no answer."""
    answer = _line.decode(line)
    response = answer.response
    if response is not None and response.status_code and 200 <= response.status_code < 300:
        body = _object(bytes(response.body))
        return _without_answer(answer.custom_id, body) or _succeeded(
            answer.custom_id, body, endpoint
        )
    return _failed(answer)


def _without_answer(row_id: str, body: bytes) -> Answer | None:
    """An error that came with a status of success, and no output beside it: a response that failed
    after it had begun."""
    if b'"error"' not in body:
        return None
    try:
        said = _error_alone.decode(body)
    except msgspec.MsgspecError:
        return None
    if not said.error:
        return None
    outputs = (said.output, said.choices, said.data)
    if said.status != "failed" and any(bytes(each) not in (b"null", b"[]") for each in outputs):
        return None
    error = _Error(message=said.error) if isinstance(said.error, str) else said.error
    code = told(error.code) or told(error.type) or "no_answer"
    blocked = bool(ACCOUNT_CODES & {told(error.code), told(error.type)})
    wrong = code.startswith(_WRONG) or error.type == "invalid_request_error"
    return Answer(
        id=row_id,
        verdict="resend" if blocked else "failed" if wrong else "again",
        response=body,
        usage=_usage_of(body),
        error=RowError(
            code=code,
            message=told(error.message) or "The provider reported an error and said no more.",
            retryable=not wrong,
        ),
        delay_seconds=ACCOUNT_SECONDS if blocked else 0,
    )


def _succeeded(row_id: str, body: bytes, endpoint: str) -> Answer:
    text, usage, cut = _read(body, endpoint)
    return Answer(id=row_id, verdict="succeeded", response=body, text=text, usage=usage, cut=cut)


def _object(body: bytes) -> bytes:
    """Some services write the body's JSON into a text."""
    if body.startswith(b'"'):
        inner = _string.decode(body).strip().encode()
        with suppress(msgspec.MsgspecError):
            if isinstance(msgspec.json.decode(inner), dict):
                return inner
    return body


def _read(body: bytes, endpoint: str) -> tuple[bytes, Usage | None, bool]:
    """Text, usage, and whether the limit on output cut it. A compatible service may shape its body
    otherwise: then there is none of them, and the response itself is kept all the same."""
    if endpoint not in _WITH_TEXT:
        return b"null", _usage_of(body), False
    try:
        full = _body.decode(body)
    except msgspec.MsgspecError:
        pass
    else:
        text, cut = _text(full)
        return text, _usage(full.usage, _searches(full)), cut
    with suppress(msgspec.MsgspecError):
        text, cut = _text(_unmetered.decode(body))
        return text, None, cut
    return b"null", _usage_of(body), False


def _text(body: _Body | _Unmetered) -> tuple[bytes, bool]:
    """And whether the limit on output cut it."""
    if body.choices:
        choice = body.choices[0]
        raw = bytes(choice.message.content if choice.message is not None else choice.text)
        return raw if raw[:1] == b'"' else b"null", choice.finish_reason == "length"
    cut = body.incomplete_details == {"reason": "max_output_tokens"}
    texts = [
        content.text
        for item in body.output or ()
        if item.type == "message" and isinstance(item.content, list)
        for content in item.content
        if content.type == "output_text" and content.text is not None
    ]
    return msgspec.json.encode("".join(texts)) if texts else b"null", cut


def _searches(body: _Body) -> int:
    output = body.output
    return sum(item.type == "web_search_call" for item in output) if output else 0


def _usage(usage: _Usage | None, searches: int = 0) -> Usage | None:
    if usage is None:
        return None
    counts = (usage.input_tokens, usage.output_tokens, usage.prompt_tokens, usage.completion_tokens)
    if counts == (None, None, None, None):
        return None
    given = usage.input_tokens_details or usage.prompt_tokens_details or _NOTHING
    made = usage.output_tokens_details or usage.completion_tokens_details or _NOTHING
    return Usage(
        input_tokens=usage.input_tokens or usage.prompt_tokens or 0,
        cached_input_tokens=given.cached_tokens or 0,
        cache_write_tokens=given.cache_write_tokens or 0,
        output_tokens=usage.output_tokens or usage.completion_tokens or 0,
        kinds=_kinds(given, made),
        web_searches=searches,
    )


def _kinds(given: _Details, made: _Details) -> dict[str, int] | None:
    if not (given.audio_tokens or given.image_tokens or made.audio_tokens or made.image_tokens):
        return None
    counts = {
        "input_audio": given.audio_tokens,
        "input_image": given.image_tokens,
        "output_audio": made.audio_tokens,
        "output_image": made.image_tokens,
    }
    return {kind: count for kind, count in counts.items() if count} or None


def _failed(answer: _Line) -> Answer:
    status = answer.response.status_code if answer.response is not None else None
    body = bytes(answer.response.body) if answer.response is not None else b"null"
    given = _Error(message=answer.error) if isinstance(answer.error, str) else answer.error
    error = given or _body_error(body) or _Error()
    named = told(error.code) or told(error.type)
    code = named or (f"http_{status}" if status else "no_answer")
    blocked = bool(ACCOUNT_CODES & {told(error.code), told(error.type)})
    verdict = (
        "resend"
        if blocked
        else _verdict(status, code, told=bool(error.code or error.message or status))
    )
    message = told(error.message) or (
        f"The provider answered with status {status} and said no more."
        if status
        else "The provider reported neither a status nor an error."
    )
    return Answer(
        id=answer.custom_id,
        verdict=verdict,
        response=body if body not in (b"{}", b"") else b"null",
        usage=_usage_of(body),
        error=RowError(code=code, message=message, retryable=verdict != "failed"),
        delay_seconds=ACCOUNT_SECONDS if blocked else 0,
    )


def _usage_of(body: bytes) -> Usage | None:
    with suppress(msgspec.MsgspecError):
        return _usage(_metered.decode(body).usage)
    return None


def _body_error(body: bytes) -> _Error | None:
    try:
        error = _error_body.decode(body).error
    except msgspec.MsgspecError:
        return None
    return _Error(message=error) if isinstance(error, str) else error


def _verdict(status: int | None, code: str, *, told: bool) -> Literal["failed", "again", "resend"]:
    if code in _NEVER_TRIED:
        return "resend"
    if status is None:
        # Codes without a status form an open set (`request_timeout` and others): the request
        # itself was never judged, so it may go again.
        return "again"
    if status in _RETRYABLE_STATUSES or status >= 500 or not told:
        return "again"
    return "failed"
