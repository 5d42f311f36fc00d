"""Trouble that a person has to end: the job says so, and one alert goes out."""

from __future__ import annotations

import msgspec

from functions.batch.errors import ProviderError
from functions.batch.model import Reason, Shard
from functions.batch.ports import Alerts, Ledger


class Pauses(msgspec.Struct, kw_only=True):
    """A job is `paused` from the first shard that meets the trouble until one works again."""

    ledger: Ledger
    alerts: Alerts

    def blocked(self, shard: Shard, error: ProviderError) -> None:
        reason = Reason(
            error.code,
            f"{shard.provider} refuses the account: {error.message} Mend it there, or set another "
            f"key with: batchdrop keys set {shard.provider}. The job goes on by itself.",
        )
        if self.ledger.change_status(shard.job_id, "running", "paused", reason):
            self.alerts.alert(f"Batchdrop: job {shard.job_id} is paused", reason.message)

    def working(self, job_id: str) -> None:
        self.ledger.change_status(job_id, "paused", "running", None)

    def stuck(self, shard: Shard, seconds: int) -> None:
        self.alerts.alert(
            f"Batchdrop: a batch of {shard.model} does not end",
            f"{shard.provider} batch {shard.batch_id} of {shard.model} is {shard.provider_status} "
            f"after {seconds // 3_600} hours. It is cancelled, what it finished is kept, and the "
            f"rest of its {shard.rows} rows goes again.",
        )

    def ambiguous(self, shard: Shard, batches: list[str]) -> None:
        self.alerts.alert(
            f"Batchdrop: shard {shard.shard_id} of {shard.job_id} is parked",
            f"{shard.provider} holds several batches that may be this shard's: "
            f"{', '.join(batches)}. None is taken by guessing: cancel all but one there.",
        )
