"""`batchdrop jobs`, and what can be told a job: cancel, approve, refuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from cli.errors import CliError
from cli.ledger import LedgerReader, find_job
from cli.stack import DEFAULT_STACK, Stack, StackOption, find_stack
from cli.terminal import err, out, plain, styled_status
from functions.batch.model import FINAL_JOB_STATUSES, Job
from functions.batch.money import shown

COMMAND_SOURCE = "batchdrop.command"
_HEADER = ("job", "status", "rows", "failed", "cost", "created", "ended", "file")
_NUMBERS = ("rows", "failed", "cost")


def jobs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """List jobs, newest first."""
    found = find_stack(stack)
    ledger = LedgerReader(found.aws.client("dynamodb"), found.table)
    listed = list(islice(ledger.jobs(), limit))
    if as_json:
        plain(json.dumps([msgspec.to_builtins(job) for job in listed], indent=2))
    elif not listed:
        err().print("No jobs yet: `batchdrop submit FILE` starts one.")
    elif out().is_terminal:
        _print_table(listed)
    else:
        plain("\t".join(_HEADER))
        for job in listed:
            plain("\t".join(_cells(job)))


def cancel(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job id, or its beginning.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Cancel a job: what is finished is kept, what is not yet sent is not sent."""
    found = find_stack(stack)
    ledger = LedgerReader(found.aws.client("dynamodb"), found.table)
    target = find_job(ledger, job)
    if target.status == "cancelled":
        err().print(f"{target.job_id} is cancelled already.", markup=False)
        return
    if target.status in FINAL_JOB_STATUSES:
        raise CliError(f"{target.job_id} has ended as {target.status}: nothing is left to cancel.")
    send_command(found, "Cancel Job", {"job_id": target.job_id})
    err().print(
        f"{target.job_id} is being cancelled; `batchdrop watch {target.job_id}` shows its end.",
        markup=False,
    )


def approve(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job id, or its beginning.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Let a job start, or go on, that waits for an approval."""
    _answer(job, stack, command="Approve Job", told="is approved")


def refuse(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job id, or its beginning.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Refuse a job that waits for an approval: nothing more of it is sent."""
    _answer(job, stack, command="Refuse Job", told="is refused")


def _answer(job: str, stack: str, *, command: str, told: str) -> None:
    found = find_stack(stack)
    ledger = LedgerReader(found.aws.client("dynamodb"), found.table)
    target = find_job(ledger, job)
    if target.status != "awaiting_approval":
        raise CliError(f"{target.job_id} waits for no approval: it is {target.status}.")
    send_command(found, command, {"job_id": target.job_id})
    err().print(
        f"{target.job_id} {told}; `batchdrop watch {target.job_id}` shows what becomes of it.",
        markup=False,
    )


def send_command(stack: Stack, command: str, detail: dict[str, Any]) -> None:
    entry = {
        "Source": COMMAND_SOURCE,
        "DetailType": command,
        "Detail": json.dumps(detail),
        "EventBusName": stack.bus,
    }
    answer = stack.aws.client("events").put_events(Entries=[entry])
    if answer.get("FailedEntryCount"):
        why = answer["Entries"][0].get("ErrorMessage") or "no reason given"
        raise CliError(f"The event bus did not take the command: {why}; try again.")


def _print_table(listed: Sequence[Job]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in _HEADER:
        table.add_column(title, justify="right" if title in _NUMBERS else "left")
    for job in listed:
        cells = [escape(cell) for cell in _cells(job)]
        cells[1] = styled_status(job.status)
        table.add_row(*cells)
    out().print(table)


def _cells(job: Job) -> tuple[str, ...]:
    rows = str(job.rows.total) if job.rows else "-"
    failed = str(job.rows.failed + job.rows.invalid) if job.rows else "-"
    created = job.created_at[:16].replace("T", " ")
    return (job.job_id, job.status, rows, failed, cost_of(job), created, _end_of(job), job.key)


def _end_of(job: Job) -> str:
    """When it ended, or when half of such jobs have: in UTC, as all times of the list."""
    moment = job.finished_at or job.expected_at
    if moment is None:
        return "-"
    return ("" if job.finished_at else "~") + moment[:16].replace("T", " ")


def cost_of(job: Job) -> str:
    """What a job cost, or is expected to."""
    if job.status in FINAL_JOB_STATUSES:
        return "-" if job.bill is None else shown(job.bill.paid)
    return "-" if job.estimate is None else f"~{shown(job.estimate.expected)}"
