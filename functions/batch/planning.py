"""Looks at an upload before anything is read: takes it, in ranges, or says why not."""

from __future__ import annotations

from typing import Literal

import msgspec

from functions.batch import layout
from functions.batch.errors import InputChanged
from functions.batch.model import FINAL_JOB_STATUSES, Job, Reason
from functions.batch.ports import InputFiles, Ledger, Objects
from functions.batch.reading import named

ENDINGS = ".jsonl, .ndjson or .csv, each optionally .gz"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest` lists the ranges, as the workflow's map reads them."""

    next: Literal["shard", "report"]
    manifest: str = ""


class _Rejected(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)


def plan(
    job_id: str,
    *,
    ledger: Ledger,
    inputs: InputFiles,
    objects: Objects,
    split_bytes: int,
) -> Plan:
    """A job that was planned before keeps its plan: its input may be gone by now."""
    job = ledger.job(job_id)
    manifest = layout.ranges(job_id)
    if job.verdict is not None or job.status in FINAL_JOB_STATUSES:
        return Plan(next="report")
    if objects.find(manifest) is not None:
        return Plan(next="shard", manifest=manifest)
    try:
        job = _check(job, inputs)
    except _Rejected as rejection:
        ledger.update_job(job_id, {"verdict": "rejected", "reason": rejection.reason})
        return Plan(next="report")
    ledger.update_job(job_id, {"version_id": job.version_id, "bytes": job.bytes})
    objects.put(manifest, msgspec.json.encode(_ranges(job, split_bytes)))
    return Plan(next="shard", manifest=manifest)


def _check(job: Job, inputs: InputFiles) -> Job:
    kind = named(job.key)
    if kind is None:
        raise _Rejected(
            "wrong_name",
            f"{job.key!r} does not end in {ENDINGS}. Rename it and drop it again.",
        )
    if kind.format == "csv":
        raise _Rejected(
            "not_built",
            "CSV files need a recipe, and recipes cannot be read yet: drop JSONL.",
        )
    recipe = inputs.recipe(job)
    if recipe is not None:
        raise _Rejected(
            "not_built",
            f"Recipes cannot be read yet: move {recipe!r} out of the file's way.",
        )
    try:
        job = inputs.pin(job)
    except InputChanged as error:
        raise _Rejected(error.code, str(error)) from error
    if not job.bytes:
        raise _Rejected("empty", "The file is empty. Drop one with a request on each line.")
    return job


def _ranges(job: Job, split_bytes: int) -> list[dict[str, int | None]]:
    """A compressed file can only be read from its beginning: one range."""
    kind = named(job.key)
    if kind is None or kind.compressed or job.bytes <= split_bytes:
        return [{"range": 0, "start": 0, "end": None}]
    starts = [*range(0, job.bytes, split_bytes)]
    ends = [*starts[1:], None]
    return [
        {"range": number, "start": start, "end": end}
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
