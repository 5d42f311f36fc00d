"""Anthropic's message batches: how one lives."""

import threading
import time

from .anthropic_records import Batch
from .anthropic_rows import RowWork
from .engine import Engine
from .faults import Fault
from .ledger import BatchEntry, Thing
from .rows import Rows
from .run import Plan, Run

EDGE = 0.1
"""The share of a batch's seconds that ending or cancelling takes."""


class Anthropic:
    """The workspace's batches, in order of creation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.batches: dict[str, Batch] = {}
        self.lock = threading.RLock()

    def processing(self) -> int:
        with self.lock:
            return sum(len(b.rows) for b in self.batches.values() if b.status != "ended")

    def create(
        self, rows: Rows, slow: dict[int, float], version: str, fault: Fault | None
    ) -> Batch:
        batch = Batch(
            self.engine.new_id("msgbatch_", 24),
            rows,
            self.engine.spool.path("anthropic-results"),
            version,
            self.engine.settings.batch_seconds,
            time.time(),
            fault,
        )
        entry = BatchEntry("anthropic", batch.id, None, None, batch.created, batch.status)
        entry.rows = len(rows)
        self.engine.ledger.batch(entry)
        size = rows.path.stat().st_size
        self.engine.ledger.created(
            Thing("anthropic", "batch", batch.id, batch.id, batch.created, size)
        )
        stop_at = None
        if fault and fault.kind == "expire_at":
            stop_at = 0.5 if fault.fraction is None else fault.fraction
        elif fault and fault.kind == "stuck":
            stop_at = fault.fraction or 0.0
        batch.results.touch()
        plan = Plan(batch.seconds * (1 - EDGE), slow, stop_at)
        work = RowWork(self.engine, batch).work
        batch.run = Run(self.engine, rows, plan, work, lambda: self._done(batch), batch.id)
        with self.lock:
            self.batches[batch.id] = batch
        batch.run.start()
        return batch

    def _done(self, batch: Batch) -> None:
        if not (batch.fault and batch.fault.kind == "stuck"):
            when = time.time() + batch.seconds * EDGE
            self.engine.scheduler.at(when, lambda: self._end(batch, "expired"))

    def _end(self, batch: Batch, given_up: str) -> None:
        """Gives up what is not done as `given_up`, and shows the results."""
        with batch.lock:
            cancelled = batch.status == "canceling"
            if batch.status == "ended" or cancelled != (given_up == "canceled"):
                return
            assert batch.run is not None
            RowWork(self.engine, batch).give_up(batch.run.stop(), given_up)
            batch.status = "ended"
            batch.ended_at = time.time()
            batch.rows.path.unlink(missing_ok=True)
        self.engine.ledger.status(batch.id, "ended")

    def cancel(self, batch: Batch) -> None:
        with batch.lock:
            batch.status = "canceling"
            batch.cancelled_at = time.time()
        assert batch.run is not None
        batch.run.stop()
        self.engine.ledger.status(batch.id, "canceling")
        when = time.time() + batch.seconds * EDGE
        self.engine.scheduler.at(when, lambda: self._end(batch, "canceled"))

    def delete(self, batch: Batch) -> None:
        with self.lock:
            self.batches.pop(batch.id, None)
        batch.results.unlink(missing_ok=True)
        self.engine.ledger.deleted("anthropic", batch.id, time.time())
