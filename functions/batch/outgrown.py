"""Whether a job's results are more than one call can put together."""

from __future__ import annotations

from functions.batch import layout
from functions.batch.ports import Objects

ONE_CALL = 4 << 30
"""Bytes of parts. They are read and written once, at 40 MB/s 215 s, and 2.7 million rows of them
take 30 s to put together: four of the fifteen minutes that a function has."""

_FOLDERS = frozenset({"parts", "failed", "records", "unreadable", "deduped", "copied"})


def outgrows(job_id: str, work: Objects, one_call: int = ONE_CALL) -> bool:
    return sum(part_sizes(job_id, work).values()) > one_call


def part_sizes(job_id: str, work: Objects) -> dict[str, int]:
    """Bytes of each part, by its key."""
    everything = layout.everything(job_id)
    return {
        key: size
        for key, size in work.sizes(everything)
        if key.removeprefix(everything).partition("/")[0] in _FOLDERS
    }
