"""What a batch adds to the sums of its day."""

from __future__ import annotations

from datetime import datetime

from functions.batch.model import Shard
from functions.batch.money import Bill


def sums(shard: Shard) -> dict[str, int]:
    """Money in picodollars, turnaround in seconds from the creation of a batch to its end as it
    was seen: divide by `batches` for the mean."""
    bill = shard.bill or Bill()
    answered = shard.answered
    return {
        "batches": 1,
        "turnaround_seconds": turnaround(shard) or 0,
        "rows_succeeded": answered.succeeded if answered else 0,
        "rows_failed": answered.failed if answered else 0,
        "rows_again": answered.again if answered else 0,
        "rows_billed": bill.rows,
        "rows_unpriced": bill.unpriced,
        "input_tokens": bill.input_tokens,
        "cached_input_tokens": bill.cached_input_tokens,
        "cache_write_tokens": bill.cache_write_tokens,
        "output_tokens": bill.output_tokens,
        "actual": bill.actual,
        "listed": bill.listed,
    }


def turnaround(shard: Shard) -> int | None:
    if shard.submitted_at is None or shard.ended_at is None:
        return None
    began = datetime.fromisoformat(shard.submitted_at)
    ended = datetime.fromisoformat(shard.ended_at)
    return max(int((ended - began).total_seconds()), 0)
