"""CloudWatch metrics, as lines of a function's log: no call, no right, no wait.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from functions.batch.model import Job, Shard
from functions.batch.money import Bill, dollars
from functions.batch.spending.rollups import turnaround

NAMESPACE = "Batchdrop"
LEFT = "ProviderFilesLeft"


class EmbeddedMetrics:
    """See `functions.batch.money_ports.Metrics`. The dimension `service` is the stack's name, from
    Powertools' own variable; dollars have no unit in CloudWatch."""

    def batch(self, shard: Shard) -> None:
        metrics = EphemeralMetrics(namespace=NAMESPACE)
        metrics.add_dimension(name="provider", value=shard.provider)
        metrics.add_dimension(name="model", value=shard.model)
        bill = shard.bill or Bill()
        answered = shard.answered
        counts = {
            "Batches": 1 if shard.batch_id else 0,
            "RowsSucceeded": answered.succeeded if answered else 0,
            "RowsFailed": answered.failed if answered else 0,
            "RowsAgain": answered.again if answered else 0,
            "InputTokens": bill.input_tokens,
            "CachedInputTokens": bill.cached_input_tokens,
            "OutputTokens": bill.output_tokens,
            "UnpricedRows": bill.unpriced,
        }
        for name, count in counts.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
        money = {"Cost": bill.actual, "ListCost": bill.listed, "Saved": bill.listed - bill.actual}
        for name, amount in money.items():
            metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=dollars(amount) or 0.0)
        seconds = turnaround(shard)
        if seconds is not None:
            metrics.add_metric(name="Turnaround", unit=MetricUnit.Seconds, value=seconds)
        metrics.add_metadata(key="job_id", value=shard.job_id)
        metrics.add_metadata(key="shard_id", value=shard.shard_id)
        metrics.flush_metrics()

    def job(self, job: Job) -> None:
        metrics = EphemeralMetrics(namespace=NAMESPACE)
        metrics.add_dimension(name="status", value=job.status)
        metrics.add_metric(name="Jobs", unit=MetricUnit.Count, value=1)
        if job.rows is not None:
            metrics.add_metric(name="Rows", unit=MetricUnit.Count, value=job.rows.total)
        metrics.add_metadata(key="job_id", value=job.job_id)
        metrics.flush_metrics()

    def left(self, provider: str, count: int) -> None:
        """The alarms watch it by `service` and `provider`, and would not see it with one more."""
        metrics = EphemeralMetrics(namespace=NAMESPACE)
        metrics.add_dimension(name="provider", value=provider)
        metrics.add_metric(name=LEFT, unit=MetricUnit.Count, value=count)
        metrics.flush_metrics()
