"""What the ranges and the shards of a job came to, read back from the work bucket."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from functions.batch import layout
from functions.batch.ports import Objects
from functions.batch.work import Collected, RangeResult


def range_results(objects: Objects, job_id: str) -> Iterator[RangeResult]:
    """In order of the ranges."""
    for key in sorted(objects.keys(layout.range_results(job_id))):
        yield msgspec.json.decode(objects.get(key), type=RangeResult)


def collected(objects: Objects, job_id: str, shard_id: str) -> Collected:
    return msgspec.json.decode(objects.get(layout.collected(job_id, shard_id)), type=Collected)


def all_collected(objects: Objects, job_id: str) -> Iterator[Collected]:
    for key in sorted(objects.keys(layout.all_collected(job_id))):
        yield msgspec.json.decode(objects.get(key), type=Collected)
