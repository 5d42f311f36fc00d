"""Files and batches as OpenAI keeps and shows them."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .answers import Json
from .faults import Fault
from .rows import Rows
from .run import Run

DAY = 86_400
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
class Results:
    """What becomes of a batch's rows, from its validation on: two files, which grow."""

    rows: Rows
    output: Path
    errors: Path
    expired: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


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
    results: Results | None = None
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
