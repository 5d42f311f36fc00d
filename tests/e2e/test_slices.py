"""Results that are too much for one call, as a deployment says that they are."""

from __future__ import annotations

import json

import pytest

from tests.support.deployment import Deployment
from tests.support.lines import body, jsonl, line
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e


def test_large_results_are_put_together_side_by_side(keyless: Deployment, sim: Simulator) -> None:
    keyless.set_key("sk-slices")
    rows = [line(f"id-{n % 90}", body(f"question {n}", stream=n % 50 == 7)) for n in range(150)]
    job = keyless.drop("large.jsonl", jsonl(rows))
    summary = keyless.finish(job)
    assert summary["rows"] == {"total": 150, "succeeded": 147, "failed": 0, "invalid": 3}
    results = keyless.results(job)
    assert [result["row"] for result in results] == list(range(150))
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    failed = keyless.read(job, "failed.jsonl")
    assert failed == jsonl([row for n, row in enumerate(rows) if n % 50 == 7])
    assert visited(keyless, job) >= {"Cut", "Assemble slices", "Join slices"}
    assert "Assemble" not in visited(keyless, job)
    assert indexed(keyless, job) == list(range(150))
    uploads = keyless.s3.list_multipart_uploads(Bucket=keyless.outputs["ResultsBucket"])
    assert not uploads.get("Uploads")


def visited(stack: Deployment, job: str) -> set[str]:
    """The states that the job's execution was in."""
    execution = stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    pages = (
        stack.cloud.client("stepfunctions")
        .get_paginator("get_execution_history")
        .paginate(executionArn=f"{execution}:{job}")
    )
    events = [event for page in pages for event in page["events"]]
    return {
        event["stateEnteredEventDetails"]["name"]
        for event in events
        if "stateEnteredEventDetails" in event
    }


def indexed(stack: Deployment, job: str) -> list[int]:
    pages = stack.dynamodb.get_paginator("scan").paginate(
        TableName=stack.outputs["JobsTable"],
        FilterExpression="begins_with(pk, :pk)",
        ExpressionAttributeValues={":pk": {"S": f"ROW#{job}#"}},
    )
    items = [item for page in pages for item in page["Items"]]
    for item in items:
        assert json.loads(item["answer"]["S"])["row"] == int(item["row"]["N"])
    return sorted(int(item["row"]["N"]) for item in items)
