"""Decides, before anything is sent, whether a job may start: its price, its cap, a person's word,
and the budgets of the day and of the month.

What may be spent at most is committed to the budgets before the job starts, and settled when it
ends: a hundred jobs at once cannot overspend what one of them alone could not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES, UNANSWERED_DAYS, Job, JobStatus, Reason
from functions.batch.money import Estimate, Promise, picodollars, shown
from functions.batch.money_ports import Approvals, Budget, Budgets, Prices, Shortfall
from functions.batch.outcomes import range_results
from functions.batch.ports import Objects
from functions.batch.pricing import PriceList
from functions.batch.reading.legs import is_unread
from functions.batch.repeats.deduped import to_be_sent
from functions.batch.spending import canary
from functions.batch.spending.estimating import estimate, find_prices, upper_percent, weigh
from functions.batch.spending.overrides import Overrides
from functions.batch.work import RangeResult, Source

Admission = Literal["shard", "start", "ask", "report"]
"""`shard`: not all of the input was read yet."""

_STARTED: frozenset[JobStatus] = frozenset({"running", "paused", "assembling"})
_PERIODS = {"daily": "day", "monthly": "month"}


class Gate(msgspec.Struct, kw_only=True):
    """`allowance`: output tokens of a row without a limit. Budgets are in dollars, null: none."""

    ledger: Ledger
    objects: Objects
    prices: Prices
    budgets: Budgets
    approvals: Approvals
    overrides: Overrides
    allowance: int | None = None
    daily_budget_usd: Decimal | None = None
    monthly_budget_usd: Decimal | None = None
    canary_above: int = canary.ABOVE

    def admit(self, job_id: str, *, unanswered: bool = False) -> Admission:
        """May run twice, and again for a job that was admitted before: it stays so.

        `unanswered`: the job waited for its approval as long as one may.
        """
        job = self.ledger.job(job_id)
        if job.verdict is not None or job.status in FINAL_JOB_STATUSES:
            return "report"
        results = list(range_results(self.objects, job_id))
        if is_unread(results):
            return "shard"
        made, percents = self._estimate(job, results)
        if job.estimate != made:
            self.ledger.update_job(job_id, {"estimate": made})
        if job.cancel_requested or job.status in _STARTED or job.round:
            return self._start(job)
        reason = self._beyond_bounds(job, made) or self._over_cap(job, made)
        if reason is None and self._needs_approval(job, made):
            word = self._word(job, unanswered=unanswered)
            if word == "ask":
                return "ask"
            reason = word
        if reason is None:
            reason = self._over_budget(job, self._promised(job, made, percents), made)
        if reason is not None:
            self.ledger.update_job(job_id, {"verdict": "rejected", "reason": reason})
            return "report"
        return self._start(job)

    def _estimate(self, job: Job, results: list[RangeResult]) -> tuple[Estimate, dict[str, int]]:
        """And by how many percent each model's tokens were taken for the bound."""
        sources = to_be_sent(self.objects, job.job_id, results)
        weights = weigh(sources)
        own = {} if job.limits is None else job.limits.prices
        prices = find_prices(
            job.job_id,
            weights,
            objects=self.objects,
            prices=self.prices,
            overrides=(own, self.overrides),
        )
        learned = {
            each: self.ledger.learned(*each)
            for each in {(group.provider, group.model) for group in weights}
        }
        made = estimate(
            weights,
            prices,
            allowance=self.allowance,
            learned=lambda provider, model: learned[provider, model],
        )
        if canary.is_due(sources, self.canary_above):
            made.canary = self._canary(job, sources, prices)
        return made, {"/".join(each): upper_percent(known) for each, known in learned.items()}

    def _canary(self, job: Job, sources: list[Source], prices: PriceList) -> int | None:
        """As it was expected before its own answers taught better."""
        if job.round and job.estimate is not None:
            return job.estimate.canary
        weights = weigh(canary.split(sources)[0])
        learned = self.ledger.learned
        return estimate(weights, prices, allowance=self.allowance, learned=learned).expected

    def _start(self, job: Job) -> Admission:
        """Back to where Reconcile takes it up; one that waits has been answered, or cancelled. One
        that waits because of its canary has not: Reconcile asks again."""
        if job.round:
            return "start"
        self.ledger.change_status(job.job_id, "awaiting_approval", "planning", {"reason": None})
        return "start"

    def _beyond_bounds(self, job: Job, made: Estimate) -> Reason | None:
        """A promise that cannot be kept is not made."""
        kept = self._promises(job)
        if not kept or made.high is not None:
            return None
        if made.unpriced:
            models = ", ".join(made.unpriced)
            example = f'{{"{made.unpriced[0]}": {{"input": 0.30, "output": 1.00}}}}'
            return Reason(
                "no_price",
                f"No price is known for {models}, so {kept} cannot be kept, and nothing was sent. "
                "Set one, in dollars per million tokens, with the setting (or in the recipe) "
                f"prices: {example}.",
            )
        return Reason(
            "no_output_limit",
            f"{made.unbounded} rows have no limit on their output, so {kept} cannot be kept, and "
            "nothing was sent. Give each row one (max_tokens, max_output_tokens, "
            "maxOutputTokens), or say with the setting output_allowance_tokens how many tokens "
            "a row may use that has none.",
        )

    def _promises(self, job: Job) -> str:
        limits = job.limits
        names = {
            "max_cost_usd": limits and limits.max_cost_usd,
            "daily_budget_usd": self.daily_budget_usd,
            "monthly_budget_usd": self.monthly_budget_usd,
        }
        return " and ".join(name for name, amount in names.items() if amount is not None)

    def _over_cap(self, job: Job, made: Estimate) -> Reason | None:
        cap = job.limits and job.limits.max_cost_usd
        if cap is None or made.high is None or made.high <= picodollars(cap):
            return None
        return Reason(
            "over_max_cost",
            f"{figures(made)} That is more than max_cost_usd, {shown(picodollars(cap))}: nothing "
            "was sent. Lower the rows' limits on output, split the file, or raise max_cost_usd.",
        )

    def _needs_approval(self, job: Job, made: Estimate) -> bool:
        bound = job.limits and job.limits.approve_above_usd
        return bound is not None and (made.high is None or made.high > picodollars(bound))

    def _word(self, job: Job, *, unanswered: bool) -> Literal["ask"] | Reason | None:
        """None: approved."""
        said = self.approvals.find(job.job_id)
        if unanswered and said is not None and said.answer is None:
            said = self.approvals.answer(job.job_id, "unanswered")
        match said.answer if said is not None else None:
            case "approved":
                return None
            case "refused":
                return Reason("refused", "Somebody refused the job: nothing was sent.")
            case "unanswered":
                return Reason(
                    "unanswered",
                    f"Nobody approved the job within {UNANSWERED_DAYS} days: nothing was sent. "
                    "Drop the file again to ask again.",
                )
            case None:
                return "ask"

    def _promised(self, job: Job, made: Estimate, percents: dict[str, int]) -> Promise | None:
        """The same each time: what was committed to the budgets was found with the first one."""
        if job.promise is not None or not self._promises(job):
            return job.promise
        assert made.high is not None  # or the bounds were not passed
        cap = job.limits and job.limits.max_cost_usd
        most = made.high if cap is None or self._budgets() else picodollars(cap)
        promise = Promise(most=most, percents=percents, allowance=self.allowance)
        self.ledger.update_job(job.job_id, {"promise": promise})
        return promise

    def _over_budget(self, job: Job, promise: Promise | None, made: Estimate) -> Reason | None:
        budgets = self._budgets()
        if promise is None or not budgets:
            return None
        short = self.budgets.reserve(job.job_id, promise.most, budgets)
        return None if short is None else _short(short, made)

    def _budgets(self) -> list[Budget]:
        today = datetime.now(UTC).date().isoformat()
        limits = {"daily": self.daily_budget_usd, "monthly": self.monthly_budget_usd}
        names = {"daily": today, "monthly": today[:7]}
        return [
            Budget(f"{_PERIODS[period]}#{names[period]}", picodollars(limit))
            for period, limit in limits.items()
            if limit is not None
        ]


def figures(made: Estimate) -> str:
    if made.high is None:
        least = "" if made.low is None else f", at least {shown(made.low)}"
        return f"What the job may cost is not known{least}."
    return (
        f"The job may cost up to {shown(made.high)}; {shown(made.expected)} is expected, "
        f"{shown(made.low)} the least."
    )


def _short(short: Shortfall, made: Estimate) -> Reason:
    period = "daily" if short.budget.name.startswith("day#") else "monthly"
    left = max(short.budget.limit - short.committed, 0)
    return Reason(
        f"over_{period}_budget",
        f"{figures(made)} Of the {period} budget of {shown(short.budget.limit)}, "
        f"{shown(short.committed)} is spent or promised to other jobs and {shown(left)} is left: "
        f"nothing was sent. Drop the file again when jobs have ended, or in the next "
        f"{_PERIODS[period]} (UTC), or raise {period}_budget_usd.",
    )
