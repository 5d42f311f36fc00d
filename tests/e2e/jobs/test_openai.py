from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.deployment import Deployment, expected_job, upload_event
from tests.support.lines import body, digest, embedding, jsonl, line
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e


def test_two_thousand_rows_from_upload_to_summary(
    stack: Deployment, sim: Simulator, record_property: pytest.RecordProperty
) -> None:
    sim.reset(batch_seconds=5)
    rows = [line(f"id-{n % 900}", body(f"question {n}")) for n in range(1200)]
    rows += [line(None, body(f"question {n}", "gpt-5.4-mini")) for n in range(400)]
    rows += [embedding(f"\N{GRINNING FACE}{n}", f"text {n}") for n in range(400)]
    queue = stack.listen()
    started = time.monotonic()
    job = stack.drop("folder/a+b %41.jsonl", jsonl(rows))
    summary = stack.finish(job)
    seconds = time.monotonic() - started
    record_property("seconds", seconds)
    print(f"\n2,000 rows from upload to summary.json: {seconds:.1f} s")
    assert summary["status"] == "succeeded"
    assert summary["rows"] == {"total": 2000, "succeeded": 2000, "failed": 0, "invalid": 0}
    assert summary["input"]["key"] == "folder/a+b %41.jsonl"
    results = stack.results(job)
    assert [result["row"] for result in results] == list(range(2000))
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    for row, result in zip(rows[:1600], results, strict=False):
        assert result["text"].split()[1] == digest(row["body"])
    assert summary["provider_files"]["left"] == 0
    told = sim.ledger()["providers"]["openai"]
    assert told["files_left"] == []
    assert told["rows_answered"] == 2000
    kinds = [event["detail-type"] for event in stack.heard(queue)]
    assert kinds == ["Job Accepted", "Job Completed"]
    assert (
        list(stack.cloud.client("s3").list_objects_v2(Bucket=_work(stack)).get("Contents", []))
        == []
    )


def _work(stack: Deployment) -> str:
    names = [bucket["Name"] for bucket in stack.s3.list_buckets()["Buckets"]]
    (work,) = (name for name in names if "work" in name and name.startswith("main"))
    return work


def test_the_same_object_delivered_twice_is_one_job_and_one_batch(
    stack: Deployment, sim: Simulator
) -> None:
    data = jsonl([line("a", body("once"))])
    bucket = stack.outputs["InboxBucket"]
    job = stack.drop("twice.jsonl", data)
    stack.finish(job)
    head = stack.s3.head_object(Bucket=bucket, Key="twice.jsonl")
    event = upload_event(bucket, "again.jsonl", len(data), head["ETag"], "0055AED6DCD90281E5")
    stack.s3.put_object(Bucket=bucket, Key="again.jsonl", Body=data)
    queue = stack.intake_queue()
    for _ in range(2):
        stack.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    stack.finish(expected_job(event))
    stack.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    time.sleep(3)
    jobs = [each["job_id"] for each in stack.jobs() if each["key"] == "again.jsonl"]
    assert len(jobs) == 2  # the upload's own event, and the one that came three times
    deadline = time.monotonic() + 60
    while len(sim.ledger()["providers"]["openai"]["batches"]) < 3 and time.monotonic() < deadline:
        time.sleep(0.5)
    for each in jobs:
        stack.finish(each)
    assert len(sim.ledger()["providers"]["openai"]["batches"]) == 3


def test_two_quick_uploads_to_one_key_are_two_jobs(stack: Deployment, sim: Simulator) -> None:
    bucket = stack.outputs["InboxBucket"]
    for word in ("old", "new"):
        stack.s3.put_object(Bucket=bucket, Key="quick.jsonl", Body=jsonl([line(word, body(word))]))
    deadline = time.monotonic() + 60
    jobs: list[str] = []
    while len(jobs) < 2 and time.monotonic() < deadline:
        jobs = [each["job_id"] for each in stack.jobs() if each["key"] == "quick.jsonl"]
        time.sleep(0.2)
    for job in jobs:
        stack.finish(job)
    assert sorted(stack.results(job)[0]["custom_id"] for job in jobs) == ["new", "old"]


