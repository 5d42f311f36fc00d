"""OpenAI batch lines: `{"custom_id", "method", "url", "body"}`, and their answers.

Limits: 50,000 requests and 200 MB a file, embeddings 50,000 inputs a batch, one model a file
(https://developers.openai.com/api/docs/guides/batch). MB is read as 10^6 bytes, the stricter way.
"""

from __future__ import annotations

from typing import cast

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.model import Answer, Group, Limits, ParsedRow, Weight
from functions.providers.fields import ID_ROOM, check_nul, decode_fields, replaced, string, with_id
from functions.providers.openai import answers

PROVIDER = "openai"

ENDPOINTS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)

LIMITS = Limits(rows=50_000, bytes=200_000_000, inputs=50_000, output=2_000_000_000)

_TOKEN_BYTES = 6
_DEFAULT_TOKENS = 1_024
_MOST_TOKENS = 4_096
_ENVELOPE_BYTES = 1_500
_EMBEDDING_BYTES = 68_000  # 3,072 numbers of 22 characters
_IMAGE_BYTES = 3_000_000  # base64 of a 1,024 x 1,024 PNG


class _Body(msgspec.Struct):
    model: str | None = None
    stream: object = None
    n: object = None
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None


class _EmbeddingBody(_Body):
    input: object = None


_body = msgspec.json.Decoder(_Body)
_embedding_body = msgspec.json.Decoder(_EmbeddingBody)


class OpenAIDialect:
    provider = PROVIDER
    framing: tuple[bytes, bytes, bytes] = (b"", b"\n", b"\n")

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
        body = self._body(fields["body"], endpoint)
        if not body.model:
            raise InvalidRow("no_model", 'The body has no "model": say which one is to answer.')
        if body.stream:
            raise InvalidRow("stream", 'A batch cannot stream: take "stream" out of the body.')
        inputs = _inputs(body)
        if inputs > LIMITS.inputs:
            raise InvalidRow(
                "too_many_inputs",
                f"{inputs} inputs in one row; a batch takes {LIMITS.inputs}.",
            )
        weight = Weight(
            rows=1,
            bytes=len(line) + ID_ROOM,
            inputs=inputs,
            output=_expected_output(endpoint, body, inputs),
        )
        return ParsedRow(Group(PROVIDER, endpoint, body.model), weight)

    def weigh(self, line: bytes) -> Weight:
        return self.parse(line, decode_fields(line)).weight

    def _body(self, raw: msgspec.Raw, endpoint: str) -> _Body:
        decoder = _embedding_body if endpoint == "/v1/embeddings" else _body
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            if str(error).endswith("`$.model`"):
                raise InvalidRow("no_model", 'The body\'s "model" is no string.') from error
            raise InvalidRow("bad_body", f"The body is not as it should be: {error}.") from error

    def limits(self, group: Group) -> Limits:
        return LIMITS

    def request(self, line: bytes, row_id: str) -> bytes:
        return with_id(line, "custom_id", row_id)

    def custom_id(self, line: bytes) -> bytes:
        return bytes(decode_fields(line).get("custom_id", b"null"))

    def with_model(self, line: bytes, model: str) -> bytes:
        return replaced(line, model, "body", "model")

    def answer(self, line: bytes, group: Group) -> Answer:
        return answers.parse(line, group.endpoint)


def _inputs(body: _Body) -> int:
    """Texts to embed: a list of strings or of token lists counts each, all else is one."""
    if not isinstance(body, _EmbeddingBody):
        return 0
    texts = body.input
    if isinstance(texts, list):
        many = cast("list[object]", texts)
        return len(many) if many and isinstance(many[0], (str, list)) else 1
    return 1


def _expected_output(endpoint: str, body: _Body, inputs: int) -> int:
    choices = body.n if isinstance(body.n, int) and body.n > 0 else 1
    if endpoint == "/v1/embeddings":
        return inputs * _EMBEDDING_BYTES
    if endpoint.startswith("/v1/images/"):
        return choices * _IMAGE_BYTES
    asked = body.max_completion_tokens or body.max_output_tokens or body.max_tokens
    tokens = asked if isinstance(asked, int) and asked > 0 else _DEFAULT_TOKENS
    return _ENVELOPE_BYTES + choices * min(tokens, _MOST_TOKENS) * _TOKEN_BYTES
