"""OpenAI's files and batches: how they come, and how a batch lives.

Of a batch's seconds, a tenth goes to validating and a tenth to finalizing; cancelling takes a
tenth too.
"""

import os
import threading
import time
from functools import partial
from pathlib import Path

from . import openai_check
from .answers import Json
from .engine import Engine
from .faults import Fault
from .ledger import BatchEntry, Thing
from .openai_records import DAY, TERMINAL, Batch, File, Results
from .openai_rows import RowWork
from .run import Plan, Run

OUTPUT_DAYS = 30
EDGE = 0.1
"""The share of a batch's seconds that each of its edges takes."""


class OpenAI:
    """The account's files and batches; ids keep the order of creation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.lock = threading.RLock()

    def add_file(self, path: Path, name: str, purpose: str, seconds: int | None) -> File:
        now = time.time()
        size = path.stat().st_size
        file_id = self.engine.new_id("file-", 22)
        expires = None if seconds is None else int(now) + seconds
        file = File(file_id, path, name, purpose, size, now, expires)
        with self.lock:
            self.files[file_id] = file
        self.engine.ledger.created(Thing("openai", purpose, file_id, name, now, size))
        return file

    def delete_file(self, file: File) -> None:
        with self.lock:
            del self.files[file.id]
        file.path.unlink(missing_ok=True)
        self.engine.ledger.deleted("openai", file.id, time.time())

    def create(
        self,
        file: File,
        endpoint: str,
        metadata: dict[str, str] | None,
        output_seconds: int | None,
        fault: Fault | None,
    ) -> Batch:
        kept = self.engine.spool.path("openai-input")
        os.link(file.path, kept)
        batch = Batch(
            self.engine.new_id("batch_", 32),
            endpoint,
            file.id,
            kept,
            metadata,
            output_seconds or OUTPUT_DAYS * DAY,
            self.engine.settings.batch_seconds,
            time.time(),
            fault,
        )
        with self.lock:
            self.batches[batch.id] = batch
        self.engine.ledger.batch(
            BatchEntry("openai", batch.id, None, metadata, batch.created, batch.status)
        )
        if not (fault and fault.kind == "stuck" and fault.state == "validating"):
            when = batch.created + batch.seconds * EDGE
            self.engine.scheduler.at(when, lambda: self._validate(batch))
        return batch

    def _move(self, batch: Batch, status: str) -> None:
        batch.status = status
        batch.times[status] = int(time.time())
        rows = batch.total if batch.total else None
        self.engine.ledger.status(batch.id, status, rows)
        if status in TERMINAL:
            batch.input.unlink(missing_ok=True)

    def _validate(self, batch: Batch) -> None:
        settings = self.engine.settings
        found = openai_check.check(batch.input, batch.endpoint, settings, self.engine.faults)
        with batch.lock:
            if batch.status in TERMINAL:
                return
            if batch.status == "cancelling":
                found.errors = []
            batch.model = found.model
            if not found.errors and batch.status == "validating":
                found.errors = self._account_errors(batch, found.tokens)
            if found.errors:
                batch.errors = found.errors
                self._move(batch, "failed")
                return
            batch.total = len(found.rows)
            batch.enqueued = found.tokens
            spool = self.engine.spool
            batch.results = Results(
                found.rows, spool.path("openai-output"), spool.path("openai-error")
            )
            if batch.status == "validating":
                self._move(batch, "in_progress")
                self._start(batch, batch.results, found.slow)

    def _account_errors(self, batch: Batch, tokens: int) -> list[Json]:
        """Failures that are the account's, not the file's: reported on no line."""
        settings = self.engine.settings
        limits = settings.enqueued_token_limits
        limit = limits.get(f"openai/{batch.model}", limits.get(str(batch.model)))
        others = [b for b in self.batches.values() if b.model == batch.model and b is not batch]
        in_use = sum(other.enqueued for other in others if other.status not in TERMINAL)
        code = message = None
        if "openai" in settings.out_of_credit:
            code, message = "billing_hard_limit_reached", "Billing hard limit has been reached."
        elif batch.fault and batch.fault.kind == "batch_failed":
            code = batch.fault.code or "server_error"
            message = batch.fault.message or "The batch could not be processed."
        elif (batch.fault and batch.fault.kind == "token_limit") or (
            limit is not None and in_use + tokens > limit
        ):
            code = "token_limit_exceeded"
            message = (
                f"Enqueued token limit reached for {batch.model} in organization org-simulator. "
                f"Limit: {limit if limit is not None else 90_000:,} enqueued tokens. Please try "
                "again once some in_progress batches have been completed."
            )
        if code is None:
            return []
        return [{"code": code, "line": None, "message": message, "param": None}]

    def _start(self, batch: Batch, results: Results, slow: dict[int, float]) -> None:
        fault, stop_at = batch.fault, None
        done = partial(self._finalize, batch)
        if fault and fault.kind == "expire_at":
            stop_at = 0.5 if fault.fraction is None else fault.fraction
        elif fault and fault.kind == "stuck":
            stop_at, done = fault.fraction or 0.0, _nothing
        plan = Plan(batch.seconds * (1 - 2 * EDGE), slow, stop_at)
        work = RowWork(self.engine, batch, results).work
        batch.run = Run(self.engine, results.rows, plan, work, done, batch.id)
        batch.run.start()

    def _finalize(self, batch: Batch) -> None:
        with batch.lock:
            if batch.status != "in_progress":
                return
            self._move(batch, "finalizing")
        when = time.time() + batch.seconds * EDGE
        self.engine.scheduler.at(when, lambda: self._end(batch))

    def _end(self, batch: Batch) -> None:
        with batch.lock:
            if batch.status != "finalizing" or batch.run is None or batch.results is None:
                return
            rest = batch.run.rest()
            RowWork(self.engine, batch, batch.results).give_up(rest, "batch_expired")
            expired = bool(rest) or batch.results.expired > 0
            self._deliver(batch, batch.results)
            self._move(batch, "expired" if expired else "completed")

    def cancel(self, batch: Batch) -> None:
        """Only the start of it; the finished part is delivered a moment later."""
        with batch.lock:
            validated = batch.results is not None
            self._move(batch, "cancelling")
        rest = batch.run.stop() if batch.run else []
        when = time.time() + batch.seconds * EDGE
        if not validated:
            when += batch.seconds * EDGE
        self.engine.scheduler.at(when, lambda: self._cancelled(batch, rest))

    def _cancelled(self, batch: Batch, rest: list[int]) -> None:
        with batch.lock:
            if batch.results is not None:
                if batch.run is None:
                    rest = list(range(batch.total))
                RowWork(self.engine, batch, batch.results).give_up(rest, "batch_cancelled")
                self._deliver(batch, batch.results)
            self._move(batch, "cancelled")

    def _deliver(self, batch: Batch, results: Results) -> None:
        for path, kind in ((results.output, "output"), (results.errors, "error")):
            if not path.exists():
                continue
            name = f"{batch.id}_{kind}.jsonl"
            file = self.add_file(path, name, "batch_output", batch.output_seconds)
            if kind == "output":
                batch.output_file_id = file.id
            else:
                batch.error_file_id = file.id


def _nothing() -> None:
    """What a stuck batch does when its rows are done."""
