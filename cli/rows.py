"""`batchdrop row JOB ID`: one row's line of `results.jsonl`, from the ledger's index."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import typer

from cli.errors import CliError
from cli.ledger import LedgerReader, find_job
from cli.stack import DEFAULT_STACK, Stack, StackOption, find_stack
from cli.terminal import plain
from functions.batch.model import FINAL_JOB_STATUSES, Job


def row(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job id, or its beginning.")],
    custom_id: Annotated[str, typer.Argument(metavar="ID", help="The row's custom_id.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Print one row's answer, as its line of results.jsonl."""
    found = find_stack(stack)
    target = find_job(LedgerReader(found.aws.client("dynamodb"), found.table), job)
    plain(answer(found, target, custom_id))


def answer(stack: Stack, job: Job, custom_id: str) -> str:
    """One GetItem; a long answer lies in the results and is read from there."""
    digest = hashlib.sha256(custom_id.encode()).hexdigest()
    key = {"pk": {"S": f"ROW#{job.job_id}#{digest}"}, "sk": {"S": "ROW"}}
    client = stack.aws.client("dynamodb")
    item: dict[str, Any] | None = client.get_item(TableName=stack.table, Key=key).get("Item")
    if item is None:
        raise CliError(_missing(job, custom_id))
    if "answer" in item:
        return item["answer"]["S"]
    reference = item["reference"]["M"]
    bucket, _, name = reference["results"]["S"].removeprefix("s3://").partition("/")
    first = int(reference["offset"]["N"])
    last = first + int(reference["length"]["N"]) - 1
    body: Any = stack.aws.client("s3").get_object(
        Bucket=bucket, Key=name, Range=f"bytes={first}-{last}"
    )["Body"]
    return body.read().decode().rstrip("\n")


def _missing(job: Job, custom_id: str) -> str:
    if job.status not in FINAL_JOB_STATUSES:
        return (
            f"{job.job_id} is {job.status}: its rows are indexed when it ends; "
            f"`batchdrop watch {job.job_id}` waits for it."
        )
    return (
        f"{job.job_id} has no row {custom_id} in its index: the id is another one, or the job's "
        "rows were not indexed (`index_results`, `output.index` in a recipe). "
        f"`batchdrop results {job.job_id}` downloads all of them."
    )
