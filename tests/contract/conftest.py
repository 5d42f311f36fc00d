"""Each port's suite runs over the in-memory twin and over the adapter on the embedded cloud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from functions.aws.answers import DynamoAnswers
from functions.aws.approvals import DynamoApprovals
from functions.aws.budgets import DynamoBudgets
from functions.aws.ledger import DynamoLedger
from functions.aws.objects import S3Objects
from functions.aws.quotas import DynamoQuotas
from functions.batch.ledger_ports import EarlierAnswers, Ledger, Quotas
from functions.batch.money_ports import Approvals, Budgets
from functions.batch.ports import PieceObjects
from local.cloud import EmbeddedCloud
from tests.support.ledger_twins import MemoryAnswers, MemoryLedger, MemoryQuotas
from tests.support.money_twins import MemoryApprovals, MemoryBudgets
from tests.support.twins import MemoryObjects

KEYS = [("pk", "HASH"), ("sk", "RANGE")]


@pytest.fixture(scope="session")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud() as started:
        yield started


@pytest.fixture(scope="session")
def s3(cloud: EmbeddedCloud) -> Any:
    client = cloud.client("s3")
    client.create_bucket(Bucket="contract")
    client.put_bucket_versioning(Bucket="contract", VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture(scope="session")
def dynamodb(cloud: EmbeddedCloud) -> Any:
    client = cloud.client("dynamodb")
    client.create_table(
        TableName="contract",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in KEYS],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in KEYS],
    )
    return client


@pytest.fixture(params=["twin", "s3"])
def objects(request: pytest.FixtureRequest) -> PieceObjects:
    if request.param == "twin":
        return MemoryObjects("contract")
    return S3Objects(request.getfixturevalue("s3"), "contract")


@pytest.fixture(params=["twin", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "twin":
        return MemoryLedger()
    return DynamoLedger(request.getfixturevalue("dynamodb"), "contract")


@pytest.fixture(params=["twin", "dynamodb"])
def quotas(request: pytest.FixtureRequest) -> Quotas:
    if request.param == "twin":
        return MemoryQuotas()
    return DynamoQuotas(request.getfixturevalue("dynamodb"), "contract")


@pytest.fixture(params=["twin", "dynamodb"])
def budgets(request: pytest.FixtureRequest) -> Budgets:
    if request.param == "twin":
        return MemoryBudgets()
    return DynamoBudgets(request.getfixturevalue("dynamodb"), "contract")


@pytest.fixture(params=["twin", "dynamodb"])
def approvals(request: pytest.FixtureRequest) -> Approvals:
    if request.param == "twin":
        return MemoryApprovals()
    return DynamoApprovals(request.getfixturevalue("dynamodb"), "contract")


@pytest.fixture(params=["twin", "dynamodb"])
def earlier(request: pytest.FixtureRequest) -> EarlierAnswers:
    if request.param == "twin":
        return MemoryAnswers()
    return DynamoAnswers(request.getfixturevalue("dynamodb"), "contract")
