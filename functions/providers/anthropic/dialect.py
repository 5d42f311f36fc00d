"""Anthropic batch requests: `{"custom_id", "params"}`, and their answers.

Limits: 100,000 requests or 256 MB a batch
(https://platform.claude.com/docs/en/build-with-claude/batch-processing). Anthropic looks at
`params` only after the wait, so what it is documented to refuse is refused here, and no more.
"""

from __future__ import annotations

import re
from typing import cast

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.rows import Answer, Cut, Group, Limits, ParsedRow, ReadAnswers, Weight
from functions.providers.anthropic import answers
from functions.providers.anthropic.tokens import (
    Message,
    input_tokens,
)
from functions.providers.content import MOST_COUNT
from functions.providers.fields import (
    ID_ROOM,
    MOST_MODEL,
    check_model,
    custom_id,
    decode_fields,
    replaced,
)
from functions.providers.places import FREE, ID, TEXT, Place, cut_at

PROVIDER = "anthropic"
ENDPOINT = "/v1/messages"

API_VERSION = "2026-10-21"
"""The SDK's. Since this version sampling parameters, documents in an assistant's turn and citations
in a user's are refused: https://platform.claude.com/docs/en/api/migration-2026-10-21"""

LIMITS = Limits(rows=100_000, bytes=150_000_000, inputs=100_000, output=2_000_000_000)
"""Bytes below the API's 256 MB: a shard lies on a function's disk whole and goes out in one call
that cannot be resumed, so its size is what a broken connection costs."""

_SOURCE = Place(fields={"source": Place(fields={"url": FREE, "file_id": FREE})})
_BLOCK = {"text": Place(fields={"text": TEXT}), "image": _SOURCE, "document": _SOURCE}
_CONTENT = Place(string="text", items=Place(types=_BLOCK))
_PARAMS = {
    "system": _CONTENT,
    "messages": Place(items=Place(fields={"content": _CONTENT})),
    "metadata": Place(fields={"user_id": FREE}),
}
_STRINGS = Place(fields={"custom_id": ID, "params": Place(fields=_PARAMS)})

_NONE = msgspec.Raw()
_CACHED = b'"cache_control"'
_CACHED_KEY = re.compile(_CACHED + rb"\s*:")
_SAMPLING = ("temperature", "top_p", "top_k")
_MOST_BETAS = 20
_BETA = re.compile(r"[A-Za-z0-9._-]+")

_TOKEN_BYTES = 6
_MOST_TOKENS = 4_096
_LONG_SHARE = 8  # of a very high max_tokens an eighth is expected to be used
_ENVELOPE_BYTES = 1_500


