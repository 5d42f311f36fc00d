"""`batchdrop submit FILE…`: uploads files to the inbox and names the jobs that they became."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from cli.errors import CliError
from cli.ledger import Ledger, LedgerReader, timestamp
from cli.stack import DEFAULT_STACK, Stack, StackOption, find_stack
from cli.terminal import err, plain
from cli.watch import watch_jobs
from functions.batch.model import Job
from functions.batch.reading.intake import is_job
from functions.batch.reading.tables import encoding_named
from functions.batch.reading.unpacking import named

WAIT_SECONDS = 60.0
_LOOK_EVERY = 0.5


@dataclass(frozen=True)
class Uploaded:
    """An object of the inbox. `at` is the bucket's clock, which knows whole seconds."""

    bucket: str
    key: str
    etag: str
    version_id: str | None
    at: datetime
    known: frozenset[str]


def submit(
    files: Annotated[
        list[Path],
        typer.Argument(help="Input files (.jsonl, .ndjson, .csv, each also .gz) and recipes."),
    ],
    prefix: Annotated[str, typer.Option(help="Folder of the inbox to upload to.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the jobs to their end.")] = False,
    charset: Annotated[
        str, typer.Option(help="Encoding of CSV files that are not UTF-8, such as windows-1252.")
    ] = "",
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Upload files to the inbox; print the id of each file's job."""
    planned = plan_uploads(files, prefix)
    found = find_stack(stack)
    ledger = LedgerReader(found.aws.client("dynamodb"), found.table)
    if charset and encoding_named(charset) is None:
        raise CliError(f"{charset}: there is no such encoding; try windows-1252 or utf-16.")
    uploads = [_upload(found, ledger, path, key, charset) for path, key in planned]
    jobs: list[str] = []
    for upload in uploads:
        if is_job(upload.key):
            job = await_job(ledger, upload, claimed=jobs)
            jobs.append(job.job_id)
            plain(job.job_id)
    if watch and jobs:
        raise typer.Exit(watch_jobs(ledger, jobs))


def plan_uploads(files: Sequence[Path], prefix: str) -> list[tuple[Path, str]]:
    """Paths and their keys, recipes first, because a job looks for its recipe when it starts."""
    folder = prefix.strip("/")
    planned = [(path, f"{folder}/{path.name}" if folder else path.name) for path in files]
    taken: dict[str, Path] = {}
    for path, key in planned:
        if not path.is_file():
            raise CliError(f"{path}: there is no such file.")
        if key in taken:
            raise CliError(
                f"{taken[key]} and {path} would both become {key} in the inbox: submit them one by "
                "one, or with another --prefix."
            )
        taken[key] = path
        if is_job(key) and named(key) is None:
            raise CliError(
                f"{path}: not an input: its name must end in .jsonl, .ndjson or .csv, "
                "each optionally .gz."
            )
    return sorted(planned, key=lambda each: is_job(each[1]))


def await_job(
    ledger: Ledger,
    upload: Uploaded,
    *,
    claimed: Iterable[str] = (),
    timeout: float = WAIT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Job:
    """The job that the upload became. Intake derives its id from the event, which is not known
    here; so it is found by the object's version, or where an event has none, by its ETag."""
    deadline = time.monotonic() + timeout
    while True:
        candidates = [
            job
            for job in ledger.jobs(since=upload.at)
            if _is_of(job, upload) and job.job_id not in claimed
        ]
        if candidates:
            return min(candidates, key=lambda job: job.created_at)
        if time.monotonic() >= deadline:
            raise CliError(
                f"{upload.key} is uploaded, but after {timeout:.0f} seconds there is no job for "
                "it: look at `batchdrop jobs` in a moment, then at the intake's dead-letter queue."
            )
        sleep(_LOOK_EVERY)


def _is_of(job: Job, upload: Uploaded) -> bool:
    if (job.bucket, job.key) != (upload.bucket, upload.key) or job.job_id in upload.known:
        return False
    if job.version_id and upload.version_id:
        return job.version_id == upload.version_id
    return (job.etag or "").strip('"') == upload.etag and job.created_at >= timestamp(upload.at)


def _upload(stack: Stack, ledger: Ledger, path: Path, key: str, charset: str) -> Uploaded:
    s3 = stack.aws.client("s3")
    known = frozenset(job.job_id for job in _recent_jobs(ledger) if job.key == key)
    console = err()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        bar = bars.add_task(f"Uploading {path.name}", total=path.stat().st_size)

        def advance(sent: int) -> None:
            bars.advance(bar, sent)

        declared = {"ContentType": f"text/csv; charset={charset}"} if charset else {}
        s3.upload_file(str(path), stack.inbox, key, ExtraArgs=declared, Callback=advance)
    stored: dict[str, Any] = s3.head_object(Bucket=stack.inbox, Key=key)
    console.print(f"{path} → s3://{stack.inbox}/{key}", markup=False)
    return Uploaded(
        bucket=stack.inbox,
        key=key,
        etag=str(stored["ETag"]).strip('"'),
        version_id=stored.get("VersionId"),
        at=stored["LastModified"],
        known=known,
    )


def _recent_jobs(ledger: Ledger) -> Iterable[Job]:
    """Earlier uploads of the same content must not be taken for the new one's job."""
    return ledger.jobs(since=datetime.now().astimezone() - timedelta(minutes=10))
