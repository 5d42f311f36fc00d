"""Asks how a batch is doing, until it has ended, in whatever way."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from functions.batch import waits
from functions.batch.errors import AccountBlocked, KeyMissing, Missing, ProviderError
from functions.batch.model import (
    BATCH_GONE,
    BatchState,
    ProviderFile,
    Refusal,
    Shard,
    ShardStep,
    now,
)
from functions.batch.pausing import Pauses
from functions.batch.ports import Ledger, Provider

GONE_LAPS = 5
"""A batch that is not found for so many laps in a row is gone."""


class Poller(msgspec.Struct, kw_only=True):
    """Waits are in seconds. Counts that the provider reports are recorded for display only.

    A batch that has not ended `stuck_after` seconds of waiting is cancelled, with an alert; what
    it finished is harvested, and the rest goes again."""

    ledger: Ledger
    provider: Callable[[], Provider]
    pauses: Pauses
    least_wait: int
    most_wait: int
    stuck_after: int

    def poll(self, job_id: str, shard_id: str, step: ShardStep) -> ShardStep:
        shard = self.ledger.shard(job_id, shard_id)
        batch_id = shard.batch_id
        if shard.status != "submitted" or batch_id is None:
            return ShardStep(next="collect")
        job = self.ledger.job(job_id)
        try:
            provider = self.provider()
            stuck = step.waited > self.stuck_after
            if (job.cancel_requested or stuck) and not shard.cancel_sent:
                shard = self._cancel(shard, provider, batch_id)
                if stuck:
                    self.pauses.stuck(shard, step.waited)
            state = provider.poll(batch_id)
        except Missing as error:
            return self._missing(shard, error, step)
        except (AccountBlocked, KeyMissing) as error:
            self.pauses.blocked(shard, error)
            return _troubled(step, error, waits.blocked_wait(_in_a_row(error, step)))
        except ProviderError as error:
            wait = self._next_wait(step, error.retry_after)
            return _troubled(step, error, wait)
        if job.status == "paused":
            self.pauses.working(job_id)
        if state.outcome is not None:
            return self._ended(shard, state)
        self._note_progress(shard, state)
        wait = self._next_wait(step, state.retry_after)
        return ShardStep(
            next="wait", wait_seconds=wait, lap=step.lap + 1, waited=step.waited + wait
        )

    def _next_wait(self, step: ShardStep, asked: float | None) -> int:
        return waits.poll_wait(
            step.lap,
            step.waited,
            least=self.least_wait,
            most=self.most_wait,
            asked=asked,
        )

    def _cancel(self, shard: Shard, provider: Provider, batch_id: str) -> Shard:
        provider.cancel(batch_id)
        shard.cancel_sent = True
        return self.ledger.save_shard(shard)

    def _missing(self, shard: Shard, error: Missing, step: ShardStep) -> ShardStep:
        seen = _in_a_row(error, step) + 1
        if seen < GONE_LAPS:
            return _troubled(step, error, self._next_wait(step, None))
        shard.refusal = Refusal(
            code=BATCH_GONE,
            message=f"The provider does not know batch {shard.batch_id} any more.",
            then="resend",
        )
        shard.status = "ended"
        shard.provider_status = "gone"
        shard.ended_at = now()
        self.ledger.save_shard(shard)
        return ShardStep(next="collect")

    def _ended(self, shard: Shard, state: BatchState) -> ShardStep:
        for output in state.outputs:
            self.ledger.add_file(
                ProviderFile(
                    job_id=shard.job_id,
                    shard_id=shard.shard_id,
                    provider=shard.provider,
                    kind=output.kind,
                    id=output.id,
                    created_at=now(),
                )
            )
        shard.outputs = [output.id for output in state.outputs]
        shard.status = "ended"
        shard.complete = state.complete
        shard.refusal = state.refusal
        if state.refusal is not None and state.refusal.account:
            blocked = AccountBlocked(state.refusal.code, state.refusal.message)
            self.pauses.blocked(shard, blocked)
        shard.provider_status = state.status
        shard.progress = state.progress
        shard.ended_at = now()
        self.ledger.save_shard(shard)
        return ShardStep(next="collect")

    def _note_progress(self, shard: Shard, state: BatchState) -> None:
        if (shard.provider_status, shard.progress) != (state.status, state.progress):
            shard.provider_status = state.status
            shard.progress = state.progress
            self.ledger.save_shard(shard)


def _in_a_row(error: ProviderError, step: ShardStep) -> int:
    return step.troubles if step.trouble == type(error).__name__ else 0


def _troubled(step: ShardStep, error: ProviderError, wait: int) -> ShardStep:
    return ShardStep(
        next="wait",
        wait_seconds=wait,
        lap=step.lap + 1,
        waited=step.waited + wait,
        troubles=_in_a_row(error, step) + 1,
        trouble=type(error).__name__,
    )