class _Params(msgspec.Struct):
    model: object = None
    max_tokens: object = None
    messages: msgspec.Raw = msgspec.Raw(b"null")
    stream: object = None
    speed: object = None
    betas: object = None
    temperature: object = msgspec.UNSET
    top_p: object = msgspec.UNSET
    top_k: object = msgspec.UNSET
    system: object = None
    tools: msgspec.Raw = msgspec.Raw()
    output_format: msgspec.Raw = msgspec.Raw()
    output_config: msgspec.Raw = msgspec.Raw()


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Params of which nothing has to be looked at twice."""

    model: str
    max_tokens: int
    messages: list[Message]
    system: object = None
    stop_sequences: object = None
    metadata: object = None


class _UsualRow(msgspec.Struct, gc=False):
    custom_id: msgspec.Raw
    params: _Usual
    body: msgspec.Raw = msgspec.Raw()


class _Block(msgspec.Struct):
    type: object = None
    citations: object = None


# Numbers may be larger than a double: they are the provider's to refuse.
_usual_row = msgspec.json.Decoder(_UsualRow, float_hook=float)
_params = msgspec.json.Decoder(_Params, float_hook=float)
_messages = msgspec.json.Decoder(list[Message], float_hook=float)


class AnthropicDialect:
    """Betas are named in a header, one for the whole batch. A row names its own in `params.betas`,
    where the SDK's types have them: rows with other betas make up another batch (the group's
    variant), and the key itself, which no body may hold, is not sent."""

    provider = PROVIDER
    framing: tuple[bytes, bytes, bytes] = (b'{"requests":[', b",\n", b"]}")
    id_mark = b'"custom_id"'
    creates_per_hour: int | None = None

    def claims(self, fields: dict[str, msgspec.Raw]) -> bool:
        params = fields.get("params")
        return params is not None and ("custom_id" in fields or bytes(params).startswith(b"{"))

    def parse(self, line: bytes, fields: dict[str, msgspec.Raw]) -> ParsedRow:
        params = _decode(fields["params"])
        if not isinstance(params.model, str) or not params.model:
            raise InvalidRow("no_model", 'The params have no "model": say which one is to answer.')
        check_model(params.model)
        tokens = _tokens(params.max_tokens)
        _check_parameters(params)
        messages = _checked_messages(bytes(params.messages))
        group = Group(PROVIDER, ENDPOINT, params.model, ",".join(_betas(params.betas)))
        schema = params.output_config or params.output_format
        given = input_tokens(messages, params.system, params.tools, schema)
        weight = Weight(
            rows=1,
            bytes=len(line) + ID_ROOM,
            output=_expected_output(tokens),
            tokens=round(given),
            max_output=tokens,
            marked=_marked(line),
        )
        return ParsedRow(group, weight, given)

    def parse_usual(self, line: bytes) -> ParsedRow | None:
        """Text alone, without tools, sampling parameters or betas."""
        try:
            row = _usual_row.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return None
        params = row.params
        messages = params.messages
        tokens = min(params.max_tokens, MOST_COUNT)
        if row.body or not params.model or tokens < 1 or not messages:
            return None
        if len(params.model) > MOST_MODEL:
            return None
        for message in messages:
            if type(message.content) is not str:
                return None
        given = input_tokens(messages, params.system, _NONE, _NONE)
        weight = Weight(
            rows=1,
            bytes=len(line) + ID_ROOM,
            output=_expected_output(tokens),
            tokens=round(given),
            max_output=tokens,
            marked=_marked(line),
        )
        return ParsedRow(Group(PROVIDER, ENDPOINT, params.model), weight, given)

    def cut(self, line: bytes) -> Cut | None:
        return cut_at(_STRINGS, line)

    def weigh(self, line: bytes) -> Weight:
        return self.parse(line, decode_fields(line)).weight

    def limits(self, group: Group) -> Limits:
        return LIMITS

    def request(self, line: bytes, row_id: str) -> bytes:
        """Only the two keys that a request has: a third would have the whole batch refused."""
        params = bytes(decode_fields(line)["params"])
        if b'"betas"' in params or b"\\u" in params:  # which may spell it as well
            params = _without_betas(params)
        return b'{"custom_id":"%b","params":%b}' % (row_id.encode(), params)

    def custom_id(self, line: bytes) -> bytes:
        return custom_id(line)

    def with_model(self, line: bytes, model: str) -> bytes:
        return replaced(line, model, "params", "model")

    def answer(self, line: bytes, group: Group) -> Answer:
        return answers.parse(line)

    def read_answers(self, block: bytes, group: Group) -> ReadAnswers:
        return answers.usual(block)


def _decode(raw: msgspec.Raw) -> _Params:
    try:
        return _params.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidRow("bad_body", f"The params are not as they should be: {error}.") from error


def _tokens(asked: object) -> int:
    if isinstance(asked, int) and not isinstance(asked, bool) and asked >= 1:
        return min(asked, MOST_COUNT)
    if asked is None:
        raise InvalidRow(
            "bad_max_tokens", 'The params have no "max_tokens": say how long an answer may get.'
        )
    raise InvalidRow(
        "bad_max_tokens",
        f'"max_tokens" is {asked!r}; in a batch it has to be a whole number of at least 1.',
    )


def _check_parameters(params: _Params) -> None:
    if params.stream:
        raise InvalidRow("stream", 'A batch cannot stream: take "stream" out of the params.')
    if params.speed is not None:
        raise InvalidRow("speed", 'A batch has no fast mode: take "speed" out of the params.')
    sampling = [name for name in _SAMPLING if getattr(params, name) is not msgspec.UNSET]
    if sampling:
        raise InvalidRow(
            "sampling_parameter",
            f"Anthropic takes no {', '.join(sampling)} since its API version {API_VERSION}, at "
            "the default value neither: take it out of the params.",
        )


def _checked_messages(raw: bytes) -> list[Message]:
    if raw in (b"null", b"[]"):
        raise InvalidRow("no_messages", 'The params have no "messages": there has to be one.')
    try:
        messages = _messages.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidRow(
            "bad_body",
            f'"messages" has to be a list of objects with "role" and "content": {error}.',
        ) from error
    if not messages:
        raise InvalidRow("no_messages", 'The params have no "messages": there has to be one.')
    for message in messages:
        if type(message.content) is not str:
            _check_blocks(message)
    return messages


def _check_blocks(message: Message) -> None:
    try:
        blocks = msgspec.convert(message.content, list[_Block])
    except msgspec.ValidationError:
        return
    for block in blocks:
        if message.role == "assistant" and block.type == "document":
            raise InvalidRow(
                "misplaced_block",
                "Anthropic takes no document in an assistant's message since its API version "
                f"{API_VERSION}: put it into a user's.",
            )
        if message.role == "user" and block.type == "text" and block.citations:
            raise InvalidRow(
                "misplaced_block",
                "Anthropic takes no citations on the text of a user's message since its API "
                f"version {API_VERSION}: take them out.",
            )


def _betas(named: object) -> list[str]:
    if named is None:
        return []
    if isinstance(named, list):
        names = cast("list[object]", named)
        betas = [name for name in names if isinstance(name, str) and _BETA.fullmatch(name)]
        if len(betas) == len(names) <= _MOST_BETAS and all(len(each) < 100 for each in betas):
            return sorted(set(betas))
    raise InvalidRow(
        "bad_betas",
        f'"betas" has to be a list of up to {_MOST_BETAS} names like "output-300k-2026-03-24".',
    )


def _without_betas(params: bytes) -> bytes:
    fields = decode_fields(params)
    if fields.pop("betas", None) is None:
        return params
    rest = b",".join(b"%b:%b" % (msgspec.json.encode(key), value) for key, value in fields.items())
    return b"{%b}" % rest


def _marked(line: bytes) -> int:
    """Whether it asks for a prompt cache: with a key, not with a text that says the same."""
    return int(_CACHED in line and _CACHED_KEY.search(line) is not None)


def _expected_output(tokens: int) -> int:
    expected = max(min(tokens, _MOST_TOKENS), tokens // _LONG_SHARE)
    return _ENVELOPE_BYTES + expected * _TOKEN_BYTES
