"""A line of `results.jsonl`, but for its row number, which only the last step knows.

Lines are put together from bytes: what a provider answered is copied, not decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from functions.batch.model import Reason, Shard
from functions.batch.money import number
from functions.batch.pricing import PlainPrice, Priced
from functions.batch.rows import Answer, ReadAnswers, RowError, Usage
from functions.batch.streams.lines import Transit

SUCCEEDED = b"s"
FAILED = b"f"
INVALID = b"i"
"""A tail's first byte, which never gets into the results: it says what to count the row as."""

_WORDS = {SUCCEEDED: b"succeeded", FAILED: b"failed", INVALID: b"invalid"}

_encode = msgspec.json.Encoder().encode
_USAGE = b'{"input_tokens":%d,"cached_input_tokens":%d,"cache_write_tokens":%d,"output_tokens":%d}'
_COST = b'"cost_usd":%b,"list_cost_usd":%b'
_NO_CACHE = _USAGE.replace(b"%d", b"%b") % (b"%d", b"0", b"0", b"%d")

_MOST_COSTS = 16_384

AFTER_KEY = b' %b"custom_id":' % SUCCEEDED
BEFORE_TEXT = b',"status":"succeeded","text":'
BEFORE_RESPONSE = b',"response":'


class Costs(dict[int, bytes]):
    """What plain answers of a cost say of it. Of the costs of many answers few differ, since the
    prices that they are sums of have common factors."""

    def __init__(self, price: PlainPrice) -> None:
        super().__init__()
        self._price = price

    def __missing__(self, cost: int) -> bytes:
        if len(self) >= _MOST_COSTS:
            self.clear()
        self[cost] = said = _COST % (number(cost), number(self._price.listed(cost)))
        return said

    def of_all(self, given: Iterable[int], made: Iterable[int]) -> list[bytes]:
        """Of answers with so many tokens."""
        for_input, for_output = self._price.input, self._price.output
        tokens = zip(given, made, strict=True)
        return [self[into * for_input + out * for_output] for into, out in tokens]


class Usual:
    """What their answers say of a shard's rows that succeeded, with the newline of their lines.
    `priced`: of each answer, unless it costs what `plain` says."""

    def __init__(self, shard: Shard, plain: PlainPrice | None) -> None:
        origin = _origin(shard.provider, shard.model, shard.batch_id, shard.round)
        self._form = b'%b%%b,"error":null,%b,"usage":' % (
            BEFORE_RESPONSE,
            origin.replace(b"%", b"%%"),
        )
        self._costs = None if plain is None else Costs(plain)

    def behind_ids(self, answers: ReadAnswers, priced: Sequence[Priced | None]) -> list[bytes]:
        """From behind the user's id on."""
        form = b"%b%%b%b" % (BEFORE_TEXT, self._form)
        return self._rests(form, [answers.texts, answers.responses], answers, priced)

    def behind_texts(self, answers: ReadAnswers, priced: Sequence[Priced | None]) -> list[bytes]:
        """From behind the text on."""
        return self._rests(self._form, [answers.responses], answers, priced)

    def _rests(
        self,
        form: bytes,
        said: list[Sequence[bytes]],
        answers: ReadAnswers,
        priced: Sequence[Priced | None],
    ) -> list[bytes]:
        given, made = answers.given, answers.made
        if any(priced) or self._costs is None:
            metered = map(self._metered, given, made, priced)
            form += b"%b}\n"
            return [form % each for each in zip(*said, metered, strict=True)]
        form += b"%b,%%b}\n" % _NO_CACHE
        costs = self._costs.of_all(given, made)
        return [form % each for each in zip(*said, given, made, costs, strict=True)]

    def _metered(self, given: int, made: int, priced: Priced | None) -> bytes:
        if priced is not None:
            cost = _COST % (number(priced.actual), number(priced.listed))
            return b"%b,%b" % (_usage(priced.usage), cost)
        assert self._costs is not None
        (cost,) = self._costs.of_all([given], [made])
        return b"%b,%b" % (_NO_CACHE % (given, made), cost)


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
