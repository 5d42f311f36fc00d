"""The three buckets: what people drop, what is worked on, what comes back.

Destroying the stack leaves buckets and ledger behind: they hold inputs, paid answers and the record
of both. Their names are generated, so they stand in the way of no later deployment, and the
lifecycles go on emptying what they empty. A first deployment that fails leaves nothing.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.acknowledgments import acknowledge, acknowledge_wildcard, arn_of

WORK_DAYS = 90  # a net: a job's last step deletes its own work files
UNFINISHED_UPLOAD_DAYS = 7

_WRITE = ["s3:PutObject", "s3:AbortMultipartUpload"]
_HEADS = "*/heads/*"


class Bucket(Construct):
    """A private bucket whose grants are as narrow as a step's need.

    Whoever may read may list: without that right S3 answers a missing object with 403, as if it
    were forbidden, and a step that runs twice could not tell.
    """

    def __init__(
        self, scope: Construct, id: str, *, lifecycle: s3.LifecycleRule, versioned: bool = False
    ) -> None:
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            versioned=versioned,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
            lifecycle_rules=[
                lifecycle,
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=Duration.days(UNFINISHED_UPLOAD_DAYS)
                ),
            ],
        )
        acknowledge(
            self,
            "S1",
            reason="Access logs would repeat every ranged read of every shard, keep keys longer "
            "than the data's own retention, and cost more than the data; CloudTrail's data events "
            "can be switched on for an account that has to audit reads.",
        )
        acknowledge_wildcard(
            Stack.of(self),
            f"{arn_of(self.bucket)}/*",
            reason="Keys begin with a job's id, which no policy can know; the actions are listed.",
        )

    def grant_read(self, to: iam.IGrantable) -> None:
        self._grant(to, objects=["s3:GetObject"], bucket=["s3:ListBucket"])

    def grant_read_versions(self, to: iam.IGrantable) -> None:
        self._grant(
            to,
            objects=["s3:GetObject", "s3:GetObjectVersion"],
            bucket=["s3:ListBucket", "s3:ListBucketVersions"],
        )

    def grant_write(self, to: iam.IGrantable) -> None:
        """Uploads in one part or in many."""
        self._grant(to, objects=_WRITE)

    def grant_write_heads(self, to: iam.IGrantable) -> None:
        """Of all that a job has, the heads of its rows alone: see `functions.batch.layout`."""
        self._grant(to, objects=_WRITE, keys=_HEADS)
        acknowledge_wildcard(
            Stack.of(self),
            f"{arn_of(self.bucket)}/{_HEADS}",
            reason="Keys begin with a job's id, which no policy can know; the folder is named.",
        )

    def grant_abandon(self, to: iam.IGrantable) -> None:
        """To find uploads in many parts that were not completed, and end them."""
        self._grant(
            to, objects=["s3:AbortMultipartUpload"], bucket=["s3:ListBucketMultipartUploads"]
        )

    def grant_delete(self, to: iam.IGrantable) -> None:
        self._grant(to, objects=["s3:DeleteObject"], bucket=["s3:ListBucket"])

    def _grant(
        self,
        to: iam.IGrantable,
        *,
        objects: list[str],
        bucket: list[str] | None = None,
        keys: str = "*",
    ) -> None:
        iam.Grant.add_to_principal(
            grantee=to, actions=objects, resource_arns=[self.bucket.arn_for_objects(keys)]
        )
        if bucket:
            iam.Grant.add_to_principal(
                grantee=to, actions=bucket, resource_arns=[self.bucket.bucket_arn]
            )


class Storage(Construct):
    def __init__(self, scope: Construct, id: str, *, retention_days: int) -> None:
        super().__init__(scope, id)
        retention = Duration.days(retention_days)
        self.inbox = Bucket(
            self,
            "Inbox",
            versioned=True,
            lifecycle=s3.LifecycleRule(noncurrent_version_expiration=retention),
        )
        self.work = Bucket(
            self, "Work", lifecycle=s3.LifecycleRule(expiration=Duration.days(WORK_DAYS))
        )
        self.results = Bucket(self, "Results", lifecycle=s3.LifecycleRule(expiration=retention))
        _announce_objects(self.inbox.bucket)


def _announce_objects(bucket: s3.Bucket) -> None:
    """By the L1 property: the L2 switch would add a custom resource with a function of its own."""
    resource = bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)
    resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
            event_bridge_enabled=True
        )
    )
