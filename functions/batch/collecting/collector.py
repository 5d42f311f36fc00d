"""Harvests a shard: every row of it ends as a finished line or goes again.

The remainder is rows sent minus rows answered; what a provider says of its own counts is not
asked. Answers come in any order: they are kept, as what they say where they are usual ones, and
taken in the order of the rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.collecting.addressing import Addressing
from functions.batch.collecting.answer_reading import AnswerReading
from functions.batch.collecting.answer_spool import AnswerSpool
from functions.batch.collecting.endings import Endings
from functions.batch.collecting.harvesting import Fitting, Harvest
from functions.batch.collecting.shard_rows import ShardRows
from functions.batch.deadline import Remaining, unlimited
from functions.batch.depth import headroom
from functions.batch.errors import (
    AccountBlocked,
    KeyMissing,
    Missing,
    ProviderError,
    Unavailable,
)
from functions.batch.ledger_ports import Ledger
from functions.batch.model import GAVE_UP, Answered, Shard, now
from functions.batch.money_ports import Metrics, Rollups
from functions.batch.ports import Dialect, Objects, Provider
from functions.batch.recipe import StoredRecipe
from functions.batch.sending.pausing import Pauses
from functions.batch.sending.reserving import Reserver
from functions.batch.spending.rollups import turnaround
from functions.batch.streams.lines import is_blank


class Collector(msgspec.Struct, kw_only=True):
    ledger: Ledger
    objects: Objects
    dialect: Dialect
    provider: Callable[[], Provider]
    pauses: Pauses
    reserver: Reserver
    rollups: Rollups
    metrics: Metrics
    fitting: Fitting
    max_rounds: int

    @headroom(1)
    def collect(self, job_id: str, shard_id: str, remaining: Remaining = unlimited) -> None:
        """Stores what the shard came to, then says so in the ledger. May run twice.

        Where the time that is `remaining` does not suffice, it says nothing, and the same call
        again goes on where this one stood."""
        shard = self.ledger.shard(job_id, shard_id)
        if shard.status in ("collected", "cleaned"):
            return
        self.reserver.release(shard)
        job = self.ledger.job(job_id)
        stored = self.objects.find(layout.recipe(job_id))
        recipe = None if stored is None else msgspec.json.decode(stored, type=StoredRecipe)
        addressing = Addressing(shard, self.dialect)
        rows = ShardRows(shard, self.objects)
        with tempfile.TemporaryDirectory() as directory:
            harvest = Harvest(
                shard,
                Path(directory),
                recipe,
                addressing,
                rows,
                objects=self.objects,
                dialect=self.dialect,
                fitting=self.fitting,
                max_rounds=self.max_rounds,
                cancelled=job.cancel_requested,
            )
            spool = AnswerSpool(Path(directory), addressing.better)
            with closing(harvest), closing(spool):
                reading = AnswerReading(shard, self.objects, remaining, spool)
                self._fetch(shard, spool, reading, addressing, harvest.endings)
                if job.status == "paused" and spool.rows:
                    self.pauses.working(job_id)
                if reading.hands_over():
                    return
                for heads in rows.heads():
                    done = 0
                    for answers in spool.find_all(heads.keys):
                        these = heads.some(done, done + len(answers))
                        harvest.settle_all(these, answers)
                        done += len(answers)
                collected = harvest.finish()
        if harvest.blocked is not None:
            self.pauses.blocked(shard, harvest.blocked)
        self.objects.put(layout.collected(job_id, shard_id), msgspec.json.encode(collected))
        shard.status = "collected"
        shard.answered = Answered(
            succeeded=collected.succeeded,
            failed=collected.failed,
            again=sum(source.weight.rows for source in collected.remainder),
        )
        shard.bill = collected.bill
        if shard.batch_id is not None:
            self.rollups.add(shard, job.key.rpartition("/")[0], now()[:10])
        took = turnaround(shard)
        if took is not None and shard.refusal is None and not shard.cancel_sent:
            harvest.lesson.note_turnaround(took)
        if harvest.lesson.rows or harvest.lesson.turnaround:
            once = f"{job_id}#{shard_id}"
            self.ledger.learn(shard.provider, shard.model, harvest.lesson, once=once)
        shard = self.ledger.save_shard(shard)
        self.metrics.batch(shard)

    def _fetch(
        self,
        shard: Shard,
        spool: AnswerSpool,
        reading: AnswerReading,
        addressing: Addressing,
        endings: Endings,
    ) -> None:
        """Where rows lack though the batch is complete, the answers are read once more: a body that
        ends too early need not say so, and a row that is sent again is paid again."""
        empty = True
        for block in self._blocks(shard, spool, reading):
            empty = empty and is_blank(block)
            for found in addressing.read(block):
                spool.add_endings(found.keys, endings.of(found.answers))
                spool.add_lines(found.line_keys, found.lines)
        if empty and not spool.rows and _has_answers(shard):
            self._not_read(shard)
            raise Unavailable("no_answers_yet", f"The answers of {shard.batch_id} are empty.")

    def _blocks(self, shard: Shard, spool: AnswerSpool, reading: AnswerReading) -> Iterator[bytes]:
        answers = partial(self._answers, shard)
        yield from reading.blocks(answers)
        if shard.complete and spool.rows < shard.rows:
            yield from reading.again(answers)

    def _answers(self, shard: Shard, output: str) -> Iterator[bytes]:
        try:
            yield from self.provider().answers([output])
        except ProviderError as error:
            # Retried by the workflow, until Reconcile gives the shard up: then what came is kept.
            if shard.refusal is None or shard.refusal.code != GAVE_UP:
                if isinstance(error, (AccountBlocked, KeyMissing)):
                    self.pauses.blocked(shard, error)
                if not isinstance(error, Missing):
                    self._not_read(shard)
                raise

    def _not_read(self, shard: Shard) -> None:
        if not shard.unread:
            self.ledger.save_shard(msgspec.structs.replace(shard, unread=True))


def _has_answers(shard: Shard) -> bool:
    """Whether a complete batch says so. Counts decide nothing about any row; but of files that are
    all empty and counts of which none is zero, one is wrong, and it may be the files, for now."""
    told = shard.progress
    return (
        shard.complete
        and shard.refusal is None
        and bool(shard.outputs)
        and told is not None
        and told.completed + told.failed > 0
    )
