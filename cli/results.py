"""`batchdrop results JOB`: what a job left, to a folder or, the results alone, to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from cli.errors import CliError, error_code
from cli.ledger import LedgerReader, find_job
from cli.stack import DEFAULT_STACK, Stack, StackOption, find_stack
from cli.terminal import err, plain
from functions.batch.model import FINAL_JOB_STATUSES, Job

_CHUNK = 1 << 20
_MISSING = ("404", "NoSuchKey", "NotFound")


def results(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job id, or its beginning.")],
    to: Annotated[
        str, typer.Option("--out", "-o", help="A folder, or - for results.jsonl on stdout.")
    ] = "",
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Download a finished job's files; print their paths."""
    found = find_stack(stack)
    target = find_job(LedgerReader(found.aws.client("dynamodb"), found.table), job)
    if target.status not in FINAL_JOB_STATUSES:
        raise CliError(
            f"{target.job_id} is {target.status}: its results come when it ends; "
            f"`batchdrop watch {target.job_id}` waits for it."
        )
    if to == "-":
        stream_results(found, target)
        return
    for path in download(found, target, Path(to or target.job_id)):
        plain(str(path))


def download(stack: Stack, job: Job, folder: Path) -> list[Path]:
    """A file appears under its name only when it is whole; one of an earlier call is replaced."""
    prefix = f"{job.job_id}/"
    keys = sorted(_keys(stack, prefix))
    if f"{prefix}summary.json" not in keys:
        raise CliError(
            f"{job.job_id} has no summary in s3://{stack.results}/{prefix}: it is just being "
            "written, or the results were kept for as long as the stack says and are deleted."
        )
    written: list[Path] = []
    for key in keys:
        relative = PurePosixPath(key.removeprefix(prefix))
        if ".." in relative.parts or relative.is_absolute():
            raise CliError(f"s3://{stack.results}/{key} has a name that leaves the folder.")
        written.append(_fetch(stack, key, folder / relative))
    return written


def stream_results(stack: Stack, job: Job) -> None:
    try:
        body: Any = stack.aws.client("s3").get_object(
            Bucket=stack.results, Key=f"{job.job_id}/results.jsonl"
        )["Body"]
    except ClientError as error:
        if error_code(error) in _MISSING:
            why = f" ({job.reason.message})" if job.reason else ""
            raise CliError(
                f"{job.job_id} ended as {job.status} and has no results.jsonl{why}: "
                f"`batchdrop results {job.job_id}` downloads what there is."
            ) from error
        raise
    for chunk in body.iter_chunks(_CHUNK):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    err().print(f"{job.job_id} {job.status}", markup=False)


def _keys(stack: Stack, prefix: str) -> Iterator[str]:
    pages = stack.aws.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=stack.results, Prefix=prefix):
        for each in page.get("Contents", []):
            if not each["Key"].endswith("/"):
                yield each["Key"]


def _fetch(stack: Stack, key: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        stack.aws.client("s3").download_file(stack.results, key, str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
