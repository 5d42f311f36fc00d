"""Trouble that a person has to end: the job says so, and one alert goes out."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from functions.batch.errors import Conflict, ProviderError
from functions.batch.ledger_ports import Ledger
from functions.batch.model import Reason, Shard
from functions.batch.ports import Alerts


class Pauses(msgspec.Struct, kw_only=True):
    """A job is `paused` from the first shard that meets the trouble until one works again."""

    ledger: Ledger
    alerts: Alerts

    def blocked(self, shard: Shard, error: ProviderError) -> None:
        reason = Reason(
            error.code,
            f"{shard.provider} refuses the account: {error.message} Mend it there, or set another "
            f"key with: batchdrop keys set {shard.provider}. The job goes on by itself, at once "
            f"with: batchdrop resume {shard.provider}.",
        )
        self._pause(shard, reason)

    def doubtful(self, shard: Shard, error: ProviderError) -> None:
        reason = Reason(
            "creates_fail",
            f"{shard.provider} gave no usable answer to {shard.doubts} creates of shard "
            f"{shard.shard_id}, and has no batch of it: {error.message} If batches named after "
            "the job are there all the same, cancel them. It is tried again less and less often, "
            f"at once with: batchdrop resume {shard.provider}.",
        )
        self._pause(shard, reason)

    def vanished(self, shard: Shard) -> None:
        reason = Reason(
            "batches_vanished",
            f"{shard.provider} knows none of the open batches any more, {shard.batch_id} among "
            "them: most likely the stored key is another project's now. Set the old one again "
            f"with: batchdrop keys set {shard.provider}. If the batches are really gone, have "
            f"their rows sent again with: batchdrop resume {shard.provider}.",
        )
        self._pause(shard, reason)

    def _pause(self, shard: Shard, reason: Reason) -> None:
        """The shard that changes the status tells, if need be when it runs again: others that
        meet the same trouble at the same time do not."""
        paused = self.ledger.change_status(
            shard.job_id, "running", "paused", {"reason": reason, "untold": shard.shard_id}
        )
        if paused or self.ledger.job(shard.job_id).untold == shard.shard_id:
            self.alerts.alert(f"Batchdrop: job {shard.job_id} is paused", reason.message)
            with suppress(Conflict):  # raised for a job that has ended meanwhile
                self.ledger.update_job(shard.job_id, {"untold": None})

    def working(self, job_id: str) -> None:
        self.ledger.change_status(job_id, "paused", "running", {"reason": None})

    def stuck(self, shard: Shard, seconds: int) -> None:
        self.alerts.alert(
            f"Batchdrop: a batch of {shard.model} does not end",
            f"{shard.provider} batch {shard.batch_id} of {shard.model} is {shard.provider_status} "
            f"after {seconds // 3_600} hours. It is cancelled, what it finished is kept, and the "
            f"rest of its {shard.rows} rows goes again.",
        )

    def endless(self, shard: Shard, seconds: int, said: str) -> None:
        self.alerts.alert(
            f"Batchdrop: a batch of {shard.model} does not end, though it was cancelled",
            f"{shard.provider} batch {shard.batch_id} was not seen to end in {seconds // 3_600} "
            f"hours: {said} Its {shard.rows} rows count as failed; they are not sent again, since "
            "it may still be answered, and billed.",
        )

    def ambiguous(self, shard: Shard, batches: list[str]) -> None:
        self.alerts.alert(
            f"Batchdrop: shard {shard.shard_id} of {shard.job_id} is parked",
            f"{shard.provider} holds several batches that may be this shard's: "
            f"{', '.join(batches)}. None is taken by guessing: cancel all but one there.",
        )
