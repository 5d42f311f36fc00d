"""Which adapter of AWS meets which port: with `functions.handlers.provider_wiring` the only place
that knows both sides."""

from __future__ import annotations

from functions.aws.answers import DynamoAnswers
from functions.aws.approvals import DynamoApprovals
from functions.aws.budgets import DynamoBudgets
from functions.aws.clients import client
from functions.aws.inbox import Inbox
from functions.aws.ledger import DynamoLedger
from functions.aws.objects import S3Objects
from functions.aws.outside import AlertTopic, EventBus, JobWorkflow
from functions.aws.rollups import DynamoRollups


def ledger(table: str) -> DynamoLedger:
    return DynamoLedger(client("dynamodb"), table)


def budgets(table: str) -> DynamoBudgets:
    return DynamoBudgets(client("dynamodb"), table)


def approvals(table: str) -> DynamoApprovals:
    return DynamoApprovals(client("dynamodb"), table)


def rollups(table: str) -> DynamoRollups:
    return DynamoRollups(client("dynamodb"), table)


def earlier_answers(table: str) -> DynamoAnswers:
    return DynamoAnswers(client("dynamodb"), table)


def workflows() -> JobWorkflow:
    """To wake executions, not to start them."""
    return JobWorkflow(client("stepfunctions"))


def objects(bucket: str) -> S3Objects:
    return S3Objects(client("s3"), bucket)


def inbox() -> Inbox:
    return Inbox(client("s3"))


def events(bus: str) -> EventBus:
    return EventBus(client("events"), bus)


def alerts(topic: str) -> AlertTopic:
    return AlertTopic(client("sns"), topic)
