"""The bus that tells what happened and takes commands, and the topic that tells people."""

from __future__ import annotations

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.acknowledgments import acknowledge
from infra.functions import Function

COMMAND_SOURCE = "batchdrop.command"


class Alerts(Construct):
    """Not encrypted with a key: CloudWatch cannot publish to AWS's own SNS key, and an alert
    names jobs and counts, never a row.
    """

    def __init__(self, scope: Construct, id: str, *, email: str | None) -> None:
        super().__init__(scope, id)
        self.topic = sns.Topic(self, "Topic", display_name="Batchdrop alerts", enforce_ssl=True)
        # Enforcing TLS gives the topic a policy, which replaces the default that lets alarms in.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],  # pyright: ignore[reportArgumentType]
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if email:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))  # pyright: ignore[reportArgumentType]

    def grant_publish(self, to: iam.IGrantable) -> None:
        iam.Grant.add_to_principal(
            grantee=to, actions=["sns:Publish"], resource_arns=[self.topic.topic_arn]
        )


class DeadLetters(Construct):
    """A queue that should stay empty, and an alarm that says when it is not."""

    def __init__(self, scope: Construct, id: str, *, what: str, alerts: Alerts) -> None:
        super().__init__(scope, id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(
            self, "SQS3", reason="This is the dead letter queue, of rules and functions too."
        )
        alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_description=f"Batchdrop could not handle {what}; the queue holds the originals.",
            metric=self.queue.metric_approximate_number_of_messages_visible(
                statistic="Maximum", period=Duration.minutes(5)
            ),
            threshold=0,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(alerts.topic))  # pyright: ignore[reportArgumentType]


class Bus(Construct):
    """Jobs' events go out on it, commands come in on it."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self.bus = events.EventBus(self, "Bus", description="Batchdrop's events and commands")

    def grant_put(self, to: iam.IGrantable) -> None:
        iam.Grant.add_to_principal(
            grantee=to, actions=["events:PutEvents"], resource_arns=[self.bus.event_bus_arn]
        )

    def deliver_commands(self, *, to: Function, dead_letters: DeadLetters) -> None:
        """A command that cannot be delivered and one that keeps failing both end up there."""
        to.function.configure_async_invoke(
            on_failure=destinations.SqsDestination(dead_letters.queue),  # pyright: ignore[reportArgumentType]
            retry_attempts=2,
        )
        events.Rule(
            self,
            "Commands",
            description="Batchdrop's commands, to the function that carries them out",
            event_bus=self.bus,
            event_pattern=events.EventPattern(source=[COMMAND_SOURCE]),
            targets=[targets.LambdaFunction(to.function, dead_letter_queue=dead_letters.queue)],  # pyright: ignore[reportArgumentType]
        )
