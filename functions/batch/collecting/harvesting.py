"""Sorts the rows of a shard into finished ones and those that go again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec

from functions.batch import layout
from functions.batch.collecting.addressing import Addressing
from functions.batch.collecting.endings import Ending, Endings, KeptAnswer
from functions.batch.collecting.shard_rows import ShardRows
from functions.batch.collecting.usual_rows import UsualRows
from functions.batch.errors import AccountBlocked, NotChecked
from functions.batch.learning import Learned
from functions.batch.model import (
    BATCH_GONE,
    GAVE_UP,
    MAX_RESENDS,
    Answered,
    Reason,
    Refusal,
    Shard,
)
from functions.batch.ports import Dialect, Objects
from functions.batch.pricing import Meter, model_of, plus
from functions.batch.recipe import StoredRecipe
from functions.batch.rows import Answer, RowError, Weight
from functions.batch.sending import waits
from functions.batch.sending.shard_files import WorkRow
from functions.batch.sending.submission import CANCELLED
from functions.batch.spending.estimating import stored_prices
from functions.batch.spending.route_bills import RouteMeters
from functions.batch.streams import envelope
from functions.batch.streams.heads import Heads
from functions.batch.streams.lines import Transit, pack_keyed, pack_row
from functions.batch.streams.spools import PartSpools, SourceSpool
from functions.batch.tally import Problems
from functions.batch.work import Collected, Source

PIECES = 4
"""A shard that is refused without a row being named is halved twice at once: as many batches as
by halves, in half the rounds. Ten splits find one row among a million."""


NAMED_TRIES = 2
"""Rounds in which the rows that a refusal names are set aside and the others go again together. A
provider that names one row at a time uses up the others' tries: then the shard is split as well."""

MISFIT = "schema_mismatch"
"""Code of a row whose answer does not fit the recipe's schema."""

Fitting = Callable[[bytes], Callable[[bytes], str | None]]
"""Of a JSON schema: what tells why an answer's text does not fit it. Both as JSON. The latter
raises `NotChecked`."""


