"""What happens to a deployment in its life: messages that cannot be read, and a new release."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.deployment import Deployment, expected_job, upload_event
from tests.support.lines import body, jsonl, line
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e

BATCH_SECONDS = 60


def test_a_poison_message_is_set_aside_and_can_be_redriven(
    stack: Deployment, sim: Simulator
) -> None:
    """The queue's time-outs are six minutes: here they are cut to a second."""
    bucket, data = stack.outputs["InboxBucket"], jsonl([line("a", body("redriven"))])
    queue, dead = stack.intake_queue(), stack.outputs["IntakeDeadLetterQueueUrl"]
    stack.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    poison = {"detail": {"bucket": {}, "object": {"key": "poison.jsonl"}}}
    stack.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(poison))
    fine = stack.drop("beside-the-poison.jsonl", data)

    def dead_letter() -> dict[str, str]:
        answer = stack.sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1)
        return next(iter(answer.get("Messages", [])), {})

    deadline = time.monotonic() + 120
    found = dead_letter()
    while not found and time.monotonic() < deadline:
        found = dead_letter()
    assert json.loads(found["Body"]) == poison
    assert stack.finish(fine)["status"] == "succeeded"
    stack.sqs.delete_message(QueueUrl=dead, ReceiptHandle=found["ReceiptHandle"])

    uploaded = stack.drop("redriven.jsonl", data)
    etag = stack.s3.head_object(Bucket=bucket, Key="redriven.jsonl")["ETag"]
    event = upload_event(bucket, "redriven.jsonl", len(data), etag, "0055AED6DCD90281E7")
    stack.sqs.send_message(QueueUrl=dead, MessageBody=json.dumps(event))
    moved = dead_letter()
    stack.sqs.send_message(QueueUrl=queue, MessageBody=moved["Body"])
    stack.sqs.delete_message(QueueUrl=dead, ReceiptHandle=moved["ReceiptHandle"])
    for job in (uploaded, expected_job(event)):
        assert stack.finish(job)["status"] == "succeeded"
    assert dead_letter() == {}


def test_a_job_goes_on_while_a_new_release_is_deployed(stack: Deployment, sim: Simulator) -> None:
    sim.reset(batch_seconds=BATCH_SECONDS)
    rows = [line(f"{n}", body(f"across releases {n}")) for n in range(50)]
    rows += [line("again", body("[[sim:status=500,times=1]] across releases"))]
    job = stack.drop("across.jsonl", jsonl(rows))
    deadline = time.monotonic() + 60
    while not sim.ledger()["providers"]["openai"]["batches"] and time.monotonic() < deadline:
        time.sleep(0.5)
    settings = {"max_poll_seconds": "500"}
    outputs = stack.cloud.deploy("Main", {**stack.context, **settings})
    assert outputs == stack.outputs
    assert stack.read(job, "summary.json") is None, "the job was over before the release was out"
    sim.admin("settings", {"batch_seconds": 2})
    summary = stack.finish(job)
    assert summary["rows"] == {"total": 51, "succeeded": 51, "failed": 0, "invalid": 0}
    assert summary["rounds"] == 2
    told = sim.ledger()["providers"]["openai"]
    assert told["files_left"] == []
    answered = [(batch["name"]["shard_id"], batch["answered"]) for batch in told["batches"]]
    assert answered == [("01-00001", 50), ("02-00001", 1)]
    assert {batch["name"]["job_id"] for batch in told["batches"]} == {job}
