"""Ends a job: its status for good, `summary.json`, and the event."""

from __future__ import annotations

from collections import Counter
from typing import cast

import msgspec

from functions.batch import layout
from functions.batch.ledger_ports import Ledger
from functions.batch.model import (
    FINAL_JOB_STATUSES,
    Job,
    JobStatus,
    Outputs,
    Reason,
    RowCounts,
    Shard,
    now,
)
from functions.batch.money import Bill
from functions.batch.money_ports import Budgets, Metrics
from functions.batch.outcomes import all_collected, range_results
from functions.batch.ports import Events, Objects, PieceObjects
from functions.batch.recipe import Route, StoredRecipe
from functions.batch.repeats.deduped import dedupe_report, find_copied, find_deduped, is_deduped
from functions.batch.spending.cache_report import cache_report
from functions.batch.spending.costs import cost, paid, spent, total
from functions.batch.spending.route_bills import routed
from functions.batch.tally import Problems

MOST_MODELS = 200
"""That an event names: it ends at 256 kB."""

_FROM_WORK = ("routes", "one_model", "cache", "dedupe")
"""Keys of the summary that are read from the job's work files, which are swept after its end."""


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Failure(msgspec.Struct, kw_only=True):
    """What the workflow caught, as Step Functions words it."""

    error: str = msgspec.field(name="Error", default="unknown")
    cause: str = msgspec.field(name="Cause", default="")


