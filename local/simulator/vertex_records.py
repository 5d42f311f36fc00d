"""A batch prediction job as Vertex keeps and shows it."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from .answers import Json
from .faults import Fault
from .rows import Rows
from .run import Run
from .timestamps import rfc3339

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


@dataclass
class Predictions:
    """What becomes of a job's rows: files that grow, and the counts."""

    files: list[Path]
    succeeded: int = 0
    failed: int = 0
    unfinished: int = 0
    written: int = 0


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
    predictions: Predictions | None = None
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
        if self.predictions:
            done = self.predictions.succeeded + self.predictions.failed
            total = len(self.rows or ())
            shown["completionStats"] = {
                "successfulCount": str(self.predictions.succeeded),
                "failedCount": str(self.predictions.failed),
                "incompleteCount": str(total - done),
            }
        return shown
