"""What AWS keeps to and the embedded cloud does not: lifecycles, TTL, TLS, retention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.deployed import Deployed, flat, listed

BUCKETS = ("StorageInbox", "StorageWork", "StorageResults")


def rules(deployed: Deployed, bucket: str) -> list[dict[str, Any]]:
    _, properties = deployed.one("S3::Bucket", containing=bucket)
    found = properties["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in found)
    return found


def has(rules: list[dict[str, Any]], key: str, value: object) -> bool:
    return any(rule.get(key) == value for rule in rules)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_no_bucket_is_public_or_plain(deployed: Deployed, bucket: str) -> None:
    name, properties = deployed.one("S3::Bucket", containing=bucket)
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    encryption = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    _, policy = deployed.one("S3::BucketPolicy", containing=bucket)
    assert policy["Bucket"] == {"Ref": name}
    assert denies_plain_http(policy["PolicyDocument"], "s3:*")


def denies_plain_http(document: dict[str, Any], action: str) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and action in listed(statement["Action"])
        and statement["Principal"] in ({"AWS": "*"}, "*")
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in document["Statement"]
    )


@pytest.mark.parametrize("bucket", BUCKETS)
def test_unfinished_uploads_go_after_a_week(deployed: Deployed, bucket: str) -> None:
    assert has(
        rules(deployed, bucket), "AbortIncompleteMultipartUpload", {"DaysAfterInitiation": 7}
    )


def test_lifecycles(synthesize: Callable[..., Deployed]) -> None:
    deployed = synthesize(retention_days="12")
    assert has(rules(deployed, "StorageResults"), "ExpirationInDays", 12)
    assert has(rules(deployed, "StorageWork"), "ExpirationInDays", 90)
    inbox = rules(deployed, "StorageInbox")
    assert has(inbox, "NoncurrentVersionExpiration", {"NoncurrentDays": 12})
    assert not any("ExpirationInDays" in rule for rule in inbox), "uploads are the user's"


def test_the_inbox_is_versioned_and_announces(deployed: Deployed) -> None:
    _, inbox = deployed.one("S3::Bucket", containing="StorageInbox")
    assert inbox["VersioningConfiguration"] == {"Status": "Enabled"}
    announced = inbox["NotificationConfiguration"]["EventBridgeConfiguration"]
    assert announced == {"EventBridgeEnabled": True}
    assert not any("Custom" in resource["Type"] for resource in deployed.resources.values())


def test_the_ledger(deployed: Deployed) -> None:
    _, table = deployed.one("DynamoDB::Table")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    [index] = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "jobs-by-time"
    assert index["Projection"] == {"ProjectionType": "ALL"}
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["gsi1pk", "gsi1sk"]


@pytest.mark.parametrize("kind", ["S3::Bucket", "DynamoDB::Table"])
def test_data_outlives_the_stack(deployed: Deployed, kind: str) -> None:
    for resource in deployed.of_type(kind).values():
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"


def test_secrets_start_without_a_value(deployed: Deployed) -> None:
    secrets = deployed.of_type("SecretsManager::Secret")
    assert len(secrets) == 3
    for secret in secrets.values():
        assert set(secret["Properties"]) == {"Description"}


def test_outputs(deployed: Deployed) -> None:
    outputs = deployed.template["Outputs"]
    kinds = {
        name: deployed.resources[flat(output["Value"]).strip("<>").split(".")[0]]["Type"]
        for name, output in outputs.items()
    }
    assert kinds == {
        "InboxBucket": "AWS::S3::Bucket",
        "ResultsBucket": "AWS::S3::Bucket",
        "JobsTable": "AWS::DynamoDB::Table",
        "StateMachineArn": "AWS::StepFunctions::StateMachine",
        "IntakeDeadLetterQueueUrl": "AWS::SQS::Queue",
        "EventBusName": "AWS::Events::EventBus",
        "OpenAISecretArn": "AWS::SecretsManager::Secret",
        "AnthropicSecretArn": "AWS::SecretsManager::Secret",
        "VertexSecretArn": "AWS::SecretsManager::Secret",
    }
    for name in ("Inbox", "Results"):
        assert name in flat(outputs[f"{name}Bucket"]["Value"])
    for name in ("OpenAI", "Anthropic", "Vertex"):
        assert name in flat(outputs[f"{name}SecretArn"]["Value"])
    assert "JobWorkflow" in flat(outputs["StateMachineArn"]["Value"])
    assert "DeadLetters" in flat(outputs["IntakeDeadLetterQueueUrl"]["Value"])
