"""What people may ask of a running job."""

from __future__ import annotations

from collections.abc import Mapping

from functions.batch.errors import Conflict
from functions.batch.ports import Ledger

PROVIDERS = ("openai", "anthropic", "vertex")


def obey(command: str, detail: Mapping[str, object], *, ledger: Ledger) -> bool:
    """False where there is nothing to do: the job does not exist, or has ended.

    A cancel is a flag in the ledger: every step reads it before it spends or starts anything. A
    resume is a time there: what waits for the provider longer than that goes on.
    """
    match command:
        case "Cancel Job":
            return _cancel(str(detail["job_id"]), ledger)
        case "Resume Provider":
            return _resume(str(detail["provider"]), ledger)
        case _:
            raise ValueError(f"There is no command {command!r}.")


def _cancel(job_id: str, ledger: Ledger) -> bool:
    try:
        ledger.update_job(job_id, {"cancel_requested": True})
    except Conflict:
        return False
    return True


def _resume(provider: str, ledger: Ledger) -> bool:
    if provider not in PROVIDERS:
        raise ValueError(f"There is no provider {provider!r}; there are {', '.join(PROVIDERS)}.")
    ledger.resume(provider)
    return True
