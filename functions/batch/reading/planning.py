"""Looks at an upload before it is read: takes it, in ranges, or says why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from functions.batch import layout
from functions.batch.errors import BadRecipe, InputChanged
from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES, Job, Reason
from functions.batch.ports import Dialect, InputFiles, Objects, Recipes, RowKind
from functions.batch.reading.looking import look
from functions.batch.reading.tables import encoding_named
from functions.batch.reading.unpacking import MAX_GZ_BYTES, TooLarge, named
from functions.batch.recipe import StoredRecipe

ENDINGS = ".jsonl, .ndjson or .csv, each optionally .gz"

WAIT_LAPS = 4
WAIT_SECONDS = 15
"""A file may come before its recipe: it is waited for so many times so long."""

_MOST_RECIPE_BYTES = 256 * 1024
_KINDS: tuple[RowKind, ...] = ("native", "gemini")
"""Of rows, beside data."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest` lists the ranges, as the workflow's map reads them. `lap` counts the waits.
    `dedupe`: the recipe says so."""

    next: Literal["shard", "report", "wait"]
    manifest: str = ""
    lap: int = 0
    dedupe: bool = False


class _Rejected(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)


class _NoRecipeYet(Exception):
    """The file needs one."""


class Planner(msgspec.Struct, kw_only=True):
    ledger: Ledger
    inputs: InputFiles
    objects: Objects
    recipes: Recipes
    dialects: Sequence[Dialect]
    split_bytes: int
    max_gz_bytes: int = MAX_GZ_BYTES

    def plan(self, job_id: str, lap: int = 0) -> Plan:
        """A job that was planned before keeps its plan: its input may be gone by now. `lap` says
        how often it was waited for a recipe before. Once the job is cancelled it is waited no
        more: rows of JSONL are told one by one all the same, a CSV is read no further.
        """
        job = self.ledger.job(job_id)
        manifest = layout.ranges(job_id)
        if job.verdict is not None or job.status in FINAL_JOB_STATUSES:
            return Plan(next="report")
        if self.objects.find(manifest) is not None:
            return Plan(next="shard", manifest=manifest, dedupe=self._dedupes(job_id))
        try:
            job = self._check(job)
            recipe = self._recipe(job, lap)
        except _NoRecipeYet:
            if job.cancel_requested:
                return Plan(next="report")
            return Plan(next="wait", lap=lap + 1)
        except _Rejected as rejection:
            self.ledger.update_job(job_id, {"verdict": "rejected", "reason": rejection.reason})
            return Plan(next="report")
        changes: dict[str, object] = {"version_id": job.version_id, "bytes": job.bytes}
        if recipe is not None:
            self.objects.put(layout.recipe(job_id), msgspec.json.encode(recipe))
            changes["limits"] = recipe.limits
        self.ledger.update_job(job_id, changes)
        self.objects.put(manifest, msgspec.json.encode(_ranges(job, self.split_bytes)))
        dedupe = recipe is not None and recipe.dedupe
        return Plan(next="shard", manifest=manifest, dedupe=dedupe)

    def _dedupes(self, job_id: str) -> bool:
        found = self.objects.find(layout.recipe(job_id))
        return found is not None and msgspec.json.decode(found, type=StoredRecipe).dedupe

    def _check(self, job: Job) -> Job:
        kind = named(job.key)
        if kind is None:
            raise _Rejected(
                "wrong_name",
                f"{job.key!r} does not end in {ENDINGS}. Rename it and drop it again.",
            )
        try:
            job = self.inputs.pin(job)
        except InputChanged as error:
            raise _Rejected(error.code, str(error)) from error
        if not job.bytes:
            raise _Rejected("empty", "The file is empty. Drop one with a request on each line.")
        if kind.compressed and job.bytes > self.max_gz_bytes:
            raise _Rejected(
                TooLarge.code,
                f"The compressed file has {job.bytes} bytes; allowed are {self.max_gz_bytes} "
                "(max_gz_bytes), because it can only be read from its beginning. Split it, or "
                "drop it unpacked: that is read in parallel.",
            )
        return job

    def _recipe(self, job: Job, lap: int) -> StoredRecipe | None:
        kind = named(job.key)
        is_csv = kind is not None and kind.format == "csv"
        waits = is_csv if job.cancel_requested else lap < WAIT_LAPS
        try:
            rows = "data" if is_csv else look(job, self.inputs, self.dialects)
            found = self._find(job)
            if found is None:
                if rows == "data" and waits:
                    raise _NoRecipeYet
                if is_csv:
                    raise _Rejected("needs_recipe", _no_recipe(job))
                return None
            recipe = self._prepared(*found, rows)
            if is_csv:
                recipe.encoding = self._encoding(job)
        except InputChanged as error:
            raise _Rejected(error.code, str(error)) from error
        except BadRecipe as error:
            raise _Rejected(error.code, str(error)) from error
        return recipe

    def _prepared(self, key: str, data: bytes, rows: RowKind | None) -> StoredRecipe:
        """Where no row could be read, a recipe for any kind of them will do: what is wrong is said
        of the rows."""
        for kind in _KINDS if rows is None else ():
            try:
                return self.recipes.prepare(key, data, kind)
            except BadRecipe:
                continue
        return self.recipes.prepare(key, data, rows or "data")

    def _find(self, job: Job) -> tuple[str, bytes] | None:
        key = self.inputs.recipe(job)
        if key is None:
            return None
        data = self.inputs.beside(job, key, _MOST_RECIPE_BYTES + 1)
        return None if data is None else (key, data)

    def _encoding(self, job: Job) -> str | None:
        charset = self.inputs.charset(job)
        if charset is None:
            return None
        encoding = encoding_named(charset)
        if encoding is None:
            raise _Rejected(
                "bad_encoding",
                f"The upload's Content-Type names the charset {charset!r}, which is none that can "
                "be read: save the file as UTF-8 and drop it again.",
            )
        return encoding


def _no_recipe(job: Job) -> str:
    folder = job.key.rpartition("/")[0]
    where = f"the folder {folder!r} or one above it" if folder else "the top folder of the inbox"
    return (
        f"A CSV needs a recipe, and after {WAIT_LAPS * WAIT_SECONDS} s there is no recipe.yaml (or "
        f"recipe.json) in {where}. Put one there and drop the file again."
    )


def _ranges(job: Job, split_bytes: int) -> list[dict[str, int | None]]:
    """A compressed file can only be read from its beginning, and so can a CSV, whose line breaks
    may lie within quotes: one range."""
    kind = named(job.key)
    if kind is None or kind.compressed or kind.format == "csv" or job.bytes <= split_bytes:
        return [{"range": 0, "start": 0, "end": None}]
    starts = [*range(0, job.bytes, split_bytes)]
    ends = [*starts[1:], None]
    return [
        {"range": number, "start": start, "end": end}
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
