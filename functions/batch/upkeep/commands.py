"""What people may ask of a running job."""

from __future__ import annotations

from collections.abc import Mapping

from functions.batch.errors import Conflict
from functions.batch.ledger_ports import Ledger
from functions.batch.money_ports import Approvals
from functions.batch.ports import Workflows
from functions.batch.spending.approving import reply, wake

PROVIDERS = ("openai", "anthropic", "vertex")


def obey(
    command: str,
    detail: Mapping[str, object],
    said_at: str,
    *,
    ledger: Ledger,
    approvals: Approvals,
    workflows: Workflows,
) -> bool:
    """False where there is nothing to do: the job does not exist, has ended, or did not ask.
    `said_at`: when the command was given, ISO 8601.

    A cancel is a flag in the ledger: every step reads it before it spends or starts anything. A
    resume is a time there: what waits for the provider longer than that goes on.
    """
    match command:
        case "Cancel Job":
            job_id = str(detail["job_id"])
            try:
                ledger.update_job(job_id, {"cancel_requested": True})
            except Conflict:
                return False
            wake(job_id, approvals=approvals, workflows=workflows)
            return True
        case "Approve Job" | "Refuse Job":
            answer = "approved" if command == "Approve Job" else "refused"
            job_id = str(detail["job_id"])
            return reply(job_id, answer, said_at, approvals=approvals, workflows=workflows)
        case "Resume Provider":
            return _resume(str(detail["provider"]), ledger)
        case _:
            raise ValueError(f"There is no command {command!r}.")


def _resume(provider: str, ledger: Ledger) -> bool:
    if provider not in PROVIDERS:
        raise ValueError(f"There is no provider {provider!r}; there are {', '.join(PROVIDERS)}.")
    ledger.resume(provider)
    return True
