"""Anthropic's message batches: what one is and how it lives."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .answers import Json
from .anthropic_rows import RowWork
from .faults import Fault
from .ledger import BatchEntry, Thing
from .work import Plan, Rows, Run

if TYPE_CHECKING:
    from .store import World

DAY = 86_400
EDGE = 0.1
"""The share of a batch's seconds that ending or cancelling takes."""
RESULTS = ("succeeded", "errored", "canceled", "expired")


def stamp(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Batch:
    id: str
    rows: Rows
    version: str
    seconds: float
    created: float
    fault: Fault | None
    status: str = "in_progress"
    ended_at: float | None = None
    cancelled_at: float | None = None
    counts: Counter[str] = field(default_factory=Counter[str])
    run: Run | None = None
    work: RowWork | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def shown(self, base_url: str) -> Json:
        """All counts but `processing` stay zero until the whole batch has ended."""
        ended = self.status == "ended"
        counts = {kind: self.counts[kind] if ended else 0 for kind in RESULTS}
        url = f"{base_url}/anthropic/v1/messages/batches/{self.id}/results"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": {"processing": 0 if ended else len(self.rows), **counts},
            "created_at": stamp(self.created),
            "expires_at": stamp(self.created + DAY),
            "ended_at": stamp(self.ended_at),
            "cancel_initiated_at": stamp(self.cancelled_at),
            "archived_at": None,
            "results_url": url if ended else None,
        }


class Anthropic:
    """The workspace's batches, in order of creation."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.batches: dict[str, Batch] = {}
        self.lock = threading.RLock()

    def processing(self) -> int:
        with self.lock:
            return sum(len(b.rows) for b in self.batches.values() if b.status != "ended")

    def create(
        self, rows: Rows, slow: dict[int, float], version: str, fault: Fault | None
    ) -> Batch:
        batch = Batch(
            self.world.new_id("msgbatch_", 24),
            rows,
            version,
            self.world.settings.batch_seconds,
            time.time(),
            fault,
        )
        entry = BatchEntry("anthropic", batch.id, None, None, batch.created, batch.status)
        entry.rows = len(rows)
        self.world.ledger.batch(entry)
        size = rows.path.stat().st_size
        self.world.ledger.created(
            Thing("anthropic", "batch", batch.id, batch.id, batch.created, size)
        )
        stop_at = None
        if fault and fault.kind == "expire_at":
            stop_at = 0.5 if fault.fraction is None else fault.fraction
        elif fault and fault.kind == "stuck":
            stop_at = fault.fraction or 0.0
        batch.work = RowWork(self.world, batch)
        plan = Plan(batch.seconds * (1 - EDGE), slow, stop_at)
        batch.run = Run(
            self.world, rows, plan, batch.work.work, lambda: self._done(batch), batch.id
        )
        with self.lock:
            self.batches[batch.id] = batch
        batch.run.start()
        return batch

    def _done(self, batch: Batch) -> None:
        if not (batch.fault and batch.fault.kind == "stuck"):
            when = time.time() + batch.seconds * EDGE
            self.world.scheduler.at(when, lambda: self._end(batch, "expired"))

    def _end(self, batch: Batch, given_up: str) -> None:
        """Gives up what is not done as `given_up`, and shows the results."""
        with batch.lock:
            cancelled = batch.status == "canceling"
            if batch.status == "ended" or cancelled != (given_up == "canceled"):
                return
            assert batch.run is not None
            assert batch.work is not None
            batch.work.give_up(batch.run.stop(), given_up)
            batch.status = "ended"
            batch.ended_at = time.time()
            batch.rows.path.unlink(missing_ok=True)
        self.world.ledger.status(batch.id, "ended")

    def cancel(self, batch: Batch) -> None:
        with batch.lock:
            batch.status = "canceling"
            batch.cancelled_at = time.time()
        assert batch.run is not None
        batch.run.stop()
        self.world.ledger.status(batch.id, "canceling")
        when = time.time() + batch.seconds * EDGE
        self.world.scheduler.at(when, lambda: self._end(batch, "canceled"))

    def delete(self, batch: Batch) -> None:
        with self.lock:
            self.batches.pop(batch.id, None)
        if batch.work is not None:
            batch.work.results.unlink(missing_ok=True)
        self.world.ledger.deleted("anthropic", batch.id, time.time())
