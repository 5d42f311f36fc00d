"""A stack with the outputs of the real one, on an embedded cloud; nothing runs in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.ledger import timestamp
from cli.main import app
from cli.stack import Stack, find_stack
from functions.aws.ledger import DynamoLedger
from functions.batch.model import Job, RowCounts
from local.cloud import EmbeddedCloud

STACK = "CliTests"


def _text(name: str) -> dict[str, str]:
    return {"AttributeName": name, "AttributeType": "S"}


def _keys(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


TABLE = {
    "Type": "AWS::DynamoDB::Table",
    "Properties": {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [_text(name) for name in ("pk", "sk", "gsi1pk", "gsi1sk")],
        "KeySchema": _keys("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "jobs-by-time",
                "KeySchema": _keys("gsi1pk", "gsi1sk"),
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    },
}
TEMPLATE = {
    "Resources": {
        "Inbox": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"VersioningConfiguration": {"Status": "Enabled"}},
        },
        "Results": {"Type": "AWS::S3::Bucket"},
        "Table": TABLE,
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "cli-tests"}},
        "OpenAI": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": "openai"}},
        "Vertex": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": "vertex"}},
    },
    "Outputs": {
        name: {"Value": {"Ref": resource}}
        for name, resource in {
            "InboxBucket": "Inbox",
            "ResultsBucket": "Results",
            "JobsTable": "Table",
            "EventBusName": "Bus",
            "OpenAISecretArn": "OpenAI",
            "VertexSecretArn": "Vertex",
        }.items()
    },
}


@pytest.fixture(scope="session")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud() as running:
        formation = running.client("cloudformation")
        formation.create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE))
        formation.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        yield running


@pytest.fixture
def aws_env(cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in cloud.env().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BATCHDROP_STACK", STACK)


@pytest.fixture
def stack(aws_env: None) -> Iterator[Stack]:
    """Its ledger and buckets are emptied afterwards."""
    found = find_stack(STACK)
    yield found
    dynamodb, s3 = found.aws.client("dynamodb"), found.aws.client("s3")
    for item in dynamodb.scan(TableName=found.table)["Items"]:
        key = {name: item[name] for name in ("pk", "sk")}
        dynamodb.delete_item(TableName=found.table, Key=key)
    for bucket in (found.inbox, found.results):
        for each in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=each["Key"])


@pytest.fixture
def writer(stack: Stack) -> DynamoLedger:
    """The adapter that the functions write the ledger with."""
    return DynamoLedger(stack.aws.client("dynamodb"), stack.table)


@pytest.fixture
def run() -> Callable[..., Any]:
    """`batchdrop` in process; its result has `exit_code`, `stdout` and `stderr`."""

    def invoke(*arguments: str, given: str | None = None) -> Any:
        result = CliRunner().invoke(app, [*arguments], input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def make_job(job_id: str, **fields: Any) -> Job:
    given: dict[str, Any] = {
        "bucket": "inbox",
        "key": f"{job_id}.jsonl",
        "bytes": 10,
        "created_at": timestamp(datetime.now(UTC)),
    }
    return Job(job_id=job_id, **(given | fields))


def finished_job(job_id: str, **fields: Any) -> Job:
    given: dict[str, Any] = {
        "status": "succeeded",
        "rows": RowCounts(total=2, succeeded=2),
        "finished_at": timestamp(datetime.now(UTC)),
    }
    return make_job(job_id, **(given | fields))


@pytest.fixture
def new_job() -> Callable[..., Job]:
    return make_job


@pytest.fixture
def ended_job() -> Callable[..., Job]:
    return finished_job
