"""Small doors to other services: secrets, events, alerts, workflows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from functions.aws.objects import code_of
from functions.batch.errors import KeyMissing

SOURCE = "batchdrop"
_SUBJECT_LENGTH = 100  # SNS: subjects are shorter than this, ASCII, on one line


class SecretKeys:
    def __init__(self, secrets: Any, secret_arn: str, provider: str) -> None:
        self._secrets = secrets
        self._arn = secret_arn
        self._provider = provider

    def key(self) -> str:
        """Raises `KeyMissing`. A secret that was never set has no version, or is empty."""
        try:
            value = self._secrets.get_secret_value(SecretId=self._arn).get("SecretString", "")
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            value = ""
        key = value.strip()
        if not key:
            raise KeyMissing(
                "missing_key",
                f"No API key for {self._provider} is stored. Set it with "
                f"`batchdrop keys set {self._provider}`, then drop failed.jsonl again.",
            )
        return key


class EventBus:
    def __init__(self, events: Any, bus: str) -> None:
        self._events = events
        self._bus = bus

    def publish(self, detail_type: str, detail: dict[str, object]) -> None:
        entry = {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": msgspec.json.encode(detail).decode(),
            "EventBusName": self._bus,
        }
        answer = self._events.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            failed = answer["Entries"][0]
            raise RuntimeError(
                f"{detail_type!r} was not put on the bus: {failed.get('ErrorCode')} "
                f"{failed.get('ErrorMessage')}"
            )


class AlertTopic:
    def __init__(self, sns: Any, topic: str) -> None:
        self._sns = sns
        self._topic = topic

    def alert(self, subject: str, message: str) -> None:
        line = " ".join(subject.encode("ascii", "replace").decode().split())
        self._sns.publish(
            TopicArn=self._topic, Subject=line[: _SUBJECT_LENGTH - 1], Message=message
        )


_NOBODY_WAITS = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})


class JobWorkflow:
    """Whoever only wakes executions need not know the machine."""

    def __init__(self, states: Any, state_machine: str = "") -> None:
        self._states = states
        self._state_machine = state_machine

    def start_job(self, job_id: str, run: int = 0, *, given_up: bool = False) -> None:
        failure = {"failure": {"Error": "GivenUp"}} if given_up else {}
        try:
            self._states.start_execution(
                stateMachineArn=self._state_machine,
                name=f"{job_id}-run{run}" if run else job_id,
                input=json.dumps({"job_id": job_id, **failure}),
            )
        except ClientError as error:
            if code_of(error) != "ExecutionAlreadyExists":
                raise

    def wake(self, token: str) -> bool:
        try:
            self._states.send_task_success(taskToken=token, output="{}")
        except ClientError as error:
            if code_of(error) not in _NOBODY_WAITS:
                raise
            return False
        return True
