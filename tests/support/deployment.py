"""A stack deployed to the embedded cloud, driven as a user would: uploads in, results out."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from functions.batch.reading.intake import Upload, job_id
from local.cloud import EmbeddedCloud

FINAL = {"succeeded", "partial", "failed", "rejected", "cancelled"}


@dataclass
class Deployment:
    """`name` is the stack's; needed only to find its functions."""

    cloud: EmbeddedCloud
    outputs: Mapping[str, str]
    context: Mapping[str, str] = field(default_factory=dict[str, str])
    name: str = ""

    def __post_init__(self) -> None:
        self.s3 = self.cloud.client("s3")
        self.dynamodb = self.cloud.client("dynamodb")
        self.events = self.cloud.client("events")
        self.sqs = self.cloud.client("sqs")
        self.lambdas = self.cloud.client("lambda")

    def set_key(self, value: str, provider: str = "OpenAI") -> None:
        self.cloud.client("secretsmanager").put_secret_value(
            SecretId=self.outputs[f"{provider}SecretArn"], SecretString=value
        )

    def drop(self, key: str, data: bytes) -> str:
        """Uploads; the new job's id, as soon as the ledger has it."""
        before = {job["job_id"] for job in self.jobs() if job["key"] == key}
        self.s3.put_object(Bucket=self.outputs["InboxBucket"], Key=key, Body=data)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            new = [
                job["job_id"]
                for job in self.jobs()
                if job["key"] == key and job["job_id"] not in before
            ]
            if new:
                return new[0]
            time.sleep(0.2)
        raise AssertionError(f"{key} never became a job")

    def jobs(self) -> list[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.outputs["JobsTable"],
            FilterExpression="sk = :job",
            ExpressionAttributeValues={":job": {"S": "JOB"}},
        )
        return [_plain(item) for page in pages for item in page["Items"]]

    def job(self, job: str) -> dict[str, Any]:
        key = {"pk": {"S": f"JOB#{job}"}, "sk": {"S": "JOB"}}
        table = self.outputs["JobsTable"]
        return _plain(self.dynamodb.get_item(TableName=table, Key=key)["Item"])

    def finish(self, job: str, seconds: float = 240) -> dict[str, Any]:
        """The summary, once it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            data = self.read(job, "summary.json")
            if data is not None:
                return json.loads(data)
            time.sleep(0.3)
        (state,) = (each for each in self.jobs() if each["job_id"] == job)
        raise AssertionError(f"{job} has no summary after {seconds} s: {state}")

    def read(self, job: str, name: str) -> bytes | None:
        try:
            answer = self.s3.get_object(Bucket=self.outputs["ResultsBucket"], Key=f"{job}/{name}")
        except self.s3.exceptions.NoSuchKey:
            return None
        return answer["Body"].read()

    def results(self, job: str) -> list[dict[str, Any]]:
        data = self.read(job, "results.jsonl")
        assert data is not None
        return [json.loads(line) for line in data.split(b"\n") if line]

    def intake_queue(self) -> str:
        """The queue that the intake function reads; its address is no output of the stack."""
        dead = self.outputs["IntakeDeadLetterQueueUrl"]
        for url in self.sqs.list_queues()["QueueUrls"]:
            policy = self.sqs.get_queue_attributes(
                QueueUrl=url, AttributeNames=["RedrivePolicy"]
            ).get("Attributes", {})
            if dead.rpartition("/")[2] in policy.get("RedrivePolicy", ""):
                return url
        raise AssertionError("no queue redrives to the dead-letter queue")

    def send(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.events.put_events(
            Entries=[
                {
                    "Source": "batchdrop.command",
                    "DetailType": detail_type,
                    "Detail": json.dumps(detail),
                    "EventBusName": self.outputs["EventBusName"],
                }
            ]
        )

    def functions(self, containing: str = "") -> list[dict[str, Any]]:
        """As Lambda describes them, by what their logical ids contain."""
        pages = self.lambdas.get_paginator("list_functions").paginate()
        return [
            function
            for page in pages
            for function in page["Functions"]
            if function["FunctionName"].startswith(f"{self.name}-")
            and containing in function["FunctionName"]
        ]

    @contextmanager
    def environment(self, **variables: str) -> Generator[None]:
        """Every function has these variables more."""
        before = {
            function["FunctionName"]: {"Variables": function["Environment"]["Variables"]}
            for function in self.functions()
        }
        more = {
            name: {"Environment": {"Variables": {**own["Variables"], **variables}}}
            for name, own in before.items()
        }
        with self._configured(more, {name: {"Environment": own} for name, own in before.items()}):
            yield

    @contextmanager
    def timeout(self, seconds: int, *containing: str) -> Generator[None]:
        """One function for each of the names is ended after so many seconds."""
        before = {
            function["FunctionName"]: {"Timeout": function["Timeout"]}
            for each in containing
            for function in self.functions(each)
        }
        assert len(before) == len(containing)
        with self._configured({name: {"Timeout": seconds} for name in before}, before):
            yield

    @contextmanager
    def _configured(
        self, changes: Mapping[str, dict[str, Any]], before: Mapping[str, dict[str, Any]]
    ) -> Generator[None]:
        assert changes
        try:
            self._configure(changes)
            yield
        finally:
            self._configure(before)

    def _configure(self, changes: Mapping[str, dict[str, Any]]) -> None:
        """Returns when all changes are in force."""
        for name, change in changes.items():
            self.lambdas.update_function_configuration(FunctionName=name, **change)
        waiter = self.lambdas.get_waiter("function_updated_v2")
        for name in changes:
            waiter.wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def broken_off(self, containing: str) -> Counter[str]:
        """With which errors steps ended, in the executions of the state machines whose names
        contain that."""
        states = self.cloud.client("stepfunctions")
        machines = states.get_paginator("list_state_machines").paginate()
        return Counter(
            details["error"]
            for page in machines
            for machine in page["stateMachines"]
            if machine["name"].startswith(self.name) and containing in machine["name"]
            for pages in states.get_paginator("list_executions").paginate(
                stateMachineArn=machine["stateMachineArn"]
            )
            for execution in pages["executions"]
            for event in self._history(states, execution["executionArn"])
            for details in event.values()
            if isinstance(details, dict) and "error" in details
        )

    @staticmethod
    def _history(states: Any, execution: str) -> Iterator[dict[str, Any]]:
        pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
        for page in pages:
            yield from page["events"]

    def listen(self) -> str:
        """A queue that gets everything that the stack says on its bus."""
        name = f"listener-{time.time_ns()}"
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        bus = self.outputs["EventBusName"]
        self.events.put_rule(
            Name=name, EventBusName=bus, EventPattern=json.dumps({"source": ["batchdrop"]})
        )
        self.events.put_targets(
            Rule=name,
            EventBusName=bus,
            Targets=[{"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}],
        )
        return url

    def heard(self, queue: str, seconds: float = 5) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for message in answer.get("Messages", ()):
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found


def _plain(item: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: next(iter(value.values())) for name, value in item.items()}


def upload_event(bucket: str, key: str, size: int, etag: str, sequencer: str) -> dict[str, Any]:
    """What EventBridge makes of an upload."""
    return {
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, "size": size, "etag": etag, "sequencer": sequencer},
            "reason": "PutObject",
        },
    }


def expected_job(event: dict[str, Any]) -> str:
    found = event["detail"]["object"]
    return job_id(
        Upload(
            bucket=event["detail"]["bucket"]["name"],
            key=found["key"],
            size=found["size"],
            sequencer=found["sequencer"],
        )
    )
