"""What the use cases need for money: prices, budgets, approvals, and the sums that are kept. See
`functions.batch.ports`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from functions.batch.model import (
    Job,
    Shard,
)
from functions.batch.pricing import Rates


class Prices(Protocol):
    def rates(self, provider: str, model: str) -> Rates | None:
        """Today's; None for a model that nobody knows the price of."""
        ...


class Budget(msgspec.Struct, frozen=True):
    """`name` is `day#YYYY-MM-DD` or `month#YYYY-MM`; `limit` in picodollars."""

    name: str
    limit: int


class Shortfall(msgspec.Struct, frozen=True):
    """The first budget that is too small for what was asked, and what it has committed."""

    budget: Budget
    committed: int


class Budgets(Protocol):
    """What jobs have spent, and what running ones may spend at most. All amounts are exact."""

    def reserve(self, job_id: str, amount: int, budgets: Sequence[Budget]) -> Shortfall | None:
        """Commits `amount` to all of the budgets, or to none. A job reserves once: whoever asks
        again gets the same answer (None), and nothing is added."""
        ...

    def settle(self, job_id: str, spent: int | None) -> bool:
        """Puts what was spent in the place of what was reserved; None: not known, so that all of
        it stays committed. Once for each job, False after that. A job that reserved nothing can
        reserve nothing any more."""
        ...


ApprovalAnswer = Literal["approved", "refused", "unanswered"]
Question = Literal["start", "canary"]
"""Whether a job may start, and whether it may go on after a canary in trouble."""


class Approval(msgspec.Struct, kw_only=True):
    """A job's question. `token` wakes the workflow that waits; `asked_at` is when it was asked for
    the first time; `told`: people were asked."""

    job_id: str
    token: str
    asked_at: str = ""
    told: bool = False
    answer: ApprovalAnswer | None = None
    v: int = 1


class Approvals(Protocol):
    def ask(self, job_id: str, token: str, question: Question = "start") -> Approval:
        """Stores the token, in the place of an earlier one; the question as it now stands."""
        ...

    def told(self, job_id: str, question: Question = "start") -> None: ...

    def answer(
        self, job_id: str, answer: ApprovalAnswer, question: Question = "start"
    ) -> Approval | None:
        """Keeps the first answer; the question as it now stands. None if it was never asked."""
        ...

    def find(self, job_id: str, question: Question = "start") -> Approval | None: ...


class Rollups(Protocol):
    def add(self, shard: Shard, folder: str, day: str) -> None:
        """Adds the bill of a shard to the sums of its day, by model and by folder. Once for each
        shard."""
        ...


class Metrics(Protocol):
    def batch(self, shard: Shard) -> None:
        """Of a batch that was collected."""
        ...

    def job(self, job: Job) -> None:
        """Of a job that has ended."""
        ...

    def left(self, provider: str, count: int) -> None:
        """What could not be deleted at the provider, told by whoever gave it up for now. Whoever
        runs twice may tell it twice."""
        ...
