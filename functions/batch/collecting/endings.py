"""Usual answers, as the endings of their rows' finished lines.

All of a line that stands behind the user's id is told by the answer. It is put together when the
answer comes, while that is in the processor's cache; the row, which comes later and in another
order, adds its key and its id.
"""

from __future__ import annotations

import msgspec

from functions.batch.model import Shard
from functions.batch.pricing import Meter
from functions.batch.rows import Answer, ReadAnswers, Usage
from functions.batch.streams import envelope


class Ending(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a usual answer says. `text` and `response`: how many bytes of the line these are; for
    `given`, `made` and `usage` see `UsualAnswer`."""

    line: bytes
    text: int
    response: int
    given: int
    made: int
    usage: Usage | None

    def text_and_rest(self) -> tuple[bytes, bytes]:
        """Of the line: its text, and all behind that."""
        begin = len(envelope.BEFORE_TEXT)
        end = begin + self.text
        return self.line[begin:end], self.line[end:]

    def in_full(self) -> Answer:
        text, rest = self.text_and_rest()
        begin = len(envelope.BEFORE_RESPONSE)
        return Answer(
            id="",
            verdict="succeeded",
            response=rest[begin : begin + self.response],
            text=text,
            usage=self.usage or Usage(input_tokens=self.given, output_tokens=self.made),
        )


KeptAnswer = bytes | Ending
"""The line of an answer, or what it says where it is a usual one."""


class Endings:
    """Of one shard's lines, with what `meter` says that an answer costs; nothing is charged."""

    def __init__(self, shard: Shard, meter: Meter) -> None:
        self._lines = envelope.Usual(shard, meter)

    def of(self, answers: ReadAnswers) -> list[Ending]:
        """Of the usual ones."""
        return [
            *map(
                Ending,
                self._lines.endings(answers),
                map(len, answers.texts),
                map(len, answers.responses),
                answers.given,
                answers.made,
                answers.usages,
            )
        ]
