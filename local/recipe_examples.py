"""The demo's rows of data: what is dropped, and what has to be in `results.csv` afterwards."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

ROWS = 200
"""Of each file: enough for a dirty row of several kinds, few enough for a demo."""

DATA = (
    "tickets/tickets.csv",
    "changes/changes.jsonl",
    "corpus/corpus.jsonl",
    "phrases/phrases.csv",
)
"""The first is dropped before its recipe."""

_MISSING = ("404", "NoSuchKey", "NotFound")
LOOK_SECONDS = 0.1
MOST_SECONDS = 60.0


@contextmanager
def uploading_after(
    s3: Any, bucket: str, awaited: str, path: Path, key: str, *, seconds: float = MOST_SECONDS
) -> Generator[None]:
    """Uploads `path` as `key` as soon as the bucket has `awaited`, which the block has to put
    there. Raises what the upload raised; `TimeoutError` if there was nothing to wait for."""
    stopped = threading.Event()
    failures: list[Exception] = []

    def upload() -> None:
        try:
            if _await(s3, bucket, awaited, stopped, seconds):
                s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=upload, daemon=True)
    thread.start()
    try:
        yield
        thread.join()
    finally:
        stopped.set()
    if failures:
        raise failures[0]


def _await(s3: Any, bucket: str, key: str, stopped: threading.Event, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _MISSING:
                raise
        else:
            return True
        if time.monotonic() > deadline:
            raise TimeoutError(f"{key} was not uploaded within {seconds:g} s.")
        if stopped.wait(LOOK_SECONDS):
            return False


def read_sheet(folder: Path) -> list[list[str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as table:
        return list(csv.reader(table))


def sheet_problem(folder: Path) -> str | None:
    """What is wrong with a job's `results.csv`, held to its `results.jsonl`; None: nothing."""
    if not (folder / "results.csv").is_file():
        return "there is no results.csv"
    columns, *rows = read_sheet(folder) or [[]]
    if columns[-2:] != ["error", "cost_usd"] or "status" not in columns:
        return f"the columns of results.csv are {columns}"
    with (folder / "results.jsonl").open("rb") as lines:
        results = [json.loads(line) for line in lines]
    status = columns.index("status")
    if [row[status] for row in rows] != [result["status"] for result in results]:
        return "results.csv does not have the rows of results.jsonl, in their order"
    for row, result in zip(rows, results, strict=True):
        answered = any(row[status + 1 : -2])
        if answered != (result["status"] == "succeeded"):
            return f"results.csv has {row} for row {result['row']}, which {result['status']}"
        if answered and row[0] != result["custom_id"]:
            return f"results.csv has {row[0]!r} where {result['custom_id']!r} belongs"
    return None


def head_of_sheet(folder: Path, count: int = 3, width: int = 28) -> list[str]:
    """The first records, cells cut to `width` characters; those that were answered, and the
    header."""
    columns, *rows = read_sheet(folder)
    status = columns.index("status")
    good = [row for row in rows if row[status] == "succeeded"][:count]
    return [" | ".join(_cut(cell, width) for cell in record) for record in (columns, *good)]


def _cut(cell: str, width: int) -> str:
    plain = " ".join(cell.split())
    return plain if len(plain) <= width else f"{plain[: width - 1]}…"
