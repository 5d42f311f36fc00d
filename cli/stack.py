"""Finds a deployed stack, by its outputs, with whatever AWS settings the environment holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.errors import CliError, error_code

DEFAULT_STACK = "Batchdrop"

StackOption = Annotated[
    str,
    typer.Option("--stack", envvar="BATCHDROP_STACK", help="Name of the deployed stack."),
]

_boto3: Any = boto3  # which has no complete types
_SETTINGS = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 5},
    user_agent_extra="batchdrop-cli",
)


class Aws:
    """One boto3 client for each service, made when it is first needed."""

    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            # boto3 reads AWS_REGION from nowhere but AWS_DEFAULT_REGION or the profile.
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            self._clients[service] = _boto3.client(service, region_name=region, config=_SETTINGS)
        return self._clients[service]


@dataclass(frozen=True)
class Stack:
    name: str
    outputs: Mapping[str, str]
    aws: Aws = field(default_factory=Aws)

    def output(self, key: str) -> str:
        value = self.outputs.get(key)
        if not value:
            raise CliError(
                f"The stack {self.name} has no output {key}: it is not a Batchdrop stack, or its "
                "deployment has not finished; run `npx cdk deploy`, or name another with --stack."
            )
        return value

    @property
    def inbox(self) -> str:
        return self.output("InboxBucket")

    @property
    def results(self) -> str:
        return self.output("ResultsBucket")

    @property
    def table(self) -> str:
        return self.output("JobsTable")

    @property
    def bus(self) -> str:
        return self.output("EventBusName")


def find_stack(name: str) -> Stack:
    aws = Aws()
    try:
        described = aws.client("cloudformation").describe_stacks(StackName=name)
    except ClientError as error:
        missing = "does not exist" in str(error)
        if error_code(error) in ("ValidationError", "StackNotFoundException") and missing:
            raise CliError(
                f"There is no stack {name} in this account and region: deploy it with "
                "`npx cdk deploy`, or name another with --stack or BATCHDROP_STACK."
            ) from error
        raise
    outputs: list[dict[str, str]] = described["Stacks"][0].get("Outputs") or []
    return Stack(name, {each["OutputKey"]: each["OutputValue"] for each in outputs}, aws)
