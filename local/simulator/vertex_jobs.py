"""Vertex's batch prediction jobs: what one is and how it lives, from Cloud Storage and back.

Of a job's seconds, a twentieth each goes to pending and to being queued, and a tenth to writing.
"""

import fnmatch
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import vertex_import
from .answers import Json
from .faults import Fault
from .gcs_store import rfc3339
from .ledger import BatchEntry, Thing
from .vertex_import import ImportFailed
from .vertex_rows import RowWork, user_text
from .wire import CHUNK, ApiError
from .work import Plan, Rows, Run

if TYPE_CHECKING:
    from .store import World

STATES = (
    "JOB_STATE_UNSPECIFIED",
    "JOB_STATE_QUEUED",
    "JOB_STATE_PENDING",
    "JOB_STATE_RUNNING",
    "JOB_STATE_SUCCEEDED",
    "JOB_STATE_FAILED",
    "JOB_STATE_CANCELLING",
    "JOB_STATE_CANCELLED",
    "JOB_STATE_PAUSED",
    "JOB_STATE_EXPIRED",
    "JOB_STATE_UPDATING",
    "JOB_STATE_PARTIALLY_SUCCEEDED",
)
TERMINAL = frozenset(
    f"JOB_STATE_{state}"
    for state in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
)
WAITING = 0.05
EDGE = 0.1
CANCELLED, INVALID, NOT_FOUND, PRECONDITION, INTERNAL = 1, 3, 5, 9, 13
"""Codes of a job's error."""


@dataclass
class Job:
    id: str
    name: str
    resource: Json
    """What the client sent, shown again as it was."""
    model: str
    sources: list[str]
    destination: str
    seconds: float
    created: float
    fault: Fault | None
    state: str = "JOB_STATE_PENDING"
    updated: float = 0.0
    started: float | None = None
    ended: float | None = None
    error: Json | None = None
    output_directory: str | None = None
    expired: bool = False
    rows: Rows | None = None
    work: RowWork | None = None
    run: Run | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def shown(self, *, numbers: bool) -> Json:
        """`numbers` shows the state as its number, which the REST transport of the SDK asks for."""
        shown: Json = {
            **self.resource,
            "name": self.name,
            "state": STATES.index(self.state) if numbers else self.state,
            "createTime": rfc3339(self.created),
            "updateTime": rfc3339(self.updated or self.created),
            "modelVersionId": "1",
        }
        if self.started:
            shown["startTime"] = rfc3339(self.started)
        if self.ended:
            shown["endTime"] = rfc3339(self.ended)
        if self.error:
            shown["error"] = self.error
        if self.output_directory:
            shown["outputInfo"] = {"gcsOutputDirectory": self.output_directory}
        if self.work:
            done = self.work.succeeded + self.work.failed
            total = len(self.rows or ())
            shown["completionStats"] = {
                "successfulCount": str(self.work.succeeded),
                "failedCount": str(self.work.failed),
                "incompleteCount": str(total - done),
            }
        return shown


class Vertex:
    """The projects' jobs, in order of creation, by resource name."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.jobs: dict[str, Job] = {}
        self.operations: dict[str, float] = {}
        """When each deletion is done."""
        self.lock = threading.RLock()

    def create(self, job: Job) -> None:
        name = {"displayName": job.resource["displayName"], "labels": job.resource.get("labels")}
        self.world.ledger.batch(
            BatchEntry("vertex", job.id, job.model, name, job.created, job.state)
        )
        self.world.ledger.created(
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
        self.world.scheduler.at(time.time() + job.seconds * share, call)

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
        self.world.ledger.status(job.id, state, len(job.rows) if job.rows else None)

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
            self.world.gcs.check_bucket(bucket_of(job.destination))
        except ImportFailed as reason:
            self.world.log({"at": time.time(), "job": job.id, "import": str(reason)})
            self._fail(job, INVALID, "Failed to import data from Cloud Storage.")
            return
        except ApiError as error:
            code = PRECONDITION if "bucket" in error.message else NOT_FOUND
            self._fail(job, code, error.message)
            return
        self._run(job, job.rows, slow)

    def _inspect(self, slow: dict[int, float], index: int, line: bytes, row: Json) -> None:
        marks = self.world.faults.marks("vertex", line, user_text(row), stage="check")
        if "poison" in marks or "poison_unnamed" in marks:
            raise ImportFailed("poison")
        if "slow" in marks:
            slow[index] = marks.number("slow")

    def _gather(self, job: Job) -> Path:
        """Joins the sources to one file, so that deleting them does not disturb the job."""
        found: list[Path] = []
        for uri in job.sources:
            bucket, _, pattern = uri.removeprefix("gs://").partition("/")
            self.world.gcs.check_bucket(bucket)
            names = [pattern]
            if "*" in pattern:
                names = fnmatch.filter(self.world.gcs.names(bucket), pattern)
            found += [self.world.gcs.find(bucket, name).path for name in names]
        path = self.world.spool.path("vertex-input")
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
            job.work = RowWork(self.world, job, rows)
            fault = job.fault
            stop_at = fault.fraction if fault and fault.kind in ("expire_at", "stuck") else None
            plan = Plan(job.seconds * (1 - 2 * WAITING - EDGE), slow, stop_at)
            done = partial(self._done, job)
            job.run = Run(self.world, rows, plan, job.work.work, done, job.id)
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
            if job.run and job.work:
                job.work.give_up(job.run.stop())
                self._export(job)
            job.ended = time.time()
            self._set(job, state or self._final_state(job))
            if job.rows:
                job.rows.path.unlink(missing_ok=True)

    def _final_state(self, job: Job) -> str:
        fault, work = job.fault, job.work
        if fault and fault.kind == "state" and fault.state:
            return fault.state
        if job.expired or (fault and fault.kind == "expire_at"):
            return (fault and fault.state) or "JOB_STATE_EXPIRED"
        if work and (work.failed or work.unfinished) and self.world.settings.vertex_partial_state:
            return "JOB_STATE_PARTIALLY_SUCCEEDED"
        return "JOB_STATE_SUCCEEDED"

    def _export(self, job: Job) -> None:
        assert job.work is not None
        folder = f"{job.destination.rstrip('/')}/prediction-model-{rfc3339(time.time())}"
        bucket, _, prefix = folder.removeprefix("gs://").partition("/")
        several = len(job.work.files) > 1
        for number, path in enumerate(job.work.files, 1):
            if path.exists():
                name = f"predictions_{number:05d}.jsonl" if several else "predictions.jsonl"
                wanted = {"contentType": "application/jsonl"}
                self.world.gcs.put(bucket, f"{prefix}/{name}", path, wanted, kind="output")
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
        self.world.ledger.deleted("vertex", job.id, time.time())
        parent = job.name.rsplit("/", 2)[0]
        operation = f"{parent}/operations/{self.world.new_number()}"
        self.operations[operation] = time.time() + job.seconds * WAITING
        return operation


def bucket_of(uri: str) -> str:
    return uri.removeprefix("gs://").partition("/")[0]
