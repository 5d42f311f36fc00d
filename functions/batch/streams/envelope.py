"""A line of `results.jsonl`, but for its row number, which only the last step knows.

Lines are put together from bytes: what a provider answered is copied, not decoded.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from functions.batch.model import Reason, Shard
from functions.batch.money import Numbers, number
from functions.batch.pricing import Meter
from functions.batch.rows import Answer, ReadAnswers, RowError, Usage, UsualAnswer
from functions.batch.streams.lines import Transit

SUCCEEDED = b"s"
FAILED = b"f"
INVALID = b"i"
"""A tail's first byte, which never gets into the results: it says what to count the row as."""

_WORDS = {SUCCEEDED: b"succeeded", FAILED: b"failed", INVALID: b"invalid"}

_encode = msgspec.json.Encoder().encode
_USAGE = b'{"input_tokens":%d,"cached_input_tokens":%d,"cache_write_tokens":%d,"output_tokens":%d}'
_COST = b'"cost_usd":%b,"list_cost_usd":%b'
_METERED = b'"usage":%b,%b' % (_USAGE, _COST)
_PLAIN = _METERED.replace(b"%d", b"%b") % (b"%d", b"0", b"0", b"%d", b"%b", b"%b")
"""Without a cache."""

AFTER_KEY = b' %b"custom_id":' % SUCCEEDED
BEFORE_TEXT = b',"status":"succeeded","text":'
BEFORE_RESPONSE = b',"response":'


class Usual:
    """Lines of a shard's rows that succeeded, from behind the text on, with their newline: all else
    that the answer says of them."""

    def __init__(self, shard: Shard, meter: Meter) -> None:
        origin = _origin(shard.provider, shard.model, shard.batch_id, shard.round)
        opening = b'%b%%b,"error":null,' % BEFORE_RESPONSE
        closing = origin.replace(b"%", b"%%")
        self._form = b"%b%b,%b}\n" % (opening, closing, _METERED)
        self._plain_form = b"%b%b,%b}\n" % (opening, closing, _PLAIN)
        self._number = Numbers().__getitem__
        self._meter = meter
        self._plain = meter.plain

    def rests(self, answers: ReadAnswers) -> list[bytes]:
        """Of the usual ones."""
        price = self._plain
        if price is None or any(answers.usages):
            return [*map(self._rest, answers.usual())]
        tokens = [*zip(answers.given, answers.made, strict=True)]
        costs = _sums(tokens, price.input, price.output)
        listed = _sums(tokens, price.listed_input, price.listed_output)
        values = zip(
            answers.responses,
            answers.given,
            answers.made,
            map(self._number, costs),
            map(self._number, listed),
            strict=True,
        )
        form = self._plain_form
        return [form % each for each in values]

    def _rest(self, answer: UsualAnswer) -> bytes:
        _, response, _, given, made, several = answer
        usage = several or Usage(input_tokens=given, output_tokens=made)
        cost, listed = self._meter.costs(usage)
        return self._form % (
            response,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            number(cost),
            number(listed),
        )


def _sums(tokens: list[tuple[int, int]], for_input: int, for_output: int) -> list[int]:
    return [given * for_input + made * for_output for given, made in tokens]


def answered(answer: Answer, custom_id: bytes, shard: Shard, transit: Transit) -> bytes:
    """The tail of a row that a batch answered, for good."""
    status = SUCCEEDED if answer.verdict == "succeeded" else FAILED
    return _line(
        custom_id=custom_id,
        status=status,
        text=answer.text,
        response=answer.response,
        error=b"null" if answer.error is None else _encode(answer.error),
        origin=_origin(shard.provider, shard.model, shard.batch_id, shard.round),
        usage=_usage(answer.usage),
        cost=_cost(transit),
    )


def failed(error: RowError, custom_id: bytes, shard: Shard, transit: Transit) -> bytes:
    """The tail of a row that has no answer of its own and will get none."""
    return _line(
        custom_id=custom_id,
        status=FAILED,
        text=b"null",
        response=b"null",
        error=_encode(error),
        origin=_origin(shard.provider, shard.model, shard.batch_id, shard.round),
        usage=b"null",
        cost=_cost(transit),
    )


