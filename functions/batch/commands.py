"""What people may ask of a running job."""

from __future__ import annotations

from collections.abc import Mapping

from functions.batch.errors import Conflict
from functions.batch.ports import Ledger


def obey(command: str, detail: Mapping[str, object], *, ledger: Ledger) -> bool:
    """False where there is nothing to do: the job does not exist, or has ended.

    A cancel is a flag in the ledger: every step reads it before it spends or starts anything.
    """
    if command != "Cancel Job":
        raise ValueError(f"There is no command {command!r}.")
    try:
        ledger.update_job(str(detail["job_id"]), {"cancel_requested": True})
    except Conflict:
        return False
    return True
