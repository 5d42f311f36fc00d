"""Vertex's batch prediction jobs: how one lives, from Cloud Storage and back.

Of a job's seconds, a twentieth each goes to pending and to being queued, and a tenth to writing.
"""

import fnmatch
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import vertex_import
from .answers import Json
from .engine import Engine
from .gcs_store import Gcs
from .ledger import BatchEntry, Thing
from .rows import Rows
from .run import Plan, Run
from .spool import CHUNK
from .timestamps import rfc3339
from .vertex_import import ImportFailed
from .vertex_records import TERMINAL, Job, Predictions
from .vertex_rows import RowWork, user_text
from .wire import ApiError

WAITING = 0.05
EDGE = 0.1
CANCELLED, INVALID, NOT_FOUND, PRECONDITION, INTERNAL = 1, 3, 5, 9, 13
"""Codes of a job's error."""


class Vertex:
    """The projects' jobs, in order of creation, by resource name."""

    def __init__(self, engine: Engine, gcs: Gcs) -> None:
        self.engine = engine
        self.gcs = gcs
        self.jobs: dict[str, Job] = {}
        self.operations: dict[str, float] = {}
        """When each deletion is done."""
        self.lock = threading.RLock()

    def create(self, job: Job) -> None:
        name = {"displayName": job.resource["displayName"], "labels": job.resource.get("labels")}
        self.engine.ledger.batch(
            BatchEntry("vertex", job.id, job.model, name, job.created, job.state)
        )
        self.engine.ledger.created(
            Thing("vertex", "job", job.id, job.resource["displayName"], job.created, 0)
        )
        with self.lock:
            self.jobs[job.name] = job
        fault = job.fault
        if fault and fault.kind == "stuck" and not fault.fraction:
            stuck = fault.state or job.state
            self._later(job, WAITING, partial(self._move, job, stuck))
        elif fault and fault.kind == "expire_at" and fault.fraction is None:
            self._later(job, 1, partial(self._end, job, "JOB_STATE_EXPIRED"))
        else:
            self._later(job, WAITING, partial(self._queue, job))

    def _later(self, job: Job, share: float, call: Callable[[], object]) -> None:
        self.engine.scheduler.at(time.time() + job.seconds * share, call)

    def _move(self, job: Job, state: str) -> bool:
        """Returns whether it did: nothing leaves a terminal state."""
        with job.lock:
            if job.state in TERMINAL or job.state == "JOB_STATE_CANCELLING":
                return False
            self._set(job, state)
            return True

    def _set(self, job: Job, state: str) -> None:
        job.state = state
        job.updated = time.time()
        self.engine.ledger.status(job.id, state, len(job.rows) if job.rows else None)

    def _queue(self, job: Job) -> None:
        if self._move(job, "JOB_STATE_QUEUED"):
            self._later(job, WAITING, partial(self._start, job))

    def _start(self, job: Job) -> None:
        fault = job.fault
        if fault and fault.kind == "batch_failed":
            code = int(fault.code) if fault.code and fault.code.isdigit() else INTERNAL
            self._fail(job, code, fault.message or "INTERNAL")
            return
        slow: dict[int, float] = {}
        try:
            path = self._gather(job)
            job.rows = vertex_import.load(path, partial(self._inspect, slow))
            self.gcs.check_bucket(bucket_of(job.destination))
        except ImportFailed as reason:
            self.engine.log({"at": time.time(), "job": job.id, "import": str(reason)})
            self._fail(job, INVALID, "Failed to import data from Cloud Storage.")
            return
        except ApiError as error:
            code = PRECONDITION if "bucket" in error.message else NOT_FOUND
            self._fail(job, code, error.message)
            return
        self._run(job, job.rows, slow)

    def _inspect(self, slow: dict[int, float], index: int, line: bytes, row: Json) -> None:
        marks = self.engine.faults.marks("vertex", line, user_text(row), stage="check")
        if "poison" in marks or "poison_unnamed" in marks:
            raise ImportFailed("poison")
        if "slow" in marks:
            slow[index] = marks.number("slow")

    def _gather(self, job: Job) -> Path:
        """Joins the sources to one file, so that deleting them does not disturb the job."""
        found: list[Path] = []
        for uri in job.sources:
            bucket, _, pattern = uri.removeprefix("gs://").partition("/")
            self.gcs.check_bucket(bucket)
            names = [pattern]
            if "*" in pattern:
                names = fnmatch.filter(self.gcs.names(bucket), pattern)
            found += [self.gcs.find(bucket, name).path for name in names]
        path = self.engine.spool.path("vertex-input")
        if len(found) == 1:
            os.link(found[0], path)
            return path
        with path.open("wb") as joined:
            for part in found:
                with part.open("rb") as file:
                    while block := file.read(CHUNK):
                        joined.write(block)
                joined.write(b"\n")
        return path

    def _run(self, job: Job, rows: Rows, slow: dict[int, float]) -> None:
        with job.lock:
            if not self._move(job, "JOB_STATE_RUNNING"):
                return
            job.started = time.time()
            count = max(1, min(self.engine.settings.vertex_files, len(rows)))
            files = [self.engine.spool.path("vertex-predictions") for _ in range(count)]
            job.predictions = Predictions(files)
            fault = job.fault
            stop_at = fault.fraction if fault and fault.kind in ("expire_at", "stuck") else None
            plan = Plan(job.seconds * (1 - 2 * WAITING - EDGE), slow, stop_at)
            done = partial(self._done, job)
            work = RowWork(self.engine, job, rows, job.predictions).work
            job.run = Run(self.engine, rows, plan, work, done, job.id)
        job.run.start()

    def _done(self, job: Job) -> None:
        fault = job.fault
        if fault and fault.kind == "stuck":
            if fault.state:
                self._move(job, fault.state)
            return
        self._later(job, EDGE, partial(self._end, job, None))

    def _end(self, job: Job, state: str | None) -> None:
        with job.lock:
            cancelling = job.state == "JOB_STATE_CANCELLING"
            if job.state in TERMINAL or (cancelling and state != "JOB_STATE_CANCELLED"):
                return
            if job.run and job.rows and job.predictions:
                work = RowWork(self.engine, job, job.rows, job.predictions)
                work.give_up(job.run.stop())
                self._export(job, job.predictions.files)
            job.ended = time.time()
            self._set(job, state or self._final_state(job))
            if job.rows:
                job.rows.path.unlink(missing_ok=True)

    def _final_state(self, job: Job) -> str:
        fault, done = job.fault, job.predictions
        if fault and fault.kind == "state" and fault.state:
            return fault.state
        if job.expired or (fault and fault.kind == "expire_at"):
            return (fault and fault.state) or "JOB_STATE_EXPIRED"
        if done and (done.failed or done.unfinished) and self.engine.settings.vertex_partial_state:
            return "JOB_STATE_PARTIALLY_SUCCEEDED"
        return "JOB_STATE_SUCCEEDED"

    def _export(self, job: Job, files: list[Path]) -> None:
        folder = f"{job.destination.rstrip('/')}/prediction-model-{rfc3339(time.time())}"
        bucket, _, prefix = folder.removeprefix("gs://").partition("/")
        several = len(files) > 1
        for number, path in enumerate(files, 1):
            if path.exists():
                name = f"predictions_{number:05d}.jsonl" if several else "predictions.jsonl"
                wanted = {"contentType": "application/jsonl"}
                self.gcs.put(bucket, f"{prefix}/{name}", path, wanted, kind="output")
        job.output_directory = folder

    def _fail(self, job: Job, code: int, message: str) -> None:
        if self._move(job, "JOB_STATE_FAILED"):
            job.error = {"code": code, "message": message}
            job.ended = time.time()

    def cancel(self, job: Job) -> None:
        with job.lock:
            self._set(job, "JOB_STATE_CANCELLING")
        if job.run:
            job.run.stop()
        self._later(job, EDGE, partial(self._cancelled, job))

    def _cancelled(self, job: Job) -> None:
        with job.lock:
            job.error = {"code": CANCELLED, "message": "The job was cancelled by the user."}
            self._end(job, "JOB_STATE_CANCELLED")

    def delete(self, job: Job) -> str:
        """Returns the name of the operation, which takes a moment."""
        with self.lock:
            del self.jobs[job.name]
        self.engine.ledger.deleted("vertex", job.id, time.time())
        parent = job.name.rsplit("/", 2)[0]
        operation = f"{parent}/operations/{self.engine.new_number()}"
        self.operations[operation] = time.time() + job.seconds * WAITING
        return operation


def bucket_of(uri: str) -> str:
    return uri.removeprefix("gs://").partition("/")[0]
