"""Usual answers, as the endings of their rows' finished lines.

All of a line that stands behind the user's id is told by the answer. It is put together when the
answer comes, while that is in the processor's cache; the row, which comes later and in another
order, adds its key and its id. The text stands in the response as well: where both together would
not fit memory, it is copied from there when the row comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

import msgspec

from functions.batch.model import Shard
from functions.batch.pricing import Meter, Priced
from functions.batch.rows import Answer, ReadAnswers, Usage
from functions.batch.streams import envelope

_MOST_UNFOLDED = 112 * 1024 * 1024
"""Bytes of a shard's answers with their texts beside them, going by the first ones."""

_BESIDE = 400
"""Bytes of a line, about, beside the text and the response."""

_TEXT = len(envelope.BEFORE_TEXT)
_RESPONSE = len(envelope.BEFORE_RESPONSE)


class Ending(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a usual answer says. `rest`: its line from behind the user's id on, or, if it is not
    `whole`, from behind the text on. The text stands in there from `begin` to `end`. `response`:
    how many bytes it has. `given` and `made`: tokens of input and output; `priced`, where these do
    not tell what it costs."""

    rest: bytes
    whole: bool
    begin: int
    end: int
    response: int
    given: int
    made: int
    priced: Priced | None

    def in_full(self) -> Answer:
        at = _RESPONSE + (self.end if self.whole else 0)
        return Answer(
            id="",
            verdict="succeeded",
            response=self.rest[at : at + self.response],
            text=self.rest[self.begin : self.end],
            usage=self.priced.usage
            if self.priced
            else Usage(input_tokens=self.given, output_tokens=self.made),
        )


def folded(ending: Ending) -> Ending:
    """The same with its text in the response alone, if it stands there."""
    text = ending.rest[ending.begin : ending.end]
    rest = ending.rest[ending.end :]
    begin = rest.find(text) if ending.whole else -1
    if begin < 0:
        return ending
    end = begin + len(text)
    return msgspec.structs.replace(ending, rest=rest, whole=False, begin=begin, end=end)


KeptAnswer = bytes | Ending
"""The line of an answer, or what it says where it is a usual one."""


class Endings:
    """Of one shard's lines, with what `meter` says that an answer costs; nothing is charged."""

    def __init__(self, shard: Shard, meter: Meter) -> None:
        self._meter = meter
        self._lines = envelope.Usual(shard, meter.plain)
        self._rows = shard.rows
        self._folds: bool | None = None

    def of(self, answers: ReadAnswers) -> list[Ending]:
        """Of the usual ones."""
        if self._folds is None and answers.texts:
            each = sum(map(len, (*answers.responses, *answers.texts))) // len(answers.texts)
            self._folds = (each + _BESIDE) * self._rows > _MOST_UNFOLDED
        return self._folded(answers) if self._folds else self._whole(answers)

    def _whole(self, answers: ReadAnswers) -> list[Ending]:
        priced = self._priced(answers)
        rests = self._lines.behind_ids(answers, priced)
        ends = [_TEXT + len(text) for text in answers.texts]
        return _endings(answers, rests, repeat(True), repeat(_TEXT), ends, priced)

    def _folded(self, answers: ReadAnswers) -> list[Ending]:
        """But for texts that stand otherwise in their responses, or not at all."""
        priced, texts = self._priced(answers), answers.texts
        rests = self._lines.behind_texts(answers, priced)
        begins = [*_places(rests, texts)]
        whole = [begin < 0 for begin in begins]
        if any(whole):
            rests = [
                envelope.BEFORE_TEXT + text + rest if apart else rest
                for rest, text, apart in zip(rests, texts, whole, strict=True)
            ]
            begins = [_TEXT if begin < 0 else begin for begin in begins]
        ends = [begin + len(text) for begin, text in zip(begins, texts, strict=True)]
        return _endings(answers, rests, whole, begins, ends, priced)

    def _priced(self, answers: ReadAnswers) -> list[Priced | None]:
        """Those that do not cost what plain ones do."""
        plain = self._meter.plain
        most = -1 if plain is None else plain.most
        largest = max(*answers.given, *answers.made, 0, 0)
        if not any(answers.usages) and largest <= most:
            return [None] * len(answers.given)
        return [
            None
            if usage is None and max(given, made) <= most
            else self._meter.priced(usage or Usage(input_tokens=given, output_tokens=made))
            for given, made, usage in zip(answers.given, answers.made, answers.usages, strict=True)
        ]


def _endings(
    answers: ReadAnswers,
    rests: list[bytes],
    whole: Iterable[bool],
    begins: Iterable[int],
    ends: Iterable[int],
    priced: list[Priced | None],
) -> list[Ending]:
    sizes = map(len, answers.responses)
    columns = (rests, whole, begins, ends, sizes, answers.given, answers.made, priced)
    return [*map(Ending, *columns)]


def _places(rests: list[bytes], texts: Sequence[bytes]) -> Iterator[int]:
    """Where each text stands; -1: nowhere. Mostly where the one before it did."""
    place = 0
    for rest, text in zip(rests, texts, strict=True):
        if not rest.startswith(text, place):
            place = rest.find(text)
        yield place
