"""Lines of Vertex's prediction files: the request as it was sent, with its answer beside it.

Order is not kept, so an answer is joined by the id that it repeats: `key`, and a label of its
request. A line whose two ids differ is no answer. `status` is empty for an answer, else words or
words and the service's error as JSON. A line with a request alone was never processed: it is no
answer either, so the row counts as unanswered and the batch's end decides what that means.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from functions.batch.rows import Answer, ReadAnswers, RowError, Usage, UsualAnswer
from functions.providers.in_bulk import InBulk, Opened
from functions.providers.said import Tokens
from functions.providers.vertex.row_failures import RowFailure, code_of, told, verdict_of

LABEL = "batchdrop_row"

BLOCKED = "blocked"
"""Code of a row that was answered with nothing, on grounds of policy. It is not sent again: the
same request meets the same filter."""

_NULL = msgspec.Raw(b"null")

_POLICY_REASONS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
    }
)


class _Request(msgspec.Struct, gc=False):
    labels: dict[str, object] | None = None


class _Line(msgspec.Struct, gc=False):
    key: object = None
    status: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL
    request: _Request | None = None
    response: msgspec.Raw = _NULL
    processed_time: object = None


class _Unlabelled(msgspec.Struct, gc=False):
    """Of a line that repeats its request in another form than it had."""

    key: object = None
    status: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL
    response: msgspec.Raw = _NULL
    processed_time: object = None


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel", gc=False):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Feedback(msgspec.Struct, rename="camel", gc=False):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Modality(msgspec.Struct, rename="camel", gc=False):
    modality: str | None = None
    token_count: Tokens | None = None


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    prompt_token_count: Tokens | None = None
    tool_use_prompt_token_count: Tokens | None = None
    cached_content_token_count: Tokens | None = None
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens | None = None
    prompt_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None
    cache_tokens_details: list[_Modality] | None = None


class _Response(msgspec.Struct, rename="camel", gc=False):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None


class _Metered(msgspec.Struct, rename="camel", gc=False):
    usage_metadata: _Metadata | None = None


class _Shape(msgspec.Struct, rename="camel", gc=False):
    """What a response has, whatever is in it."""

    candidates: msgspec.Raw = _NULL
    embedding: msgspec.Raw = _NULL
    embeddings: msgspec.Raw = _NULL
    prompt_feedback: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class _Embedded(_Metered, rename="camel", gc=False):
    embedding: msgspec.Raw = _NULL
    embeddings: msgspec.Raw = _NULL


class _Full(msgspec.Struct, rename="camel", gc=False):
    """A response that generated something."""

    candidates: list[_Candidate] | None = None
    usage_metadata: _Metadata | None = None
    embedding: msgspec.Raw = msgspec.Raw()
    embeddings: msgspec.Raw = msgspec.Raw()
    prompt_feedback: _Feedback | None = None


_line = msgspec.json.Decoder(_Line)
_unlabelled = msgspec.json.Decoder(_Unlabelled)
_response = msgspec.json.Decoder(_Response)
_metered = msgspec.json.Decoder(_Metered, strict=False)  # protobuf writes long counts as texts
_shape = msgspec.json.Decoder(_Shape)
_full = msgspec.json.Decoder(_Full)
_embedded = msgspec.json.Decoder(_Embedded)


def usual(block: bytes, *, embeds: bool) -> ReadAnswers:
    """What `parse` says of each line, where it generated something and was not cut, or embedded
    something; else the line."""
    return (_embeddings if embeds else _in_bulk).read(block)


def _opened(block: bytes) -> Opened:
    said = _line.decode_lines(block)
    ids = [_identity(each.key, each.request) for each in said]
    responses = [bytes(each.response) for each in said]
    return ids, [each if each.startswith(b"{") else b"{}" for each in responses]


def _usual_answer(row_id: str, data: bytes, full: _Full) -> UsualAnswer | None:
    counts = full.usage_metadata
    if not full.candidates or counts is None or full.embedding or full.embeddings:
        return None
    first = full.candidates[0]
    if first.finish_reason == "MAX_TOKENS" or first.finish_reason in _POLICY_REASONS:
        return None
    text = _text(first)
    given = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
    if not given or not _is_plain(counts):
        usage = _counted(counts)
        return (row_id, data, text, usage.input_tokens, usage.output_tokens, usage)
    made = (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)
    return (row_id, data, text, given, made, None)


def _usual_embedding(row_id: str, data: bytes, said: _Embedded) -> UsualAnswer | None:
    counts = said.usage_metadata
    if counts is None or not _has(said.embedding, said.embeddings):
        return None
    usage = _counted(counts)
    plain = usage.input_tokens and _is_plain(counts)
    given, made = usage.input_tokens, usage.output_tokens
    return (row_id, data, b"null", given, made, None if plain else usage)


_in_bulk = InBulk(_opened, _full, _usual_answer)
_embeddings = InBulk(_opened, _embedded, _usual_embedding)


def _is_plain(counts: _Metadata) -> bool:
    """Whether all tokens are text, and none from a cache."""
    if counts.cached_content_token_count or counts.cache_tokens_details:
        return False
    for details in (counts.prompt_tokens_details, counts.candidates_tokens_details):
        for each in details or ():
            if each.modality != "TEXT":
                return False
    return True


def parse(line: bytes, *, embeds: bool) -> Answer:
    """Raises `ValueError` (msgspec's errors are) for a line that is no answer."""
    answer = _decode(line)
    row_id = _identity(answer.key, answer.request if isinstance(answer, _Line) else None)
    body = bytes(answer.response)
    shape = _read(body)
    if shape is not None and _has(shape.embedding, shape.embeddings):
        return Answer(id=row_id, verdict="succeeded", response=body, usage=_usage(body))
    if shape is not None and not embeds and _has(shape.candidates, shape.prompt_feedback):
        return _generated(row_id, body)
    in_response = _NULL if shape is None else shape.error
    error, said = told((bytes(answer.error), bytes(in_response)), bytes(answer.status))
    if error is None and shape is None and answer.processed_time is None:
        raise ValueError("the request was not processed")
    return _failed(row_id, said if shape is None else body, error)


def _decode(line: bytes) -> _Line | _Unlabelled:
    try:
        return _line.decode(line)
    except msgspec.ValidationError:
        return _unlabelled.decode(line)


def _identity(key: object, request: _Request | None) -> str:
    label = request.labels.get(LABEL) if request is not None and request.labels else None
    row_id = label if key is None else key
    if row_id is None or (label is not None and label != row_id):
        raise ValueError("the line has no id, or two that differ")
    if not isinstance(row_id, str):
        raise ValueError("the line's id is not ours")
    return row_id


def _read(body: bytes) -> _Shape | None:
    """None for no response: null, an empty object, or something else altogether."""
    try:
        shape = _shape.decode(body)
    except msgspec.MsgspecError:
        return None
    return None if body == b"{}" else shape


def _has(*fields: msgspec.Raw) -> bool:
    return any(bytes(field) not in (b"null", b"[]", b"{}") for field in fields)


def _generated(row_id: str, body: bytes) -> Answer:
    usage = _usage(body)
    try:
        response = _response.decode(body)
    except msgspec.MsgspecError:
        return Answer(id=row_id, verdict="succeeded", response=body, usage=usage)
    blocked = _blocked(response)
    if blocked is not None:
        error = RowError(code=BLOCKED, message=blocked, retryable=False)
        return Answer(id=row_id, verdict="failed", response=body, usage=usage, error=error)
    if not response.candidates:
        return _failed(row_id, body, None)
    first = response.candidates[0]
    return Answer(
        id=row_id,
        verdict="succeeded",
        response=body,
        text=_text(first),
        usage=usage,
        cut=first.finish_reason == "MAX_TOKENS",
    )


def _blocked(response: _Response) -> str | None:
    """A part of an answer is an answer: only one without any content counts as blocked."""
    feedback = response.prompt_feedback
    if not response.candidates:
        if feedback is None or not feedback.block_reason:
            return None
        more = feedback.block_reason_message
        return f"Gemini blocked the prompt ({feedback.block_reason}){f': {more}' if more else '.'}"
    candidate = response.candidates[0]
    if candidate.finish_reason not in _POLICY_REASONS:
        return None
    if candidate.content is not None and candidate.content.parts:
        return None
    more = candidate.finish_message
    return f"Gemini withheld its answer ({candidate.finish_reason}){f': {more}' if more else '.'}"


def _text(candidate: _Candidate) -> bytes:
    parts = (candidate.content.parts if candidate.content is not None else None) or []
    texts = [part.text for part in parts if part.text is not None and not part.thought]
    if len(texts) == 1:
        return msgspec.json.encode(texts[0])
    return msgspec.json.encode("".join(texts)) if texts else b"null"


def _usage(body: bytes) -> Usage | None:
    with suppress(msgspec.MsgspecError):
        counts = _metered.decode(body).usage_metadata
        return None if counts is None else _counted(counts)
    return None


def _counted(counts: _Metadata) -> Usage:
    """Counts that are zero are absent. Cached tokens are part of the prompt's."""
    tools = counts.tool_use_prompt_token_count or 0
    return Usage(
        input_tokens=(counts.prompt_token_count or 0) + tools,
        cached_input_tokens=counts.cached_content_token_count or 0,
        output_tokens=(counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0),
        kinds=_kinds(counts),
    )


def _kinds(counts: _Metadata) -> dict[str, int] | None:
    """Tokens that are not text; documents are priced as text or images are. The prompt's counts
    have those in them that came from a cache."""
    given = _not_text(counts.prompt_tokens_details)
    cached = _not_text(counts.cache_tokens_details)
    made = _not_text(counts.candidates_tokens_details)
    if not (given or cached or made):
        return None
    found = {f"input_{kind}": count - cached.get(kind, 0) for kind, count in given.items()}
    found.update((f"cached_{kind}", count) for kind, count in cached.items())
    found.update((f"output_{kind}", count) for kind, count in made.items())
    return {kind: count for kind, count in found.items() if count > 0} or None


def _not_text(details: list[_Modality] | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in details or ():
        if each.modality not in (None, "TEXT") and each.token_count:
            found[each.modality.lower()] = each.token_count
    return found


def _failed(row_id: str, body: bytes, error: RowFailure | None) -> Answer:
    error = error or RowFailure()
    code = code_of(error)
    verdict = verdict_of(code)
    return Answer(
        id=row_id,
        verdict=verdict,
        response=body,
        usage=_usage(body),
        error=RowError(
            code=code,
            message=error.message or "Vertex gave neither an answer nor a reason.",
            retryable=verdict != "failed",
        ),
    )
