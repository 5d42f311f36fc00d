"""`batchdrop watch JOB`: bars on a terminal, lines elsewhere, both from the ledger alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Annotated, Protocol, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from cli.errors import CliError
from cli.ledger import Ledger, LedgerReader, find_job
from cli.stack import DEFAULT_STACK, StackOption, find_stack
from cli.terminal import out, styled_status
from functions.batch.model import FINAL_JOB_STATUSES, Job, Shard
from functions.batch.money import Bill, shown
from functions.batch.spending import costs

INTERVAL = 2.0

_DONE = ("collected", "cleaned")
_WAITING = ("planned", "intent")


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment. Rows of running batches are what the provider reports: for display.

    `round` is that of the last batch made; the job's own counts the reconciliations.
    """

    job: Job
    round: int
    rows: int
    total_rows: int
    batches: int
    total_batches: int
    waiting: int
    spent: int | None = 0
    """Picodollars, of the batches that were collected; None: not known."""

    @property
    def final(self) -> bool:
        return self.job.status in FINAL_JOB_STATUSES

    @property
    def batches_text(self) -> str:
        if not self.total_batches:
            return ""
        text = f"{self.batches} of {self.total_batches} batches"
        return f"{text}, {self.waiting} waiting" if self.waiting else text

    @property
    def cost_text(self) -> str:
        """While it runs: its end tells what it cost."""
        estimate = self.job.estimate
        if estimate is None or self.final:
            return ""
        return f"{shown(self.spent)} of about {shown(estimate.expected)}"

    @property
    def expected_text(self) -> str:
        job = self.job
        if self.final or job.expected_at is None or job.expected_by is None:
            return ""
        return f"ends about {_local(job.expected_at)}, most likely by {_local(job.expected_by)}"

    def __str__(self) -> str:
        parts = [f"{self.job.job_id}: {self.job.status}"]
        if self.round > 1:
            parts.append(f"round {self.round}")
        if self.total_rows:
            parts.append(f"{self.rows} of {self.total_rows} rows")
        if self.batches_text:
            parts.append(self.batches_text)
        if self.cost_text:
            parts.append(self.cost_text)
        if self.expected_text:
            parts.append(self.expected_text)
        return ", ".join(parts)


class View(Protocol):
    def show(self, snapshots: Sequence[Snapshot]) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def watch(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB…", help="Job ids, or beginnings.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Follow jobs to their end. The exit code is 0 if every row of all of them succeeded."""
    found = find_stack(stack)
    ledger = LedgerReader(found.aws.client("dynamodb"), found.table)
    names = [find_job(ledger, job).job_id for job in jobs]
    raise typer.Exit(watch_jobs(ledger, list(dict.fromkeys(names))))


def watch_jobs(
    ledger: Ledger,
    job_ids: Sequence[str],
    *,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """The exit code: 0 if all jobs ended as `succeeded`, otherwise 1."""
    screen = console or out()
    view = Bars(screen) if screen.is_terminal else Lines(screen)
    with view:
        snapshots = {job_id: take_snapshot(ledger, job_id) for job_id in job_ids}
        view.show(list(snapshots.values()))
        while not all(each.final for each in snapshots.values()):
            sleep(INTERVAL)
            for job_id, before in snapshots.items():
                if not before.final:
                    snapshots[job_id] = take_snapshot(ledger, job_id)
            view.show(list(snapshots.values()))
    for snapshot in snapshots.values():
        _conclude(snapshot.job, screen)
    return 0 if all(each.job.status == "succeeded" for each in snapshots.values()) else 1


def take_snapshot(ledger: Ledger, job_id: str) -> Snapshot:
    job = ledger.job(job_id)
    if job is None:
        raise CliError(f"The job {job_id} is gone: its record has expired, or the stack is.")
    shards = ledger.shards(job_id)
    invalid = job.rows.invalid if job.rows else 0
    total = job.rows.total if job.rows else 0
    total = total or sum(shard.rows for shard in shards if shard.round == 1)
    rows = min(total, invalid + sum(_answered(shard) for shard in shards))
    if job.status in FINAL_JOB_STATUSES:
        rows = total
    return Snapshot(
        job=job,
        round=max((shard.round for shard in shards), default=0),
        rows=rows,
        total_rows=total,
        batches=sum(shard.status in _DONE for shard in shards),
        total_batches=len(shards),
        waiting=sum(shard.status in _WAITING for shard in shards),
        spent=costs.total(shards).paid,
    )


class Bars:
    """Two bars for each job, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[job]}"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        for each in snapshots:
            name = escape(each.job.job_id)
            status = styled_status(each.job.status)
            unit = f"rows, round {each.round}" if each.round > 1 else "rows"
            for text in (each.cost_text, each.expected_text):
                unit = f"{unit}, {text}" if text else unit
            self._bar(f"{name} rows", name, status, unit, each.rows, each.total_rows)
            self._bar(f"{name} batches", "", "", "batches", each.batches, each.total_batches)

    def _bar(self, key: str, job: str, text: str, unit: str, done: int, total: int) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(text, total=None, job=job, unit=unit)
        self._progress.update(
            self._tasks[key], description=text, completed=done, total=total or None, unit=unit
        )


class Lines:
    """A line for each change, where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        for each in snapshots:
            line = str(each)
            if self._said.get(each.job.job_id) != line:
                self._said[each.job.job_id] = line
                self._console.print(f"{datetime.now():%H:%M:%S} {line}", markup=False)


def _answered(shard: Shard) -> int:
    if shard.answered is not None:
        return shard.answered.succeeded + shard.answered.failed
    if shard.progress is not None:
        return min(shard.rows, shard.progress.completed + shard.progress.failed)
    return 0


def _local(moment: str) -> str:
    """The time of day here; with its date if that is another day."""
    here = datetime.fromisoformat(moment).astimezone()
    today = here.date() == datetime.now().astimezone().date()
    return f"{here:%H:%M}" if today else f"{here:%Y-%m-%d %H:%M}"


def _conclude(job: Job, console: Console) -> None:
    told = f"{escape(job.job_id)} {styled_status(job.status)}"
    if job.rows is not None:
        told += f": {job.rows.succeeded} of {job.rows.total} rows succeeded"
        told += f", {job.rows.failed} failed" if job.rows.failed else ""
        told += f", {job.rows.invalid} invalid" if job.rows.invalid else ""
    if job.bill is not None and job.bill.rows:
        told += f", {_cost(job.bill)}"
    if job.reason is not None:
        told += f" ({escape(job.reason.message)})"
    console.print(told)


def _cost(bill: Bill) -> str:
    if bill.unpriced:
        return f"{shown(bill.actual)} and {bill.unpriced} answers of unknown price"
    told = f"{shown(bill.paid)}, {shown(bill.saved)} saved"
    return f"{told}, {bill.at_list} at list price" if bill.at_list else told