_NO_COST = _COST % (b"0", b"0")
_UNKNOWN_COST = _COST % (b"null", b"null")
_NO_ORIGIN = b'"provider":null,"model":null,"batch_id":null,"mode":null,"round":0'


def invalid(reason: Reason, custom_id: bytes) -> bytes:
    """The tail of a row that was never sent."""
    return _never_sent(INVALID, reason, custom_id, _NO_COST)


def unresolved(reason: Reason) -> bytes:
    """The tail of a row of which nothing came back, whatever was tried."""
    return _never_sent(FAILED, reason, b"null", _UNKNOWN_COST)


def _never_sent(status: bytes, reason: Reason, custom_id: bytes, cost: bytes) -> bytes:
    error = RowError(code=reason.code, message=reason.message, retryable=False)
    return _line(
        custom_id=custom_id,
        status=status,
        text=b"null",
        response=b"null",
        error=_encode(error),
        origin=_NO_ORIGIN,
        usage=b"null",
        cost=cost,
    )


@lru_cache(4)
def _origin(provider: str, model: str, batch_id: str | None, number: int) -> bytes:
    """The same for all rows of a shard."""
    return b'"provider":%b,"model":%b,"batch_id":%b,"mode":"batch","round":%d' % (
        _encode(provider),
        _encode(model),
        _encode(batch_id),
        number,
    )


def _cost(transit: Transit) -> bytes:
    return _COST % (number(transit.cost), number(transit.listed))


def _usage(usage: Usage | None) -> bytes:
    if usage is None:
        return b"null"
    return _USAGE % (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
    )


def _line(
    *,
    custom_id: bytes,
    status: bytes,
    text: bytes,
    response: bytes,
    error: bytes,
    origin: bytes,
    usage: bytes,
    cost: bytes,
) -> bytes:
    return (
        b'%b"custom_id":%b,"status":"%b","text":%b,"response":%b,"error":%b,%b,"usage":%b,%b}'
        % (status, custom_id, _WORDS[status], text, response, error, origin, usage, cost)
    )


class Told(msgspec.Struct):
    """What of a finished row is as true of another one with the same request."""

    status: str
    text: msgspec.Raw
    response: msgspec.Raw
    error: msgspec.Raw
    provider: msgspec.Raw
    model: msgspec.Raw
    batch_id: msgspec.Raw
    mode: msgspec.Raw
    round: int
    cost_usd: msgspec.Raw


_told = msgspec.json.Decoder(Told).decode
_MARKS = {"succeeded": SUCCEEDED, "failed": FAILED}


def told(line: bytes) -> Told:
    """Of a line of results. Raises `msgspec.DecodeError`."""
    return _told(line)


def told_by_tail(tail: bytes) -> Told:
    return _told(b"{" + tail[1:])


def cached(told: Told, custom_id: bytes, *, sent_in: int) -> bytes:
    """The tail of a row that was not sent, because another one had the same request: what became
    of that, at no cost. Marked `cached` if it is an answer. `sent_in`: the round that sent the
    other one, 0 for one of another job."""
    return (
        b'%b"custom_id":%b,"status":"%b","text":%b,"response":%b,"error":%b,"provider":%b,'
        b'"model":%b,"batch_id":%b,"mode":%b,"round":%d,"usage":null,%b%b}'
        % (
            _MARKS[told.status],
            custom_id,
            told.status.encode(),
            bytes(told.text),
            bytes(told.response),
            bytes(told.error),
            bytes(told.provider),
            bytes(told.model),
            bytes(told.batch_id),
            bytes(told.mode),
            sent_in,
            _NO_COST,
            b',"cached":true' if told.status == "succeeded" else b"",
        )
    )


def numbered(row: int, tail: bytes) -> bytes:
    return b'{"row":%d,%b\n' % (row, tail[1:])
