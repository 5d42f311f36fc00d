"""What a job may spend at most, where that was promised when it started: kept also when rows go
again, or a canary has shown that rows cost more than anybody thought.

The bound of all rows together is what was promised, or less. Once answers are paid for, what they
cost stands in the place of their rows' bound; rows whose bound does not fit beside it are not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from functions.batch.learning import Learned
from functions.batch.model import Job, Refusal, Shard
from functions.batch.money import DOLLAR, Promise, picodollars, shown
from functions.batch.pricing import PriceList, model_of
from functions.batch.rows import Group, Weight
from functions.batch.spending.estimating import upper_bound, upper_percent

ROUNDING = DOLLAR // 1_000_000
"""Picodollars: bounds of parts are rounded up each."""

Weighed = tuple[Group, Weight]


class Keeper:
    """Of one job's promise."""

    def __init__(
        self, promise: Promise, prices: PriceList, learned: Callable[[str, str], Learned]
    ) -> None:
        self._promise = promise
        self._prices = prices
        self._learned = learned

    def refusals(
        self, job: Job, planned: Iterable[Weighed], sent: Mapping[str, Weighed], shards: list[Shard]
    ) -> list[Refusal | None]:
        """For each of the planned shards, why it must not be sent; None: it may. `sent`: the job's
        shards so far, by their ids."""
        committed = sum(self._committed(shard, sent.get(shard.shard_id)) for shard in shards)
        left = self._promise.most + ROUNDING - committed
        found: list[Refusal | None] = []
        for group, weight in planned:
            bound = self._bound(group, weight)
            if bound is not None and bound <= left:
                left -= bound
                found.append(None)
            else:
                found.append(_refusal(job, self._promise.most, committed))
        return found

    def _committed(self, shard: Shard, weighed: Weighed | None) -> int:
        """What it cost, or while it has not ended, may cost. A batch whose answers are lost with
        its provider counts as far as it is known: its rows would else be lost as well."""
        if shard.bill is not None:
            return shard.bill.actual
        if shard.status in ("collected", "cleaned"):
            return 0
        bound = None if weighed is None else self._bound(*weighed)
        return self._promise.most if bound is None else bound

    def _bound(self, group: Group, weight: Weight) -> int | None:
        model = model_of(group)
        percent = self._promise.percents.get(model)
        if percent is None:  # a stronger model, for instance, that rows go to now
            percent = upper_percent(self._learned(group.provider, group.model))
        rates = self._prices.rates.get(model)
        return upper_bound(group, weight, rates, percent, self._promise.allowance)


def _refusal(job: Job, most: int, committed: int) -> Refusal:
    cap = job.limits and job.limits.max_cost_usd
    if cap is not None and picodollars(cap) <= most:
        code, bound = "over_max_cost", "its max_cost_usd"
        mend = "Raise it and drop failed.jsonl (or failed.csv) again."
    else:
        code, bound = "over_budget", "what it committed to the budget when it started"
        mend = "Drop failed.jsonl (or failed.csv) again: a new job commits what is known by now."
    return Refusal(
        code=code,
        message=f"The job may cost {shown(most)} at most, {bound}. {shown(committed)} of it is "
        f"spent or promised to other rows, and this row could cost more than is left: it was not "
        f"sent. {mend}",
        then="fail",
    )
