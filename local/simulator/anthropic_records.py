"""A message batch as Anthropic keeps and shows it."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .answers import Json
from .faults import Fault
from .rows import Rows
from .run import Run

DAY = 86_400
RESULTS = ("succeeded", "errored", "canceled", "expired")


def stamp(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Batch:
    id: str
    rows: Rows
    results: Path
    """The file of result lines, which grows as rows are done."""
    version: str
    seconds: float
    created: float
    fault: Fault | None
    status: str = "in_progress"
    ended_at: float | None = None
    cancelled_at: float | None = None
    counts: Counter[str] = field(default_factory=Counter[str])
    run: Run | None = None
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
