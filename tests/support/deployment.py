"""A stack deployed to the embedded cloud, driven as a user would: uploads in, results out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from functions.batch.intake import Upload, job_id
from local.cloud import EmbeddedCloud

FINAL = {"succeeded", "partial", "failed", "rejected", "cancelled"}


@dataclass
class Deployment:
    cloud: EmbeddedCloud
    outputs: Mapping[str, str]
    context: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.s3 = self.cloud.client("s3")
        self.dynamodb = self.cloud.client("dynamodb")
        self.events = self.cloud.client("events")
        self.sqs = self.cloud.client("sqs")

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
        return [
            {name: next(iter(value.values())) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

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
