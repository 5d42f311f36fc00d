"""The ledger: one table that remembers every job, shard and provider file."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

JOBS_BY_TIME = "jobs-by-time"
EXPIRES_AT = "expires_at"


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


class Ledger(Construct):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=_text("pk"),
            sort_key=_text("sk"),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.DEFAULT,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=EXPIRES_AT,
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        self.table.add_global_secondary_index(
            index_name=JOBS_BY_TIME,
            partition_key=_text("gsi1pk"),
            sort_key=_text("gsi1sk"),
            projection_type=dynamodb.ProjectionType.ALL,
        )

    def grant(self, to: iam.IGrantable, *actions: str) -> None:
        """`actions` as DynamoDB spells them, without the service: `GetItem`.

        The table alone: the index is for people who list jobs, no function reads it. A
        transaction needs the rights of the writes in it, and no other.
        """
        iam.Grant.add_to_principal(
            grantee=to,
            actions=[f"dynamodb:{action}" for action in actions],
            resource_arns=[self.table.table_arn],
        )
