"""OpenAI's files and batches: what they are and how a batch lives.

Of a batch's seconds, a tenth goes to validating and a tenth to finalizing; cancelling takes a
tenth too.
"""

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import openai_check, openai_rows
from .answers import Json
from .faults import Fault
from .ledger import BatchEntry, Thing
from .work import Plan, Run

if TYPE_CHECKING:
    from .store import World

DAY = 86_400
OUTPUT_DAYS = 30
TERMINAL = frozenset(("failed", "completed", "expired", "cancelled"))
STAMPED = (
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)
EDGE = 0.1
"""The share of a batch's seconds that each of its edges takes."""


@dataclass
class File:
    id: str
    path: Path
    filename: str
    purpose: str
    bytes: int
    created: float
    expires_at: int | None

    def shown(self) -> Json:
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": self.bytes,
            "created_at": int(self.created),
            "expires_at": self.expires_at,
            "status": "processed",
            "status_details": None,
        }


@dataclass
class Batch:
    id: str
    endpoint: str
    input_file_id: str
    input: Path
    metadata: dict[str, str] | None
    output_seconds: int
    seconds: float
    created: float
    fault: Fault | None
    status: str = "validating"
    times: dict[str, int] = field(default_factory=dict[str, int])
    errors: list[Json] = field(default_factory=list[Json])
    model: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    enqueued: int = 0
    tokens: Counter[str] = field(default_factory=Counter[str])
    output_file_id: str | None = None
    error_file_id: str | None = None
    run: Run | None = None
    rows: "openai_rows.RowWork | None" = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def shown(self) -> Json:
        errors = {"object": "list", "data": self.errors} if self.errors else None
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": errors,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": int(self.created),
            "expires_at": int(self.created) + DAY,
            **{f"{stamp}_at": self.times.get(stamp) for stamp in STAMPED},
            "request_counts": {
                "total": self.total,
                "completed": self.completed,
                "failed": self.failed,
            },
            "usage": self._usage(),
            "metadata": self.metadata,
        }

    def _usage(self) -> Json:
        cached, tokens_out = self.tokens["cached"], self.tokens["output"]
        tokens_in = self.tokens["input"] + cached
        return {
            "input_tokens": tokens_in,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": tokens_out,
            "output_tokens_details": {"reasoning_tokens": self.tokens["reasoning"]},
            "total_tokens": tokens_in + tokens_out,
        }


class OpenAI:
    """The account's files and batches; ids keep the order of creation."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.lock = threading.RLock()

    def add_file(self, path: Path, name: str, purpose: str, seconds: int | None) -> File:
        now = time.time()
        size = path.stat().st_size
        file_id = self.world.new_id("file-", 22)
        expires = None if seconds is None else int(now) + seconds
        file = File(file_id, path, name, purpose, size, now, expires)
        with self.lock:
            self.files[file_id] = file
        self.world.ledger.created(Thing("openai", purpose, file_id, name, now, size))
        return file

    def delete_file(self, file: File) -> None:
        with self.lock:
            del self.files[file.id]
        file.path.unlink(missing_ok=True)
        self.world.ledger.deleted("openai", file.id, time.time())

    def create(
        self,
        file: File,
        endpoint: str,
        metadata: dict[str, str] | None,
        output_seconds: int | None,
        fault: Fault | None,
    ) -> Batch:
        kept = self.world.spool.path("openai-input")
        os.link(file.path, kept)
        batch = Batch(
            self.world.new_id("batch_", 32),
            endpoint,
            file.id,
            kept,
            metadata,
            output_seconds or OUTPUT_DAYS * DAY,
            self.world.settings.batch_seconds,
            time.time(),
            fault,
        )
        with self.lock:
            self.batches[batch.id] = batch
        self.world.ledger.batch(
            BatchEntry("openai", batch.id, None, metadata, batch.created, batch.status)
        )
        if not (fault and fault.kind == "stuck" and fault.state == "validating"):
            when = batch.created + batch.seconds * EDGE
            self.world.scheduler.at(when, lambda: self._validate(batch))
        return batch

    def _move(self, batch: Batch, status: str) -> None:
        batch.status = status
        batch.times[status] = int(time.time())
        rows = batch.total if batch.total else None
        self.world.ledger.status(batch.id, status, rows)
        if status in TERMINAL:
            batch.input.unlink(missing_ok=True)

    def _validate(self, batch: Batch) -> None:
        settings = self.world.settings
        found = openai_check.check(batch.input, batch.endpoint, settings, self.world.faults)
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
            batch.rows = openai_rows.RowWork(self.world, batch, found.rows)
            if batch.status == "validating":
                self._move(batch, "in_progress")
                self._start(batch, found.slow)

    def _account_errors(self, batch: Batch, tokens: int) -> list[Json]:
        """Failures that are the account's, not the file's: reported on no line."""
        settings = self.world.settings
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

    def _start(self, batch: Batch, slow: dict[int, float]) -> None:
        assert batch.rows is not None
        fault, stop_at = batch.fault, None
        done = partial(self._finalize, batch)
        if fault and fault.kind == "expire_at":
            stop_at = 0.5 if fault.fraction is None else fault.fraction
        elif fault and fault.kind == "stuck":
            stop_at, done = fault.fraction or 0.0, _nothing
        plan = Plan(batch.seconds * (1 - 2 * EDGE), slow, stop_at)
        rows = batch.rows
        batch.run = Run(self.world, rows.rows, plan, rows.work, done, batch.id)
        batch.run.start()

    def _finalize(self, batch: Batch) -> None:
        with batch.lock:
            if batch.status != "in_progress":
                return
            self._move(batch, "finalizing")
        when = time.time() + batch.seconds * EDGE
        self.world.scheduler.at(when, lambda: self._end(batch))

    def _end(self, batch: Batch) -> None:
        with batch.lock:
            if batch.status != "finalizing" or batch.run is None or batch.rows is None:
                return
            rest = batch.run.rest()
            batch.rows.give_up(rest, "batch_expired")
            expired = bool(rest) or batch.rows.expired > 0
            self._deliver(batch)
            self._move(batch, "expired" if expired else "completed")

    def cancel(self, batch: Batch) -> None:
        """Only the start of it; the finished part is delivered a moment later."""
        with batch.lock:
            validated = batch.rows is not None
            self._move(batch, "cancelling")
        rest = batch.run.stop() if batch.run else []
        when = time.time() + batch.seconds * EDGE
        if not validated:
            when += batch.seconds * EDGE
        self.world.scheduler.at(when, lambda: self._cancelled(batch, rest))

    def _cancelled(self, batch: Batch, rest: list[int]) -> None:
        with batch.lock:
            if batch.rows is not None:
                if batch.run is None:
                    rest = list(range(batch.total))
                batch.rows.give_up(rest, "batch_cancelled")
                self._deliver(batch)
            self._move(batch, "cancelled")

    def _deliver(self, batch: Batch) -> None:
        assert batch.rows is not None
        for path, kind in ((batch.rows.output, "output"), (batch.rows.errors, "error")):
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
