from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from cli.stack import Stack
from functions.aws.ledger import INLINE_BYTES, DynamoLedger
from functions.batch.model import Job
from functions.batch.rows import IndexedRow

Run = Callable[..., Any]
Make = Callable[..., Job]


def line(row: int, custom_id: str, text: str = "x") -> bytes:
    return json.dumps({"row": row, "custom_id": custom_id, "text": text}).encode() + b"\n"


def test_a_row_is_printed_wherever_its_answer_lies(
    stack: Stack, writer: DynamoLedger, ended_job: Make, run: Run
) -> None:
    writer.create_job(ended_job("job-1"))
    lines = [line(0, "a b/\u00e9"), line(1, "long", "y" * INLINE_BYTES), line(2, "c")]
    stack.aws.client("s3").put_object(
        Bucket=stack.results, Key="job-1/results.jsonl", Body=b"".join(lines)
    )
    offsets = [0, len(lines[0]), len(lines[0]) + len(lines[1])]
    rows = [
        IndexedRow(number, json.loads(each)["custom_id"], each, offset)
        for number, (each, offset) in enumerate(zip(lines, offsets, strict=True))
    ]
    uri = f"s3://{stack.results}/job-1/results.jsonl"
    writer.index_rows("job-1", uri, rows, int(time.time()) + 1_000)
    for each, custom_id in zip(lines, ("a b/\u00e9", "long", "c"), strict=True):
        result = run("row", "job", custom_id)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == json.loads(each)
        assert result.stdout.count("\n") == 1


def test_a_row_that_is_not_there_is_explained(
    stack: Stack, writer: DynamoLedger, ended_job: Make, new_job: Make, run: Run
) -> None:
    writer.create_job(ended_job("ended"))
    writer.create_job(new_job("going", status="running"))
    result = run("row", "ended", "nobody")
    assert result.exit_code == 1
    assert "has no row nobody in its index" in result.stderr.replace("\n", " ")
    result = run("row", "going", "a")
    assert result.exit_code == 1
    assert "its rows are indexed when it ends" in result.stderr.replace("\n", " ")
