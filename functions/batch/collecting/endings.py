"""Usual answers, as the endings of their rows' finished lines.

All of a line that stands behind the user's id is told by the answer. It is put together when the
answer comes, while that is in the processor's cache; the row, which comes later and in another
order, adds its key, its id and the text. That stands in the response as well, where it is found
again if both together would not fit memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from functions.batch.model import Shard
from functions.batch.pricing import Meter
from functions.batch.rows import Answer, ReadAnswers, Usage
from functions.batch.streams import envelope

_MOST_UNFOLDED = 112 * 1024 * 1024
"""Bytes of a shard's answers with their texts beside them, going by the first ones."""

_BEGIN = len(envelope.BEFORE_RESPONSE)


class Ending(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a usual answer says. `rest`: its line, from behind the text on. The text is `apart`, or
    it stands in there from `begin` to `end`. `response`: how many bytes it has; for `given`, `made`
    and `usage` see `UsualAnswer`."""

    rest: bytes
    begin: int
    end: int
    apart: bytes
    response: int
    given: int
    made: int
    usage: Usage | None

    def text(self) -> bytes:
        return self.apart or self.rest[self.begin : self.end]

    def in_full(self) -> Answer:
        return Answer(
            id="",
            verdict="succeeded",
            response=self.rest[_BEGIN : _BEGIN + self.response],
            text=self.text(),
            usage=self.usage or Usage(input_tokens=self.given, output_tokens=self.made),
        )


def folded(ending: Ending) -> Ending:
    """The same with its text in its place, if it has one."""
    text = ending.apart
    begin = ending.rest.find(text) if text else -1
    if begin < 0:
        return ending
    return msgspec.structs.replace(ending, begin=begin, end=begin + len(text), apart=b"")


KeptAnswer = bytes | Ending
"""The line of an answer, or what it says where it is a usual one."""


class Endings:
    """Of one shard's lines, with what `meter` says that an answer costs; nothing is charged."""

    def __init__(self, shard: Shard, meter: Meter) -> None:
        self._lines = envelope.Usual(shard, meter)
        self._rows = shard.rows
        self._folds: bool | None = None

    def of(self, answers: ReadAnswers) -> list[Ending]:
        """Of the usual ones."""
        rests, texts = self._lines.rests(answers), answers.texts
        if self._folds is None and rests:
            each = sum(map(len, (*rests, *texts))) // len(rests)
            self._folds = each * self._rows > _MOST_UNFOLDED
        apart = texts
        begins = ends = [0] * len(rests)
        if self._folds:
            begins = [*_places(rests, texts)]
            ends = [begin + len(text) for begin, text in zip(begins, texts, strict=True)]
            places = zip(begins, texts, strict=True)
            apart = [text if begin < 0 else b"" for begin, text in places]
        return [
            *map(
                Ending,
                rests,
                begins,
                ends,
                apart,
                map(len, answers.responses),
                answers.given,
                answers.made,
                answers.usages,
            )
        ]


def _places(rests: list[bytes], texts: Sequence[bytes]) -> Iterator[int]:
    """Where each text stands; -1: nowhere. Mostly where the one before it did."""
    place = 0
    for rest, text in zip(rests, texts, strict=True):
        if not rest.startswith(text, place):
            place = rest.find(text)
        yield place
