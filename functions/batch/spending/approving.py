"""A job that waits for a person: it asks once, and the first answer counts.

The answer is written down before the waiting workflow is woken, and the workflow's token before
anybody is asked: whichever comes last finds the other, so that no answer is lost.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from functions.batch.ledger_ports import Ledger
from functions.batch.model import UNANSWERED_DAYS, Job
from functions.batch.money_ports import Approval, Approvals, Question
from functions.batch.ports import Alerts, Events, Workflows
from functions.batch.spending.admission import figures
from functions.batch.spending.costs import cost


class Asker(msgspec.Struct, kw_only=True):
    """`stack` is named in the commands that the message tells."""

    stack: str
    ledger: Ledger
    approvals: Approvals
    workflows: Workflows
    events: Events
    alerts: Alerts

    def ask(self, job_id: str, token: str, question: Question = "start") -> None:
        """`token` wakes the workflow. May run twice, and in a later execution of the job: a new
        token replaces the old one, and nobody is asked again who was asked."""
        said = self.approvals.ask(job_id, token, question)
        job = self.ledger.job(job_id)
        if said.answer is not None or job.cancel_requested:
            self.workflows.wake(token)
            return
        if question == "start":
            self.ledger.change_status(job_id, "planning", "awaiting_approval", {"reason": None})
        else:
            for status in ("running", "paused"):
                self.ledger.change_status(job_id, status, "awaiting_approval", {})
        if said.told:
            return
        self.alerts.alert(
            f"Batchdrop: job {job_id} waits for approval", self._message(job, question)
        )
        self.events.publish(
            "Job Awaiting Approval",
            {
                "job_id": job_id,
                "status": "awaiting_approval",
                "input": {"bucket": job.bucket, "key": job.key, "bytes": job.bytes},
                "reason": job.reason if question == "canary" else None,
                "cost": cost(job.estimate, []),
            },
        )
        self.approvals.told(job_id, question)

    def _message(self, job: Job, question: Question) -> str:
        """What there is to decide, and how to."""
        what = self._figures(job) if question == "start" else _trouble(job)
        go = "let it start" if question == "start" else "let the rest go on"
        return (
            f"{job.key}: {what}"
            f"\n\nTo {go}:\n  batchdrop approve {job.job_id} --stack {self.stack}"
            f"\nTo refuse it:\n  batchdrop refuse {job.job_id} --stack {self.stack}"
            f"\n\nWithout an answer it is refused after {UNANSWERED_DAYS} days."
        )

    def _figures(self, job: Job) -> str:
        assert job.estimate is not None  # written by the step before
        unknown = f" No price is known for {', '.join(job.estimate.unpriced)}."
        unbounded = f" {job.estimate.unbounded} rows have no limit on their output."
        return (
            f"{figures(job.estimate)}"
            f"{unknown if job.estimate.unpriced else ''}"
            f"{unbounded if job.estimate.unbounded else ''}"
        )


def _trouble(job: Job) -> str:
    assert job.reason is not None  # written by the step before
    return job.reason.message


LEEWAY_SECONDS = 60
"""By which the clocks of who asks and who answers may differ."""


def reply(
    job_id: str,
    answer: Literal["approved", "refused"],
    said_at: str,
    *,
    approvals: Approvals,
    workflows: Workflows,
) -> bool:
    """Whether the answer counts: False if the job never asked, or was answered otherwise. It is to
    the last question that was asked by `said_at`: a message may come twice, and late, and what lets
    a job start says nothing of its canary."""
    canary = approvals.find(job_id, "canary")
    asked = canary is not None and not _long_before(said_at, canary.asked_at)
    said = approvals.answer(job_id, answer, "canary" if asked else "start")
    if said is None:
        return False
    workflows.wake(said.token)
    return said.answer == answer


def _long_before(one: str, other: str) -> bool:
    """False where that cannot be told."""
    try:
        between = datetime.fromisoformat(other) - datetime.fromisoformat(one)
    except (ValueError, TypeError):
        return False
    return between > timedelta(seconds=LEEWAY_SECONDS)


def wake(job_id: str, *, approvals: Approvals, workflows: Workflows) -> None:
    """For a job that was cancelled: it need not wait any longer."""
    said: Approval | None = approvals.find(job_id, "canary") or approvals.find(job_id)
    if said is not None:
        workflows.wake(said.token)
