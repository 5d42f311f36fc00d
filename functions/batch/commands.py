"""What people may ask of a running job."""

from __future__ import annotations

from collections.abc import Mapping

from functions.batch.approving import reply, wake
from functions.batch.errors import Conflict
from functions.batch.ports import Approvals, Ledger, Workflows


def obey(
    command: str,
    detail: Mapping[str, object],
    *,
    ledger: Ledger,
    approvals: Approvals,
    workflows: Workflows,
) -> bool:
    """False where there is nothing to do: the job does not exist, has ended, or did not ask.

    A cancel is a flag in the ledger: every step reads it before it spends or starts anything.
    """
    job_id = str(detail["job_id"])
    match command:
        case "Cancel Job":
            try:
                ledger.update_job(job_id, {"cancel_requested": True})
            except Conflict:
                return False
            wake(job_id, approvals=approvals, workflows=workflows)
            return True
        case "Approve Job":
            return reply(job_id, "approved", approvals=approvals, workflows=workflows)
        case "Refuse Job":
            return reply(job_id, "refused", approvals=approvals, workflows=workflows)
        case _:
            raise ValueError(f"There is no command {command!r}.")
