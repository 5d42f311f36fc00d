"""What a job cost, as its summary and its events tell it, in dollars."""

from __future__ import annotations

from collections.abc import Iterable

from functions.batch.model import Shard
from functions.batch.money import Bill, Estimate, dollars
from functions.batch.pricing import model_of


def total(shards: Iterable[Shard]) -> Bill:
    bill = Bill()
    for shard in shards:
        if shard.bill is not None:
            bill.add(shard.bill)
    bill.source = None
    return bill


def spent(shards: Iterable[Shard]) -> int | None:
    """In picodollars; None if a batch may have been billed of which nothing, or not all, is
    known."""
    bill = Bill()
    for shard in shards:
        if shard.bill is not None:
            bill.add(shard.bill)
        elif shard.batch_id is not None or shard.creating:
            return None
    return bill.paid


def cost(estimate: Estimate | None, shards: Iterable[Shard]) -> dict[str, object]:
    """`actual_usd` and what follows from it are null if a part of it is not known."""
    models: dict[str, Bill] = {}
    for shard in shards:
        if shard.bill is not None:
            models.setdefault(model_of(shard.group), Bill()).add(shard.bill)
    bill = Bill()
    for each in models.values():
        bill.add(each)
    return {
        "estimated_usd": dollars(estimate and estimate.expected),
        "estimate": None
        if estimate is None
        else {"low_usd": dollars(estimate.low), "high_usd": dollars(estimate.high)},
        **_sums(bill),
        "by_model": {
            model: {
                "rows": each.rows,
                "input_tokens": each.input_tokens,
                "cached_input_tokens": each.cached_input_tokens,
                "cache_write_tokens": each.cache_write_tokens,
                "output_tokens": each.output_tokens,
                **_sums(each),
                "price": each.source,
            }
            for model, each in sorted(models.items())
        },
    }


def paid(bill: Bill) -> dict[str, object]:
    return {"actual_usd": dollars(bill.paid), "list_usd": dollars(bill.in_real_time)}


def _sums(bill: Bill) -> dict[str, object]:
    return {
        **paid(bill),
        "saved_usd": dollars(bill.saved),
        "unpriced_rows": bill.unpriced,
        "list_price_rows": bill.at_list,
    }
