from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.aws.metrics import EmbeddedMetrics
from functions.aws.outside import JobWorkflow
from functions.batch.model import Answered, Job, RowCounts, Shard
from functions.batch.money import DOLLAR, Bill


class States:
    def __init__(self, code: str | None = None) -> None:
        self.code = code
        self.sent: list[dict[str, Any]] = []

    def send_task_success(self, **call: Any) -> None:
        self.sent.append(call)
        if self.code is not None:
            answer: Any = {"Error": {"Code": self.code, "Message": "no"}}
            raise ClientError(answer, "SendTaskSuccess")


def test_a_state_that_waits_is_woken() -> None:
    states = States()
    assert JobWorkflow(states).wake("token")
    assert states.sent == [{"taskToken": "token", "output": "{}"}]


@pytest.mark.parametrize("code", ["TaskDoesNotExist", "TaskTimedOut", "InvalidToken"])
def test_nobody_waits_for_an_old_token(code: str) -> None:
    assert not JobWorkflow(States(code)).wake("old")


def test_other_trouble_is_passed_on() -> None:
    with pytest.raises(ClientError):
        JobWorkflow(States("ThrottlingException")).wake("token")


def shard(**fields: Any) -> Shard:
    return Shard(
        job_id="j",
        shard_id="01-00001",
        round=1,
        number=1,
        provider="openai",
        endpoint="/e",
        model="gpt-5-mini",
        rows=3,
        bytes=1,
        batch_id="batch_1",
        **fields,
    )


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    [line] = capsys.readouterr().out.splitlines()
    return json.loads(line)


def names(line: dict[str, Any]) -> set[str]:
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Batchdrop"
    return {metric["Name"] for metric in directive["Metrics"]}


def test_a_batch_is_told_by_provider_and_model(capsys: pytest.CaptureFixture[str]) -> None:
    made = shard(
        submitted_at="2026-11-22T01:00:00.000Z",
        ended_at="2026-11-22T01:10:00.000Z",
        answered=Answered(succeeded=2, failed=1),
        bill=Bill(rows=3, input_tokens=10, output_tokens=5, actual=DOLLAR, listed=3 * DOLLAR),
    )
    EmbeddedMetrics().batch(made)
    line = told(capsys)
    assert (line["provider"], line["model"]) == ("openai", "gpt-5-mini")
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert {"provider", "model"} <= set(directive["Dimensions"][0])
    assert names(line) == {
        "Batches",
        "RowsSucceeded",
        "RowsFailed",
        "RowsAgain",
        "InputTokens",
        "CachedInputTokens",
        "OutputTokens",
        "UnpricedRows",
        "Cost",
        "ListCost",
        "Saved",
        "Turnaround",
    }
    found = {name: line[name] for name in ("RowsSucceeded", "Cost", "ListCost", "Saved")}
    assert found == {"RowsSucceeded": [2.0], "Cost": [1.0], "ListCost": [3.0], "Saved": [2.0]}
    assert line["Turnaround"] == [600.0]
    assert line["job_id"] == "j"


def test_two_batches_are_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of the first is left for the second: functions are used again."""
    metrics = EmbeddedMetrics()
    metrics.batch(shard())
    first = told(capsys)
    metrics.batch(shard(bill=Bill(input_tokens=4)))
    second = told(capsys)
    assert "Turnaround" not in names(first)
    assert (first["InputTokens"], second["InputTokens"]) == ([0.0], [4.0])


def test_a_job_is_told_by_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(job_id="j", bucket="b", key="k", bytes=1, created_at="x", status="partial")
    EmbeddedMetrics().job(job)
    line = told(capsys)
    assert (line["status"], names(line)) == ("partial", {"Jobs"})
    job.rows = RowCounts(total=7)
    EmbeddedMetrics().job(job)
    assert told(capsys)["Rows"] == [7.0]


def test_what_is_left_is_told_by_provider(capsys: pytest.CaptureFixture[str]) -> None:
    EmbeddedMetrics().left("anthropic", 2)
    line = told(capsys)
    assert (line["provider"], names(line)) == ("anthropic", {"ProviderFilesLeft"})
    assert line["ProviderFilesLeft"] == [2.0]
