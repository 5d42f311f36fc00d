"""Many uploads within a minute: none is lost, and none becomes two jobs.

In the embedded cloud each call of a function that runs at the same time is a process of its own.
So a thousand uploads go through intake with a job workflow that ends at once; and the jobs that go
through the whole workflow, a hundred, or as many as `FLOOD_FILES` says (`make flood`: a thousand),
are let into it a few at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import pytest

from tests.support.deployment import FINAL, Deployment
from tests.support.lines import body, jsonl, line
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e

UPLOADS = 1_000
WHOLE = int(os.environ.get("FLOOD_FILES", "100"))
WITH_ROWS = 50
"""Every so many files has a row to be answered; the others are empty, and so rejected."""

AT_ONCE = 4
A_MINUTE = 60.0


def upload(stack: Deployment, files: dict[str, bytes]) -> float:
    """The seconds that it took."""
    started = time.monotonic()

    def put(item: tuple[str, bytes]) -> None:
        stack.s3.put_object(Bucket=stack.outputs["InboxBucket"], Key=item[0], Body=item[1])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, files.items()))
    return time.monotonic() - started


def jobs_below(stack: Deployment, prefix: str) -> list[dict[str, Any]]:
    return [job for job in stack.jobs() if job["key"].startswith(prefix)]


def started_jobs(stack: Deployment) -> set[str]:
    """The names of all executions of the job workflow: each is its job's id."""
    states = stack.cloud.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=stack.outputs["StateMachineArn"]
    )
    return {execution["name"] for page in pages for execution in page["executions"]}


def no_dead_letters(stack: Deployment) -> bool:
    dead = stack.outputs["IntakeDeadLetterQueueUrl"]
    return not stack.sqs.receive_message(QueueUrl=dead).get("Messages")


ENDS_AT_ONCE: dict[str, Any] = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


@contextmanager
def job_workflow(
    stack: Deployment, changed: Callable[[dict[str, Any]], dict[str, Any]]
) -> Generator[None]:
    states = stack.cloud.client("stepfunctions")
    arn = stack.outputs["StateMachineArn"]
    before = states.describe_state_machine(stateMachineArn=arn)["definition"]
    after = json.dumps(changed(json.loads(before)))
    states.update_state_machine(stateMachineArn=arn, definition=after)
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=arn, definition=before)


class Gate:
    """An activity that stands before the first state of the job workflow: executions begin and
    wait there, until those before them have ended."""

    def __init__(self, stack: Deployment) -> None:
        self._stack = stack
        self._states = stack.cloud.client("stepfunctions")
        self.arn = self._states.create_activity(name="gate")["activityArn"]

    def before(self, definition: dict[str, Any]) -> dict[str, Any]:
        gate = {
            "Type": "Task",
            "Resource": self.arn,
            "ResultPath": None,
            "Next": definition["StartAt"],
        }
        return {**definition, "StartAt": "Gate", "States": {"Gate": gate, **definition["States"]}}

    def let_in(self, count: int, deadline: float) -> None:
        """Returns when so many have ended; raises if one does not come, or does not end."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._let_one_in, repeat(deadline, count)))

    def _let_one_in(self, deadline: float) -> None:
        task = self._states.get_activity_task(activityArn=self.arn)
        assert task.get("taskToken"), "an upload became no execution"
        self._states.send_task_success(taskToken=task["taskToken"], output="{}")
        job = json.loads(task["input"])["job_id"]
        while self._stack.job(job)["status"] not in FINAL:
            assert time.monotonic() < deadline, f"{job} does not end"
            time.sleep(0.1)


def test_a_thousand_uploads_within_a_minute_are_taken_in(
    troubled: Deployment, record_property: Callable[[str, object], None]
) -> None:
    files = {f"intake/{n:04}.jsonl": b"" for n in range(UPLOADS)}
    before = started_jobs(troubled)
    with job_workflow(troubled, lambda _: ENDS_AT_ONCE):
        uploading = upload(troubled, files)
        uploaded = time.monotonic()
        while len(started_jobs(troubled) - before) < UPLOADS and time.monotonic() < uploaded + 120:
            time.sleep(1)
        waiting = time.monotonic() - uploaded
    record_property("seconds", (uploading, waiting))
    print(f"\n{UPLOADS} uploads in {uploading:.1f} s, all jobs {waiting:.1f} s later")
    assert uploading < A_MINUTE
    jobs = jobs_below(troubled, "intake/")
    assert Counter(job["key"] for job in jobs) == Counter(list(files))
    assert started_jobs(troubled) - before == {job["job_id"] for job in jobs}
    assert no_dead_letters(troubled)


def test_a_flood_of_uploads_ends_with_as_many_summaries(
    troubled: Deployment, sim: Simulator, record_property: Callable[[str, object], None]
) -> None:
    files = {
        f"whole/{n:04}.jsonl": b"" if n % WITH_ROWS else jsonl([line("a", body(f"flood {n}"))])
        for n in range(WHOLE)
    }
    gate = Gate(troubled)
    started = time.monotonic()
    with job_workflow(troubled, gate.before):
        uploading = upload(troubled, files)
        gate.let_in(WHOLE, deadline=started + 240 + WHOLE)
        waiting = time.monotonic() - started - uploading
    record_property("seconds", (uploading, waiting))
    print(f"\n{WHOLE} uploads in {uploading:.1f} s, all jobs ended {waiting:.1f} s later")
    assert uploading < A_MINUTE
    jobs = jobs_below(troubled, "whole/")
    assert Counter(job["key"] for job in jobs) == Counter(list(files))
    wanted = {key: "succeeded" if data else "rejected" for key, data in files.items()}
    assert {job["key"]: job["status"] for job in jobs} == wanted
    for job in jobs:
        summary = troubled.finish(job["job_id"], seconds=60)  # written after the job's status
        assert (summary["job_id"], summary["status"]) == (job["job_id"], job["status"])
    told = sim.ledger()
    assert told["providers"]["openai"]["rows_answered"] == sum(map(bool, files.values()))
    assert told["answered_twice"]["requests"] == 0
    assert told["providers"]["openai"]["files_left"] == []
    assert no_dead_letters(troubled)