class Harvest:
    """Sorts a shard's rows, in order, into finished ones and those that go again."""

    def __init__(
        self,
        shard: Shard,
        directory: Path,
        recipe: StoredRecipe | None,
        addressing: Addressing,
        rows: ShardRows,
        *,
        objects: Objects,
        dialect: Dialect,
        fitting: Fitting,
        max_rounds: int,
        cancelled: bool,
    ) -> None:
        self._shard = shard
        self._addressing = addressing
        self._rows = rows
        self._place = 0
        self._dialect = dialect
        self._objects = objects
        self._max_rounds = max_rounds
        self._directory = directory
        self._cancelled = cancelled
        self._refusal = _usable(shard)
        self._out_of_reach = shard.batch_id is not None and (
            shard.refusal is not None and shard.refusal.code in (GAVE_UP, BATCH_GONE)
        )
        self._misfit: Callable[[bytes], str | None] = lambda _: None
        self._stronger: str | None = None
        if recipe is not None and recipe.schema is not None:
            self._misfit = fitting(recipe.schema)
            self._stronger = recipe.escalate_to
        self._counts = Answered()
        self._unfit = 0
        self._cut = 0
        self._most_resends = 0
        self._delay = 0
        self.blocked: AccountBlocked | None = None
        self.lesson = Learned()
        self._problems = Problems()
        prices = stored_prices(objects, shard.job_id)
        self._meter = Meter(prices and prices.rates.get(model_of(shard.group)))
        self.endings = Endings(shard, self._meter)
        self._routes = RouteMeters(shard, recipe, prices)
        self._usual = UsualRows(self._meter, self._counts, self.lesson)
        self._parts = PartSpools(objects, directory)
        self._again: dict[int, SourceSpool] = {}
        origin = f"shard-{shard.shard_id}"
        self._part = layout.part(shard.job_id, origin)
        self._failed = layout.failed_part(shard.job_id, origin)

    def settle_all(self, heads: Heads, answers: Sequence[KeptAnswer | None]) -> None:
        """The next rows of the shard, and what answers each, if anything does."""
        others: list[int] = []
        if not all(heads.tokens) or {*map(type, answers)} != {Ending}:
            others = [
                at
                for at, (tokens, answer) in enumerate(zip(heads.tokens, answers, strict=True))
                if not tokens or not isinstance(answer, Ending)
            ]
        done = 0
        for at in (*others, len(answers)):
            if done < at:
                endings = cast("Sequence[Ending]", answers[done:at])
                lines = self._usual.finish(heads.some(done, at), endings)
                self._parts.add_all(self._part, heads.keys[done], heads.keys[at - 1], lines)
            if at < len(answers):
                answer = self._addressing.answer(heads.keys[at], answers[at])
                self.settle(self._place + at, self._rows.row(heads.keys[at]), answer)
            done = at + 1
        self._place += len(answers)

    def settle(self, place: int, row: WorkRow, answer: Answer | None) -> None:
        if answer is None:
            self._settle_unanswered(place, row)
            return
        self._charge(row.transit, answer)
        error = answer.error
        if answer.verdict == "succeeded" or error is None:
            try:
                misfit = self._misfit(answer.text) if row.transit.made else None
            except NotChecked as unknown:
                self._unchecked(row, answer, str(unknown))
                return
            if misfit is not None:
                self._misfitting(place, row, answer, misfit)
                return
            self._counts.succeeded += 1
            self._cut += answer.cut
            if answer.usage is not None:
                self.lesson.note(self._weight(row), answer.usage)
            self._finish(row, answer)
        elif answer.verdict == "failed":
            self._fail(row, error, answer)
        elif answer.verdict == "again":
            self._own_failure(place, row, error, answer)
        else:
            if answer.delay_seconds:
                self._delay = max(self._delay, answer.delay_seconds)
                self.blocked = AccountBlocked(error.code, error.message)
            self._resend(place, row, error, answer)

    def _charge(self, transit: Transit, answer: Answer) -> None:
        """What is billed is billed, whatever becomes of the row: it is added to its attempts."""
        cost, listed = self._meter.charge(answer)
        self._routes.charge(transit, answer)
        transit.cost = plus(transit.cost, cost)
        transit.listed = plus(transit.listed, listed)

    def _weight(self, row: WorkRow) -> Weight:
        """As far as it teaches anything: as it was estimated when the row was read."""
        transit = row.transit
        if not transit.tokens:
            return self._dialect.weigh(row.line)
        return Weight(
            rows=1,
            tokens=transit.tokens,
            max_output=transit.max_output,
            unbounded=transit.unbounded,
        )

    def _settle_unanswered(self, place: int, row: WorkRow) -> None:
        refusal = self._refusal
        if self._out_of_reach:
            self._meter.lost()
            self._routes.lost(row.transit)
            unknown = msgspec.structs.replace(row.transit, cost=None, listed=None)
            row = msgspec.structs.replace(row, transit=unknown)
        if refusal is None:
            error = RowError(
                code="no_answer",
                message="The batch ended without an answer.",
                retryable=True,
            )
            if self._shard.complete:
                self._own_failure(place, row, error)
            else:
                self._resend(place, row, error)
            return
        named = refusal.lines.get(place + 1)
        if named is not None:
            self._fail(row, _final(named))
        elif refusal.then == "fail" or (
            refusal.then == "split"
            and self._shard.rows == 1
            and not refusal.capacity
            and row.transit.resends
        ):
            self._fail(row, _final(Reason(refusal.code, refusal.message)))
        else:
            error = RowError(code=refusal.code, message=refusal.message, retryable=True)
            self._resend(place, row, error)

    def _misfitting(self, place: int, row: WorkRow, answer: Answer, why: str) -> None:
        """The row goes again once, to the stronger model where the recipe names one."""
        error = RowError(code=MISFIT, message=why, retryable=True)
        transit = row.transit
        if self._cancelled or transit.misfits:
            self._fail(row, error, msgspec.structs.replace(answer, verdict="failed", error=error))
            return
        self._unfit += 1
        transit = _after(transit, error, misfits=transit.misfits + 1)
        self._go_again(place, row, transit, model=self._stronger)

    def _unchecked(self, row: WorkRow, answer: Answer, why: str) -> None:
        """It is not sent again: another answer would take as long, and be paid as well."""
        error = RowError(code=MISFIT, message=why, retryable=False)
        self._fail(row, error, msgspec.structs.replace(answer, verdict="failed", error=error))

    def _own_failure(
        self, place: int, row: WorkRow, error: RowError, answer: Answer | None = None
    ) -> None:
        transit = row.transit
        transit = _after(transit, error, failures=transit.failures + 1)
        if self._cancelled or transit.failures >= self._max_rounds:
            self._fail(row, error, answer)
        else:
            self._go_again(place, row, transit)

    def _resend(
        self, place: int, row: WorkRow, error: RowError, answer: Answer | None = None
    ) -> None:
        transit = row.transit
        self._most_resends = max(self._most_resends, transit.resends)
        transit = _after(transit, error, resends=transit.resends + 1)
        if self._cancelled:
            self._fail(row, _final(Reason(CANCELLED.code, CANCELLED.message)))
        elif transit.resends > MAX_RESENDS:
            self._fail(row, error, answer)
        else:
            self._go_again(place, row, transit)

    def _fail(self, row: WorkRow, error: RowError, answer: Answer | None = None) -> None:
        self._counts.failed += 1
        self._problems.note(error)
        self._parts.add(self._failed, row.key, pack_keyed(row.key, row.line))
        self._finish(row, answer, error)

    def _finish(self, row: WorkRow, answer: Answer | None, error: RowError | None = None) -> None:
        custom_id = self._dialect.custom_id(row.line)
        if answer is not None:
            tail = envelope.answered(answer, custom_id, self._shard, row.transit)
        else:
            assert error is not None  # a row without an answer fails with a reason
            tail = envelope.failed(error, custom_id, self._shard, row.transit)
        self._parts.add(self._part, row.key, pack_keyed(row.key, tail))

    def _go_again(
        self, place: int, row: WorkRow, transit: Transit, *, model: str | None = None
    ) -> None:
        self._counts.again += 1
        piece = 0
        split = self._refusal is not None and (
            self._refusal.then == "split"
            or (bool(self._refusal.lines) and transit.resends > NAMED_TRIES)
        )
        if split:
            piece = PIECES * place // self._shard.rows
        group, line = self._shard.group, row.line
        if model is not None:
            group = msgspec.structs.replace(group, model=model)
            line = self._dialect.with_model(line, model)
            # Another model counts otherwise, and the line is written anew.
            transit = msgspec.structs.replace(transit, tokens=0, id_at=0, id_length=0)
            piece += PIECES
        spool = self._again.get(piece)
        if spool is None:
            key = layout.rows(self._shard.job_id, f"again-{self._shard.shard_id}", piece)
            spool = SourceSpool(group, key, self._directory, alone=split)
            self._again[piece] = spool
        packed = pack_row(row.key, line, transit)
        spool.add(row.key, packed, self._dialect.weigh(line))

    def close(self) -> None:
        for spool in self._again.values():
            spool.close()
        self._parts.close()

    def finish(self) -> Collected:
        return Collected(
            shard_id=self._shard.shard_id,
            succeeded=self._counts.succeeded,
            failed=self._counts.failed,
            parts=self._parts.store(self._part),
            failed_parts=self._parts.store(self._failed),
            remainder=list(self._remainder()),
            problems=self._problems.by_code,
            bill=self._meter.bill,
            routes=self._routes.routes,
            one_model=self._routes.one_model,
            unfit=self._unfit,
            cut=self._cut,
        )

    def _remainder(self) -> Iterator[Source]:
        most = waits.DAY if self._refusal is None or self._refusal.account else waits.HOUR
        first = self._delay if self._refusal is None else self._refusal.delay_seconds
        delay = min(first * 2**self._most_resends, most)
        for piece in sorted(self._again):
            yield self._again[piece].store(self._objects, delay_seconds=delay)


def _after(transit: Transit, error: RowError, **changes: int) -> Transit:
    return msgspec.structs.replace(transit, code=error.code, message=error.message, **changes)


def _usable(shard: Shard) -> Refusal | None:
    """A refusal that names only lines which the shard does not have names none."""
    refusal = shard.refusal
    if refusal is None or not refusal.lines:
        return refusal
    lines = {line: why for line, why in refusal.lines.items() if 1 <= line <= shard.rows}
    then = refusal.then if lines else "split"
    return msgspec.structs.replace(refusal, lines=lines, then=then)


def _final(reason: Reason) -> RowError:
    return RowError(code=reason.code, message=reason.message, retryable=False)
