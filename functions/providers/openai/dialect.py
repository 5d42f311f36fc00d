"""OpenAI batch lines: `{"custom_id", "method", "url", "body"}`, and their answers.

Limits: 50,000 requests and 200 MB a file, embeddings 50,000 inputs a batch, one model a file
(https://developers.openai.com/api/docs/guides/batch). MB is read as 10^6 bytes, the stricter way.
"""

from __future__ import annotations

from typing import cast

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.rows import Answer, Cut, Group, Limits, ParsedRow, ReadAnswers, Weight
from functions.providers.fields import (
    ID_ROOM,
    MOST_MODEL,
    check_model,
    check_nul,
    custom_id,
    decode_fields,
    replaced,
    string,
    with_id,
)
from functions.providers.openai import answers
from functions.providers.openai.tokens import (
    Body,
    Chat,
    answers_of,
    chat_tokens,
    input_tokens,
)
from functions.providers.places import FREE, ID, LINK, TEXT, Place, cut_at

PROVIDER = "openai"

_CHAT = "/v1/chat/completions"

ENDPOINTS = (
    "/v1/responses",
    _CHAT,
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)

LIMITS = Limits(rows=50_000, bytes=200_000_000, inputs=50_000, output=2_000_000_000)

_CREATES_PER_HOUR = 1_900
"""OpenAI lets an account create 2,000 batches an hour; our sliding window is an estimate."""

_TOKEN_BYTES = 6
_DEFAULT_TOKENS = 1_024
_MOST_TOKENS = 4_096
_ENVELOPE_BYTES = 1_500
_EMBEDDING_BYTES = 68_000  # 3,072 numbers of 22 characters
_IMAGE_BYTES = 3_000_000  # base64 of a 1,024 x 1,024 PNG


_TEXT_PART = Place(fields={"text": TEXT})
_PARTS = {
    "text": _TEXT_PART,
    "input_text": _TEXT_PART,
    "output_text": _TEXT_PART,
    "image_url": Place(fields={"image_url": Place(fields={"url": LINK})}),
    "input_image": Place(fields={"image_url": LINK, "file_id": FREE}),
    "file": Place(fields={"file": Place(fields={"file_id": FREE})}),
    "input_file": Place(fields={"file_url": FREE, "file_id": FREE}),
}
_CONTENT = Place(string="text", items=Place(types=_PARTS))
_MESSAGE = {"content": _CONTENT}
_BODY = {
    "messages": Place(items=Place(fields=_MESSAGE)),
    "instructions": TEXT,
    "input": Place(string="text", items=Place(string="text", fields=_MESSAGE)),
    "prompt": Place(string="text", items=TEXT),
    "metadata": Place(each=FREE),
    "user": FREE,
    "safety_identifier": FREE,
    "prompt_cache_key": FREE,
}
_STRINGS = Place(fields={"custom_id": ID, "body": Place(fields=_BODY)})

# Numbers may be larger than a double: they are the provider's to refuse.
_body = msgspec.json.Decoder(Body, float_hook=float)
_chat = msgspec.json.Decoder(Chat, float_hook=float)


class _ChatRow(msgspec.Struct, gc=False):
    method: str
    url: str
    body: Chat


_chat_row = msgspec.json.Decoder(_ChatRow, float_hook=float)