def test_files_that_are_no_jobs_and_files_that_cannot_be(stack: Deployment, sim: Simulator) -> None:
    bucket = stack.outputs["InboxBucket"]
    for key in ("x/_files/doc.pdf", "folder-only/"):
        stack.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    queue = stack.listen()
    drops = {
        "wrong_name": ("notes.txt", b"hello"),
        "empty": ("empty.jsonl", b""),
        "not_json": ("bad.jsonl", b"no\nyes\n"),
    }
    with ThreadPoolExecutor() as pool:
        jobs = {code: pool.submit(stack.drop, key, data) for code, (key, data) in drops.items()}
    found = {code: stack.finish(job.result()) for code, job in jobs.items()}
    assert {code: summary["status"] for code, summary in found.items()} == {
        "wrong_name": "rejected",
        "empty": "rejected",
        "not_json": "failed",
    }
    for code, summary in found.items():
        assert summary["reason"]["code"] == code
        assert summary["reason"]["message"]
    told = {event["detail"]["job_id"]: event for event in stack.heard(queue)}
    for summary in found.values():
        event = told[summary["job_id"]]
        assert event["detail"]["reason"] == summary["reason"]
    by_id = {job["job_id"]: job for job in stack.jobs()}
    assert by_id[found["empty"]["job_id"]]["status"] == "rejected"
    assert not [job for job in by_id.values() if "_files" in job["key"] or job["key"][-1] == "/"]


def test_a_deployment_without_a_key_says_which_command_sets_it(
    keyless: Deployment, stack: Deployment, sim: Simulator
) -> None:
    data = jsonl([line(f"{n}", body(f"q{n}")) for n in range(100)])
    job = keyless.drop("later.jsonl", data)
    summary = keyless.finish(job)
    assert summary["status"] == "failed"
    assert "batchdrop keys set openai" in summary["reason"]["message"]
    assert keyless.read(job, "failed.jsonl") == data
    assert not [each for each in stack.jobs() if each["key"] == "later.jsonl"]
    keyless.set_key("sk-second")
    job = keyless.drop("again/failed.jsonl.gz", gzip.compress(data))
    summary = keyless.finish(job)
    assert summary["status"] == "succeeded"
    assert sorted(batch["rows"] for batch in summary["batches"]) == [20, 40, 40]
    assert sim.ledger()["providers"]["openai"]["files_left"] == []


def test_a_job_can_be_cancelled_while_its_batch_runs(stack: Deployment, sim: Simulator) -> None:
    sim.reset(batch_seconds=40)
    job = stack.drop("stop.jsonl", jsonl([line(f"{n}", body(f"q{n}")) for n in range(60)]))
    deadline = time.monotonic() + 60
    while not sim.ledger()["providers"]["openai"]["batches"] and time.monotonic() < deadline:
        time.sleep(0.3)
    stack.send("Cancel Job", {"job_id": job})
    summary = stack.finish(job)
    assert summary["status"] == "cancelled"
    assert summary["batches"][0]["status"] == "cancelled"
    statuses = {
        (result["status"], (result["error"] or {}).get("code")) for result in stack.results(job)
    }
    assert statuses <= {("succeeded", None), ("failed", "cancelled")}
    told = sim.ledger()["providers"]["openai"]
    assert told["files_left"] == []
    assert told["rows_answered"] == summary["rows"]["succeeded"]


def test_a_job_whose_execution_is_aborted_is_cancelled_cleaned_and_reported(
    stack: Deployment, sim: Simulator
) -> None:
    sim.reset(batch_seconds=30)
    job = stack.drop("aborted.jsonl", jsonl([line(f"{n}", body(f"q{n}")) for n in range(20)]))
    deadline = time.monotonic() + 60
    while not sim.ledger()["providers"]["openai"]["batches"] and time.monotonic() < deadline:
        time.sleep(0.3)
    arn = stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    stack.cloud.client("stepfunctions").stop_execution(executionArn=f"{arn}:{job}")
    summary = stack.finish(job)
    assert summary["status"] == "cancelled"
    assert summary["provider_files"]["left"] == 0
    assert len(stack.results(job)) == 20
    told = sim.ledger()["providers"]["openai"]
    assert told["files_left"] == []
    assert len(told["batches"]) == 1
