"""Puts a job's results together: one line for each input row, in input order.

In one call, which takes what `outgrown.ONE_CALL` says; a larger job goes in slices.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Literal

import msgspec

from functions.batch import layout
from functions.batch.depth import headroom
from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES, Outputs, RowCounts
from functions.batch.outcomes import all_collected, range_results
from functions.batch.ports import Objects
from functions.batch.reading.unpacking import named
from functions.batch.recipe import StoredRecipe
from functions.batch.repeats.deduped import is_deduped
from functions.batch.repeats.fanning import finish_unsent
from functions.batch.results.result_files import (
    Rows,
    columns_of,
    indexed,
    result_lines,
    write_failed,
    write_invalid,
)

IndexResults = Literal["auto", "on", "off"]
INDEX_UP_TO = 10_000
"""Rows of a job up to which `auto` writes an index."""


class Assembler(msgspec.Struct, kw_only=True):
    ledger: Ledger
    work: Objects
    results: Objects
    index_results: IndexResults
    retention_days: int

    @headroom(2)
    def assemble(self, job_id: str) -> None:
        """May run twice: every output appears whole, with the same content."""
        job = self.ledger.job(job_id)
        if job.status in FINAL_JOB_STATUSES or job.verdict is not None:
            return
        if job.status != "planning":
            self.ledger.update_job(job_id, {"status": "assembling"})
        rows = all_rows(job_id, job.key, self.work)
        recipe = stored_recipe(job_id, self.work)
        outputs = Outputs()
        counts = RowCounts(total=rows.count)
        if counts.total:
            outputs.results = self._write_results(job_id, rows, counts, recipe)
            if recipe is not None and recipe.csv:
                outputs.csv = self.results.uri(layout.result(job_id, "results.csv"))
        if rows.failed:
            key = layout.result(job_id, failed_name(is_csv=rows.is_csv))
            with self.results.writer(key) as out:
                write_failed(rows, self.work, out)
            outputs.failed = self.results.uri(key)
        if rows.unreadable:
            key = layout.result(job_id, "invalid.txt")
            with self.results.writer(key) as out:
                write_invalid(rows, self.work, out)
            outputs.invalid = self.results.uri(key)
        self.ledger.update_job(job_id, {"rows": counts, "outputs": outputs})

    def _write_results(
        self, job_id: str, rows: Rows, counts: RowCounts, recipe: StoredRecipe | None
    ) -> str:
        key = layout.result(job_id, "results.jsonl")
        with self.results.writer(key) as out, ExitStack() as stack:
            csv = None
            if recipe is not None and recipe.csv:
                other = self.results.writer(layout.result(job_id, "results.csv"))
                csv = stack.enter_context(other)
            lines = result_lines(rows, self.work, recipe, counts, csv)
            if is_indexed(self.index_results, rows.count, recipe):
                expires_at = int(time.time()) + self.retention_days * 86_400
                index = indexed(lines, out)
                self.ledger.index_rows(job_id, self.results.uri(key), index, expires_at)
            else:
                for _, line in lines:
                    out.write(line)
        return self.results.uri(key)


def all_rows(job_id: str, key: str, work: Objects) -> Rows:
    """`key`: of the input."""
    ranges = list(range_results(work, job_id))
    collected = list(all_collected(work, job_id))
    kind = named(key)
    rows = Rows(
        spans=[each.span for each in ranges],
        parts=[part for each in ranges for part in each.parts],
        failed=[part for each in ranges for part in each.failed],
        unreadable=[part for each in ranges for part in each.unreadable],
        records=[part for each in ranges for part in each.records],
        columns=columns_of(ranges),
        is_csv=kind is not None and kind.format == "csv",
    )
    rows.parts += [part for each in collected for part in each.parts]
    rows.failed += [part for each in collected for part in each.failed_parts]
    if is_deduped(ranges):
        unsent = finish_unsent(job_id, rows.parts, ranges, work)
        rows.parts += unsent.parts
        rows.failed += unsent.failed_parts
    return rows


def stored_recipe(job_id: str, work: Objects) -> StoredRecipe | None:
    found = work.find(layout.recipe(job_id))
    return None if found is None else msgspec.json.decode(found, type=StoredRecipe)


def failed_name(*, is_csv: bool) -> str:
    return "failed.csv" if is_csv else "failed.jsonl"


def is_indexed(index_results: IndexResults, rows: int, recipe: StoredRecipe | None) -> bool:
    """`rows`: of the whole job."""
    if recipe is not None and recipe.index is not None:
        return recipe.index
    return index_results == "on" or (index_results == "auto" and rows <= INDEX_UP_TO)
