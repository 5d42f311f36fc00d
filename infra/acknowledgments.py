"""Findings of cdk-nag that stand, each with its reason. A finding without one fails the deploy."""

from __future__ import annotations

import json

from aws_cdk import Acknowledgment, CfnElement, Stack, Validations
from constructs import Construct


def acknowledge(scope: Construct, rule: str, *, reason: str) -> None:
    """Holds for `scope` and everything below it."""
    Validations.of(scope).acknowledge(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))


def acknowledge_wildcard(scope: Construct, resource: str, *, reason: str) -> None:
    """`resource` is spelled as cdk-nag flattens it: references as `<LogicalId.Attribute>`."""
    acknowledge(scope, f"IAM5[Resource::{resource}]", reason=reason)


def logical_id(resource: Construct) -> str:
    element = resource.node.default_child
    assert isinstance(element, CfnElement)
    return str(Stack.of(resource).resolve(element.logical_id))


def arn_of(resource: Construct) -> str:
    return f"<{logical_id(resource)}.Arn>"


def objects_of(bucket: Construct) -> str:
    """By the bucket's name, as an ItemReader's policy has it."""
    return f"arn:<AWS::Partition>:s3:::<{logical_id(bucket)}>/*"


def executions_of(state_machine: Construct) -> str:
    """The machine's name is cut out of its ARN; what follows it differs from grant to grant."""
    name = {"Fn::Select": [6, {"Fn::Split": [":", {"Ref": logical_id(state_machine)}]}]}
    prefix = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:"
    return prefix + json.dumps(name, separators=(",", ":"))