class Reporter(msgspec.Struct, kw_only=True):
    ledger: Ledger
    work: Objects
    results: PieceObjects
    events: Events
    budgets: Budgets
    metrics: Metrics

    def report(self, job_id: str, failure: Failure | None) -> JobStatus:
        """May run twice: a job that has ended keeps its end, and is only told again. What it did
        not spend is free for others before it ends."""
        job = self.ledger.job(job_id)
        shards = list(self.ledger.shards(job_id))
        self.budgets.settle(job_id, spent(shards))
        ended = job.status in FINAL_JOB_STATUSES
        if not ended:
            job.bill = total(shards)
            self._tell_left(job_id, shards)
            job = self._end(job, failure)
            self.metrics.job(job)
        key = layout.result(job_id, "summary.json")
        from_work = self._told_before(key) if ended else None
        if from_work is None:
            from_work = self._from_work(job, shards)
        summary = self._summary(job, shards, from_work)
        self.results.put(key, msgspec.json.format(msgspec.json.encode(summary), indent=2))
        for file in self.ledger.files(job_id):
            if file.deleted_at is None:
                self.ledger.note_left(file)
        if self.work.find(layout.cut(job_id)) is not None:
            self.results.abandon(layout.everything(job_id))
        self._publish(job, shards)
        return job.status

    def _told_before(self, key: str) -> dict[str, object] | None:
        """What only an earlier report can say, because the work files may be gone."""
        data = self.results.find(key)
        if data is None:
            return None
        before = _fields(data)
        return {name: before[name] for name in _FROM_WORK if name in before}

    def _from_work(self, job: Job, shards: list[Shard]) -> dict[str, object]:
        found = self.work.find(layout.recipe(job.job_id))
        recipe = None if found is None else msgspec.json.decode(found, type=StoredRecipe)
        return {
            **self._routes(job, recipe),
            **cache_report(recipe, shards),
            **self._dedupe(job, recipe),
        }

    def _tell_left(self, job_id: str, shards: list[Shard]) -> None:
        """Files of shards that nobody will clean any more; what a clean-up gave up, it has told
        itself."""
        uncleaned = {shard.shard_id for shard in shards if shard.status != "cleaned"}
        files = self.ledger.files(job_id) if uncleaned else ()
        left = Counter(
            file.provider
            for file in files
            if file.deleted_at is None and file.shard_id in uncleaned
        )
        for provider, count in left.items():
            self.metrics.left(provider, count)

    def _end(self, job: Job, failure: Failure | None) -> Job:
        unread = job.rows is None and job.cancel_requested
        job.rows = job.rows or RowCounts()
        if failure is not None:
            job.verdict = None if job.rows.succeeded else "failed"
            job.reason = Reason(
                "internal",
                f"A step of the job broke off in every execution ({failure.error}). What came back "
                "is in the results; the work files are kept, and the executions' histories say "
                "more.",
            )
        elif job.verdict is None and unread:
            job.reason = Reason("cancelled", "The job was cancelled before its rows were read.")
        elif job.verdict is None and not job.rows.total:
            job.verdict = "rejected"
            job.reason = Reason("empty", "The file has no rows, only blank lines.")
        elif job.verdict is None:
            job.reason = self._commonest(job)
        job.status = "cancelled" if unread and job.verdict is None else _status(job)
        job.finished_at = now()
        job.outputs = job.outputs or Outputs()
        key = layout.result(job.job_id, "summary.json")
        job.outputs.summary = self.results.uri(key)
        changes: dict[str, object] = {
            name: getattr(job, name)
            for name in (
                "status",
                "verdict",
                "reason",
                "finished_at",
                "outputs",
                "rows",
                "bill",
            )
        }
        self.ledger.update_job(job.job_id, changes)
        return job

    def _commonest(self, job: Job) -> Reason | None:
        """What most of the rows that did not succeed have in common."""
        assert job.rows is not None
        lost = job.rows.total - job.rows.succeeded
        problems = Problems()
        ranges = list(range_results(self.work, job.job_id))
        problems.merge(each.problems for each in ranges)
        problems.merge(each.problems for each in all_collected(self.work, job.job_id))
        copied = find_copied(self.work, job.job_id) if is_deduped(ranges) else None
        problems.merge([] if copied is None else [copied.problems])
        found = problems.commonest()
        if not lost or found is None:
            return None
        code, tally = found
        return Reason(
            code,
            f"{lost} of {job.rows.total} rows did not succeed; "
            f"{'all' if tally.count == lost else tally.count} of them: {tally.message}",
        )

    def _summary(
        self, job: Job, shards: list[Shard], from_work: dict[str, object]
    ) -> dict[str, object]:
        return {
            "job_id": job.job_id,
            "status": job.status,
            "reason": job.reason,
            "input": _input(job),
            "created_at": job.created_at,
            "finished_at": job.finished_at,
            "rows": job.rows,
            "rounds": max((shard.round for shard in shards if shard.batch_id), default=0),
            "batches": [
                {
                    "provider": shard.provider,
                    "model": shard.model,
                    "batch_id": shard.batch_id,
                    "rows": shard.rows,
                    "status": shard.provider_status,
                    "submitted_at": shard.submitted_at,
                    "ended_at": shard.ended_at,
                }
                for shard in shards
                if shard.batch_id
            ],
            "cost": cost(job.estimate, shards),
            **from_work,
            "provider_files": self._provider_files(job.job_id),
            "outputs": job.outputs,
        }

    def _routes(self, job: Job, recipe: StoredRecipe | None) -> dict[str, object]:
        """How many rows went which way, and for how much, where the recipe has routes; the last are
        those that none of them took. `one_model`: the same tokens at the prices of the recipe's
        own model."""
        routes = [] if recipe is None else recipe.routes()
        if recipe is None or not routes:
            return {}
        rows: Counter[int] = Counter()
        for each in range_results(self.work, job.job_id):
            rows.update(each.routes)
        bills, one = routed(all_collected(self.work, job.job_id))
        ways = [*enumerate(routes), (-1, Route(None, recipe.model))]
        return {
            "routes": [
                {
                    "when": route.when,
                    "model": route.model,
                    "rows": rows[number],
                    **paid(bills.get(number, Bill())),
                }
                for number, route in ways
            ],
            "one_model": {"model": recipe.model, **paid(one)},
        }

    def _dedupe(self, job: Job, recipe: StoredRecipe | None) -> dict[str, object]:
        if recipe is None or not recipe.dedupe:
            return {}
        deduped = find_deduped(self.work, job.job_id)
        return dedupe_report(deduped, find_copied(self.work, job.job_id))

    def _provider_files(self, job_id: str) -> dict[str, object]:
        files = list(self.ledger.files(job_id))
        left = [file for file in files if file.deleted_at is None]
        return {
            "created": len(files),
            "deleted": len(files) - len(left),
            "left": len(left),
            "left_items": [
                {
                    "provider": file.provider,
                    "kind": file.kind,
                    "id": file.id,
                    "error": file.error,
                }
                for file in left
            ],
        }

    def _publish(self, job: Job, shards: list[Shard]) -> None:
        detail_type = "Job Rejected" if job.status == "rejected" else "Job Completed"
        detail: dict[str, object] = {
            "job_id": job.job_id,
            "status": job.status,
            "reason": job.reason,
            "input": _input(job),
            "rows": job.rows,
            "cost": _told(cost(job.estimate, shards)),
            "outputs": job.outputs,
        }
        self.events.publish(detail_type, detail)


def _told(costs: dict[str, object]) -> dict[str, object]:
    """What of the costs an event can hold: of very many models the summary alone tells."""
    models = costs["by_model"]
    assert isinstance(models, dict)
    return (
        costs
        if len(cast("dict[str, object]", models)) <= MOST_MODELS
        else {
            **costs,
            "by_model": None,
        }
    )


def _input(job: Job) -> dict[str, object]:
    return {"bucket": job.bucket, "key": job.key, "bytes": job.bytes}


def _status(job: Job) -> JobStatus:
    rows = job.rows
    assert rows is not None
    if job.verdict is not None:
        return job.verdict
    if rows.succeeded == rows.total:
        return "succeeded"
    if job.cancel_requested:
        return "cancelled"
    return "partial" if rows.succeeded else "failed"
