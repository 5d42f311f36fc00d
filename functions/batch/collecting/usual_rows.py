"""Finishes rows that were sent for the first time, by no recipe, and whose answer is a usual one.

Most rows of most shards are such. Of each only what its line needs is put together; what is summed
up is summed up for a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from functions.batch.learning import Learned
from functions.batch.model import Answered, Shard
from functions.batch.ports import Dialect
from functions.batch.pricing import Meter, plain_cost
from functions.batch.rows import KeptAnswer, UsualAnswer, Weight
from functions.batch.streams.envelope import Usual
from functions.batch.streams.lines import Fresh, unpack_fresh
from functions.batch.streams.spools import Pieces


class UsualRows:
    """Of one shard. What they come to is added to `meter`, `counts` and `lesson`."""

    def __init__(
        self, shard: Shard, dialect: Dialect, meter: Meter, counts: Answered, lesson: Learned
    ) -> None:
        self._dialect = dialect
        self._meter = meter
        self._counts = counts
        self._lesson = lesson
        self._prices = meter.plain
        self._lines = Usual(shard)

    def finish(
        self,
        keys: Sequence[bytes],
        rows: Sequence[bytes],
        answers: Sequence[KeptAnswer | None],
    ) -> list[Pieces | None]:
        """The finished line of each; None for any other row, which counts for nothing yet."""
        finished: list[Pieces | None] = []
        plain: list[tuple[Fresh, UsualAnswer]] = []
        for key, packed, answer in zip(keys, rows, answers, strict=True):
            found = unpack_fresh(packed) if isinstance(answer, UsualAnswer) else None
            if not isinstance(answer, UsualAnswer) or found is None:
                finished.append(None)
                continue
            fresh, begin = found
            if self._prices is None or answer.usage is not None:
                cost, listed = self._charge(fresh, answer)
            else:
                cost, listed = plain_cost(answer, self._prices)
                plain.append((fresh, answer))
            if fresh.id_length:
                begin += fresh.id_at
                custom_id = packed[begin : begin + fresh.id_length]
            else:
                custom_id = self._dialect.custom_id(packed[begin:])
            finished.append(self._lines.pieces(key, custom_id, answer, cost, listed))
        self._sum_up(plain)
        return finished

    def _charge(self, fresh: Fresh, answer: UsualAnswer) -> tuple[int | None, int | None]:
        """One whose price is not that of every other."""
        full = answer.in_full()
        if full.usage is not None:
            weight = Weight(
                rows=1,
                tokens=fresh.tokens,
                max_output=fresh.max_output,
                unbounded=fresh.unbounded,
            )
            self._lesson.note(weight, full.usage)
        self._counts.succeeded += 1
        return self._meter.charge(full)

    def _sum_up(self, taken: list[tuple[Fresh, UsualAnswer]]) -> None:
        if not taken:
            return
        given = sum([answer.given for _, answer in taken])
        made = sum([answer.made for _, answer in taken])
        self._meter.charge_plain(len(taken), given, made)
        self._counts.succeeded += len(taken)
        bounded = [answer.made for fresh, answer in taken if fresh.max_output]
        free = [pair for pair in taken if not pair[0].max_output and pair[0].unbounded]
        self._lesson.add(
            Learned(
                rows=len(taken),
                tokens=sum([fresh.tokens for fresh, _ in taken]),
                input_tokens=given,
                bounded=len(bounded),
                max_output=sum([fresh.max_output for fresh, _ in taken]),
                bounded_output=sum(bounded),
                unbounded=sum(fresh.unbounded for fresh, _ in free),
                unbounded_output=sum(answer.made for _, answer in free),
            )
        )
