"""Budgets and approvals in a deployment of their own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from functions.aws.ledger import DynamoLedger
from functions.aws.outside import JobWorkflow
from functions.batch.model import Job, now
from functions.batch.money import JobLimits, picodollars
from local.cloud import EmbeddedCloud
from tests.support.deployment import Deployment
from tests.support.lines import body, jsonl, line
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e

LIST = {"openai/gpt-5-mini": {"input": 30.0, "output": 100.0}}
CHARGED = {"openai/gpt-5-mini": {"input": 15.0, "output": 50.0}}
MAX_TOKENS = 20
JOBS = int(os.environ.get("BUDGET_JOBS", "24"))
DAILY = f"{JOBS / 240}"
"""Dollars: for a part of the jobs."""


@pytest.fixture(scope="module")
def money(cloud: EmbeddedCloud, running_simulator: Simulator) -> Deployment:
    context = {
        "openai_base_url": running_simulator.openai_url,
        "prices": json.dumps(LIST),
        "daily_budget_usd": DAILY,
        "output_allowance_tokens": f"{MAX_TOKENS}",
    }
    deployed = Deployment(cloud, cloud.deploy("Money", context))
    deployed.set_key("sk-test")
    return deployed


def rows(count: int = 2) -> bytes:
    return jsonl(
        [line(f"{n}", body(f"q{n}", max_completion_tokens=MAX_TOKENS)) for n in range(count)]
    )


def ledger(money: Deployment) -> DynamoLedger:
    return DynamoLedger(money.dynamodb, money.outputs["JobsTable"])


def waited(done: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = done()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(what)


def with_limits(money: Deployment, name: str, **limits: str) -> str:
    """A job with a recipe's limits, started as the intake would; its file is in a folder whose
    uploads start none."""
    job, key, data = f"job-{name}", f"_files/{name}.jsonl", rows()
    bucket = money.outputs["InboxBucket"]
    etag = money.s3.put_object(Bucket=bucket, Key=key, Body=data)["ETag"]
    amounts: Any = {limit: Decimal(amount) for limit, amount in limits.items()}
    ledger(money).create_job(
        Job(
            job_id=job,
            bucket=bucket,
            key=key,
            bytes=len(data),
            etag=etag,
            created_at=now(),
            limits=JobLimits(**amounts),
        )
    )
    states = money.cloud.client("stepfunctions")
    JobWorkflow(states, money.outputs["StateMachineArn"]).start_job(job)
    return job


def status(money: Deployment, job: str) -> str:
    return ledger(money).job(job).status


def items(money: Deployment, prefix: str) -> list[dict[str, Any]]:
    pages = money.dynamodb.get_paginator("scan").paginate(
        TableName=money.outputs["JobsTable"],
        FilterExpression="begins_with(pk, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": prefix}},
    )
    return [item for page in pages for item in page["Items"]]


def test_a_job_that_may_cost_much_waits_for_its_approval(money: Deployment, sim: Simulator) -> None:
    queue = money.listen()
    jobs = {
        command: with_limits(money, command.split()[0].lower(), approve_above_usd="0.000001")
        for command in ("Approve Job", "Refuse Job", "Cancel Job")
    }
    for job in jobs.values():
        waited(lambda job=job: status(money, job) == "awaiting_approval", f"{job} never asked")
    assert sim.ledger()["providers"]["openai"]["batches"] == []
    time.sleep(2)  # the state that asks has to be left waiting
    for command, job in jobs.items():
        money.send(command, {"job_id": job})
        money.send(command, {"job_id": job})
    ended = {command: money.finish(job) for command, job in jobs.items()}
    assert {command: each["status"] for command, each in ended.items()} == {
        "Approve Job": "succeeded",
        "Refuse Job": "rejected",
        "Cancel Job": "cancelled",
    }
    assert ended["Refuse Job"]["reason"]["code"] == "refused"
    assert ended["Approve Job"]["cost"]["actual_usd"] > 0
    told = [(event["detail-type"], event["detail"]["job_id"]) for event in money.heard(queue)]
    for job in jobs.values():
        assert told.count(("Job Awaiting Approval", job)) == 1


def test_a_cap_rejects_with_figures(money: Deployment, sim: Simulator) -> None:
    job = with_limits(money, "capped", max_cost_usd="0.000001")
    summary = money.finish(job)
    assert (summary["status"], summary["reason"]["code"]) == ("rejected", "over_max_cost")
    assert sim.ledger()["providers"]["openai"]["batches"] == []


def test_jobs_that_start_at_once_do_not_overspend(money: Deployment, sim: Simulator) -> None:
    sim.reset(batch_seconds=2, prices=CHARGED)
    [before] = items(money, "BUDGET#day#") or [{"spent": {"N": "0"}}]
    bucket = money.outputs["InboxBucket"]
    with ThreadPoolExecutor(8) as pool:
        for number in range(JOBS):
            key = f"many/{number}.jsonl"
            pool.submit(money.s3.put_object, Bucket=bucket, Key=key, Body=rows(20))

    def jobs() -> list[str]:
        found = [job["job_id"] for job in money.jobs() if job["key"].startswith("many/")]
        return found if len(found) == JOBS else []

    dropped = waited(jobs, "not every upload became a job", 900)
    ended = [money.finish(job, seconds=900) for job in dropped]
    kinds = {each["status"] for each in ended}
    assert kinds == {"succeeded", "rejected"}
    rejected = [each for each in ended if each["status"] == "rejected"]
    assert {each["reason"]["code"] for each in rejected} == {"over_daily_budget"}
    spent = sum(picodollars(amount) for amount in sim.ledger()["dollars"].values())
    assert spent == sum(picodollars(each["cost"]["actual_usd"]) for each in ended)
    [budget] = items(money, "BUDGET#day#")
    assert int(budget["spent"]["N"]) - int(before["spent"]["N"]) == spent
    assert int(budget["committed"]["N"]) == int(budget["spent"]["N"]) <= picodollars(DAILY)
    rolled = {item["sk"]["S"]: item for item in items(money, "ROLLUP#")}
    assert int(rolled["FOLDER#many"]["actual"]["N"]) == spent
    assert int(rolled["FOLDER#many"]["rows_succeeded"]["N"]) == 20 * (JOBS - len(rejected))