class OpenAIDialect:
    provider = PROVIDER
    framing: tuple[bytes, bytes, bytes] = (b"", b"\n", b"\n")
    id_mark = b'"custom_id"'
    creates_per_hour: int | None = _CREATES_PER_HOUR

    def claims(self, fields: dict[str, msgspec.Raw]) -> bool:
        """A text under `body`, with a `url` beside it, is a page that somebody fetched."""
        body = fields.get("body")
        if body is None:
            return False
        return "method" in fields or ("url" in fields and bytes(body).startswith(b"{"))

    def parse(self, line: bytes, fields: dict[str, msgspec.Raw]) -> ParsedRow:
        if string(fields, "method") != "POST":
            raise InvalidRow("bad_method", 'The line needs "method": "POST".')
        endpoint = string(fields, "url")
        if endpoint not in ENDPOINTS:
            raise InvalidRow(
                "unknown_endpoint",
                f'"url" is {endpoint!r}; OpenAI\'s Batch API takes {", ".join(ENDPOINTS)}.',
            )
        check_nul(line)
        body = _read(fields["body"], endpoint)
        if not body.model:
            raise InvalidRow("no_model", 'The body has no "model": say which one is to answer.')
        check_model(body.model)
        if body.stream:
            raise InvalidRow("stream", 'A batch cannot stream: take "stream" out of the body.')
        chat = isinstance(body, Chat)
        inputs = _inputs(body.input) if not chat and endpoint == "/v1/embeddings" else 0
        if inputs > LIMITS.inputs:
            raise InvalidRow(
                "too_many_inputs",
                f"{inputs} inputs in one row; a batch takes {LIMITS.inputs}.",
            )
        asked, most = answers_of(endpoint, body)
        given = chat_tokens(body) if chat else input_tokens(endpoint, body)
        weight = Weight(
            rows=1,
            bytes=len(line) + ID_ROOM,
            inputs=inputs,
            output=_expected_output(endpoint, asked, most, inputs),
            tokens=round(given),
            max_output=asked * most,
            unbounded=0 if most else asked,
        )
        return ParsedRow(Group(PROVIDER, endpoint, body.model), weight, given)

    def parse_usual(self, line: bytes) -> ParsedRow | None:
        """Chat completions."""
        try:
            row = _chat_row.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return None
        body = row.body
        model = body.model
        if row.method != "POST" or row.url != _CHAT or not model or body.stream:
            return None
        if b"\\u0000" in line or len(model) > MOST_MODEL:
            return None
        asked, most = answers_of(_CHAT, body)
        given = chat_tokens(body)
        weight = Weight(
            rows=1,
            bytes=len(line) + ID_ROOM,
            output=_text_bytes(asked, most),
            tokens=round(given),
            max_output=asked * most,
            unbounded=0 if most else asked,
        )
        return ParsedRow(Group(PROVIDER, _CHAT, model), weight, given)

    def cut(self, line: bytes) -> Cut | None:
        return cut_at(_STRINGS, line)

    def weigh(self, line: bytes) -> Weight:
        return self.parse(line, decode_fields(line)).weight

    def limits(self, group: Group) -> Limits:
        return LIMITS

    def request(self, line: bytes, row_id: str) -> bytes:
        return with_id(line, "custom_id", row_id)

    def custom_id(self, line: bytes) -> bytes:
        return custom_id(line)

    def with_model(self, line: bytes, model: str) -> bytes:
        return replaced(line, model, "body", "model")

    def answer(self, line: bytes, group: Group) -> Answer:
        return answers.parse(line, group.endpoint)

    def read_answers(self, block: bytes, group: Group) -> ReadAnswers:
        return answers.usual(block, group.endpoint)


def _read(raw: msgspec.Raw, endpoint: str) -> Body | Chat:
    if endpoint == _CHAT:
        try:
            return _chat.decode(raw)
        except msgspec.ValidationError:
            pass  # Messages that are no list of objects, among others: the provider's to refuse.
    try:
        return _body.decode(raw)
    except msgspec.ValidationError as error:
        if str(error).endswith("`$.model`"):
            raise InvalidRow("no_model", 'The body\'s "model" is no string.') from error
        raise InvalidRow("bad_body", f"The body is not as it should be: {error}.") from error


def _inputs(texts: object) -> int:
    """Texts to embed: a list of strings or of token lists counts each, all else is one."""
    if isinstance(texts, list):
        many = cast("list[object]", texts)
        return len(many) if many and isinstance(many[0], (str, list)) else 1
    return 1


def _expected_output(endpoint: str, asked: int, most: int, inputs: int) -> int:
    """In bytes."""
    if endpoint == "/v1/embeddings":
        return inputs * _EMBEDDING_BYTES
    if endpoint.startswith("/v1/images/"):
        return asked * _IMAGE_BYTES
    return _text_bytes(asked, most)


def _text_bytes(asked: int, most: int) -> int:
    tokens = min(most or _DEFAULT_TOKENS, _MOST_TOKENS)
    return _ENVELOPE_BYTES + (asked or 1) * tokens * _TOKEN_BYTES
