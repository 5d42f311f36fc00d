"""Gemini requests for Vertex AI: `{"request", "model", "custom_id" or "key"}`, and their answers.

Only the request is sent. Our id travels twice: as `key`, which is documented for embeddings alone,
and for generation also as a label of the request, which every answer repeats with its request.
Limits: 200,000 requests (embeddings: 1,000,000) and 1 GB a file
(https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-cloud-storage).
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from functions.batch.errors import InvalidRow
from functions.batch.rows import Answer, Cut, Group, Limits, ParsedRow, ReadAnswers, Weight
from functions.providers.content import positive, raw_json
from functions.providers.fields import (
    MOST_MODEL,
    check_model,
    check_nul,
    custom_id_or_key,
    decode_fields,
    replaced,
    string,
)
from functions.providers.places import FREE, ID, TEXT, Place, cut_at
from functions.providers.vertex import answers, importing
from functions.providers.vertex.importing import Importable, join
from functions.providers.vertex.shapes import EMBED_REQUEST, GENERATE_REQUEST
from functions.providers.vertex.tokens import plain_tokens, request_tokens

PROVIDER = "vertex"
GENERATE = "generateContent"
EMBED = "embedContent"

# Vertex takes 1 GB. Half of it is ours: a file is written, uploaded and read again by functions
# that have 15 minutes, and every answer repeats its request.
_BYTES = 500_000_000
_OUTPUT = 2_000_000_000
_GENERATE_LIMITS = Limits(rows=200_000, bytes=_BYTES, inputs=200_000, output=_OUTPUT)
_EMBED_LIMITS = Limits(rows=1_000_000, bytes=_BYTES, inputs=1_000_000, output=_OUTPUT)

_ID_ROOM = 200
"""Bytes that our id and its keys may add to a line."""

_MOST_LABELS = 64

_TOKEN_BYTES = 6
_DEFAULT_TOKENS = 1_024
_MOST_TOKENS = 4_096
_ENVELOPE_BYTES = 1_500
_NUMBER_BYTES = 23
_DIMENSIONS = 3_072

_OLD_EMBEDDING = re.compile(r"(?:.*/)?(?:text-(?:multilingual-)?embedding-|textembedding-gecko)")


class _SnakeGeneration(msgspec.Struct):
    max_output_tokens: object = None
    candidate_count: object = None
    response_schema: msgspec.Raw = msgspec.Raw()
    response_json_schema: msgspec.Raw = msgspec.Raw()


class _Generation(msgspec.Struct, rename="camel"):
    """Written out again: a subclass would not rename what it inherits."""

    max_output_tokens: object = None
    candidate_count: object = None
    response_schema: msgspec.Raw = msgspec.Raw()
    response_json_schema: msgspec.Raw = msgspec.Raw()


class _UsualRow(msgspec.Struct, gc=False):
    model: str
    request: msgspec.Raw
    body: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()


_PART = {
    "text": TEXT,
    "fileData": Place(fields={"fileUri": FREE}),
    "file_data": Place(fields={"file_uri": FREE}),
}
_TURN = Place(fields={"parts": Place(items=Place(fields=_PART))})
_REQUEST = {
    "contents": Place(items=_TURN, fields=_TURN.fields),
    "content": _TURN,
    "systemInstruction": _TURN,
    "system_instruction": _TURN,
    "labels": Place(each=FREE),
}
_STRINGS = Place(fields={"custom_id": ID, "key": FREE, "request": Place(fields=_REQUEST)})
_STRINGS_BY_KEY = Place(fields={"key": ID, "request": Place(fields=_REQUEST)})

_usual_row = msgspec.json.Decoder(_UsualRow)

_generation = {
    "generationConfig": msgspec.json.Decoder(_Generation, float_hook=float),
    "generation_config": msgspec.json.Decoder(_SnakeGeneration, float_hook=float),
}


class VertexDialect:
    provider = PROVIDER
    framing: tuple[bytes, bytes, bytes] = (b"", b"\n", b"\n")
    id_mark = b'"%b"' % answers.LABEL.encode()
    creates_per_hour: int | None = None

    def claims(self, fields: dict[str, msgspec.Raw]) -> bool:
        """A text under `request` is a column of a data row, not a Gemini request."""
        return bytes(fields.get("request", b""))[:1] == b"{"

    def parse(self, line: bytes, fields: dict[str, msgspec.Raw]) -> ParsedRow:
        check_nul(line)
        model = string(fields, "model")
        if not model:
            raise InvalidRow(
                "no_model",
                'The line has no "model" beside its "request": say which one is to answer.',
            )
        check_model(model)
        if _OLD_EMBEDDING.match(model):
            raise InvalidRow(
                "unsupported_model",
                f"{model} takes rows of an older form: use gemini-embedding-001.",
            )
        request = decode_fields(fields["request"])
        endpoint = _endpoint(request)
        importable = _importable(request, endpoint)
        size = len(fields["request"]) + _ID_ROOM
        config = _config(importable.sent)
        asked = 0 if endpoint == EMBED else positive(config.candidate_count) or 1
        most = positive(config.max_output_tokens)
        schema = config.response_schema or config.response_json_schema
        given = request_tokens(importable, model) + raw_json(schema)
        weight = Weight(
            rows=1,
            bytes=size,
            output=size + _ENVELOPE_BYTES + _expected_bytes(asked, most),
            tokens=round(given),
            max_output=asked * most,
            unbounded=0 if most else asked,
        )
        return ParsedRow(Group(PROVIDER, endpoint, model, importable.variant), weight, given)

    def parse_usual(self, line: bytes) -> ParsedRow | None:
        """Text alone, without tools or labels."""
        try:
            row = _usual_row.decode(line)
            usual = importing.usual(row.request)
        except (msgspec.MsgspecError, RecursionError):
            return None
        model = row.model
        if usual is None or row.body or row.params or not model or _OLD_EMBEDDING.match(model):
            return None
        if b"\\u0000" in line or len(model) > MOST_MODEL:
            return None
        config = _remembered_config(bytes(usual.generation))
        if config is None:
            return None
        size = len(row.request) + _ID_ROOM
        asked = positive(config.candidate_count) or 1
        most = positive(config.max_output_tokens)
        given = plain_tokens(usual.plain)
        weight = Weight(
            rows=1,
            bytes=size,
            output=size + _ENVELOPE_BYTES + _expected_bytes(asked, most),
            tokens=round(given),
            max_output=asked * most,
            unbounded=0 if most else asked,
        )
        return ParsedRow(Group(PROVIDER, GENERATE, model), weight, given)

    def cut(self, line: bytes) -> Cut | None:
        custom_id = bytes(decode_fields(line).get("custom_id", b""))
        if custom_id in (b"", b"null"):
            return cut_at(_STRINGS_BY_KEY, line, alone=True)
        return cut_at(_STRINGS, line, alone=True) if custom_id.startswith(b'"') else None

    def weigh(self, line: bytes) -> Weight:
        return self.parse(line, decode_fields(line)).weight

    def limits(self, group: Group) -> Limits:
        return _EMBED_LIMITS if group.endpoint == EMBED else _GENERATE_LIMITS

    def request(self, line: bytes, row_id: str) -> bytes:
        request = decode_fields(decode_fields(line)["request"])
        endpoint = _endpoint(request)
        sent = _importable(request, endpoint).sent
        if endpoint == GENERATE:
            sent["labels"] = _labels(sent, row_id)
        return b'{"key":"%b","request":%b}' % (row_id.encode(), join(sent))

    def custom_id(self, line: bytes) -> bytes:
        return custom_id_or_key(line)

    def with_model(self, line: bytes, model: str) -> bytes:
        return replaced(line, model, "model")

    def answer(self, line: bytes, group: Group) -> Answer:
        return answers.parse(line, embeds=group.endpoint == EMBED)

    def read_answers(self, block: bytes, group: Group) -> ReadAnswers:
        return answers.usual(block, embeds=group.endpoint == EMBED)


def _endpoint(request: dict[str, msgspec.Raw]) -> str:
    """Embedding requests have one `content`, generating ones have `contents`."""
    if "contents" in request:
        if bytes(request["contents"]) in (b"null", b"[]"):
            raise InvalidRow("bad_body", 'The request\'s "contents" are empty.')
        return GENERATE
    content = bytes(request.get("content", b""))
    if not content:
        raise InvalidRow(
            "bad_body", 'The request has neither "contents" nor, for an embedding, "content".'
        )
    if content[:1] != b"{":
        raise InvalidRow(
            "bad_body", 'The request\'s "content" is not of the form {"parts": [{"text": "…"}]}.'
        )
    return EMBED


def _importable(request: dict[str, msgspec.Raw], endpoint: str) -> Importable:
    if endpoint == EMBED:
        return importing.importable(request, EMBED_REQUEST)
    found = importing.importable(request, GENERATE_REQUEST)
    if "labels" in found.sent:
        _labels(found.sent, "")
    return found


def _labels(sent: dict[str, bytes], row_id: str) -> bytes:
    """The request's own labels and ours, which is its id."""
    data = sent.get("labels", b"null")
    if data[:1] not in (b"{", b"n"):
        raise InvalidRow("bad_body", 'The request\'s "labels" are no object.')
    labels: dict[str, bytes] = dict(decode_fields(data)) if data[:1] == b"{" else {}
    labels[answers.LABEL] = msgspec.json.encode(row_id)
    if len(labels) > _MOST_LABELS:
        raise InvalidRow(
            "bad_body", f"The request has more than {_MOST_LABELS - 1} labels; one is ours."
        )
    return join(labels)


def _config(sent: dict[str, bytes]) -> _Generation | _SnakeGeneration:
    """Nothing for what Vertex will refuse."""
    for name, decoder in _generation.items():
        if name in sent:
            try:
                return decoder.decode(sent[name])
            except msgspec.MsgspecError:
                break
    return _Generation()


@lru_cache(256)
def _remembered_config(data: bytes) -> _Generation | _SnakeGeneration | None:
    """The configuration of a request that needs no look at its own: none has a schema, or differs
    from the usual types."""
    if not data:
        return _Generation()
    try:
        found = _importable({"generationConfig": msgspec.Raw(data)}, GENERATE)
    except InvalidRow:
        return None
    config = _config(found.sent)
    if found.variant or config.response_schema or config.response_json_schema:
        return None
    return config


def _expected_bytes(asked: int, most: int) -> int:
    """Of an answer, without its request. An embedding asks for no tokens."""
    if not asked:
        return _DIMENSIONS * _NUMBER_BYTES
    return asked * min(most or _DEFAULT_TOKENS, _MOST_TOKENS) * _TOKEN_BYTES
