"""Asks how a batch is doing, until it has ended, in whatever way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from functions.batch.errors import (
    AccountBlocked,
    KeyMissing,
    Missing,
    NotVisible,
    ProviderError,
    Unconfirmed,
)
from functions.batch.ledger_ports import Ledger
from functions.batch.model import (
    BATCH_GONE,
    GAVE_UP,
    BatchState,
    Job,
    ProviderFile,
    Refusal,
    Shard,
    ShardStep,
    Tag,
    now,
)
from functions.batch.ports import Provider
from functions.batch.sending import laps, waits
from functions.batch.sending.pausing import Pauses
from functions.batch.sending.reserving import Reserver

GONE_LAPS = 5
"""A batch that is not found for so many laps in a row is gone."""

EARLY_LAPS = {"answers": 6, "errors": 2}
"""For so many laps, half an hour or a minute and a half in all, a batch that has ended is asked
where its answers are. One that says that it is complete may name their file some time later. Rows
that failed were not paid, and some services tell them among the answers."""

BY_ITSELF = 4
"""Every fourth lap at least a batch is asked itself how it is doing."""

GIVE_UP = 2
"""So many times `stuck_after` a batch is waited for that was cancelled and does not end, or of
which nothing is heard, for `GONE_LAPS` at least: a long pause is waited for, too."""

_AT_ONCE = timedelta(hours=1)
_ASKED = 3  # other open batches that are looked for, before they are called gone as well


class Poller(msgspec.Struct, kw_only=True):
    """Waits are in seconds. Counts that the provider reports are recorded for display only.

    A batch that has not ended `stuck_after` seconds of waiting is cancelled, with an alert; what
    it finished is harvested, and the rest goes again."""

    stack: str
    ledger: Ledger
    provider: Callable[[], Provider]
    pauses: Pauses
    reserver: Reserver
    least_wait: int
    most_wait: int
    stuck_after: int

    def poll(self, job_id: str, shard_id: str, step: ShardStep) -> ShardStep:
        shard = self.ledger.shard(job_id, shard_id)
        batch_id = shard.batch_id
        if shard.status != "submitted" or batch_id is None:
            return ShardStep(next="collect")
        job = self.ledger.job(job_id)
        resumed = laps.resumed(step, shard.provider, self.ledger)
        if step.owed and not resumed and not job.cancel_requested:
            return laps.next_slice(step)
        try:
            provider = self.provider()
            if job.cancel_requested or step.waited > self.stuck_after:
                shard = self._cancel(shard, provider, batch_id, job, step)
            listed = provider.running(batch_id) if self._may_be_listed(job, step) else None
            state = listed or provider.poll(batch_id)
        except Missing as error:
            return self._missing(shard, error, step, resumed=resumed)
        except (AccountBlocked, KeyMissing) as error:
            self.pauses.blocked(shard, error)
            step = laps.afresh(step) if resumed else step
            wait = waits.blocked_wait(laps.in_a_row(error, step))
            return laps.troubled(error, step, wait, "wait")
        except ProviderError as error:
            silent = laps.in_a_row(error, step) >= GONE_LAPS
            if silent and step.waited > GIVE_UP * self.stuck_after:
                unknown = BatchState(status=shard.provider_status or "unknown", outcome=None)
                return self._give_up(shard, unknown, step, error)
            wait = self._next_wait(step, error.retry_after)
            return laps.troubled(error, step, wait, "wait")
        if step.trouble == Missing.__name__:
            self.ledger.forget_missing(shard)
        if job.status == "paused":
            self.pauses.working(job_id)
        if state.outcome is not None:
            return self._early(state, step) or self._ended(shard, state)
        if step.waited > GIVE_UP * self.stuck_after:
            return self._give_up(shard, state, step)
        self._note_progress(shard, state)
        wait = self._next_wait(step, state.retry_after)
        return laps.sliced(
            ShardStep(next="wait", wait_seconds=wait, lap=step.lap + 1, waited=step.waited + wait)
        )

    def _may_be_listed(self, job: Job, step: ShardStep) -> bool:
        """Whether a list may tell that the batch runs still: not every time, since it may lag, and
        not where something else has to be found out, or decided."""
        return (
            step.lap % BY_ITSELF > 0
            and not step.trouble
            and not job.cancel_requested
            and step.waited <= self.stuck_after
        )

    def _next_wait(self, step: ShardStep, asked: float | None) -> int:
        return waits.poll_wait(
            step.lap,
            step.waited,
            least=self.least_wait,
            most=self.most_wait,
            asked=asked,
        )

    def _cancel(
        self, shard: Shard, provider: Provider, batch_id: str, job: Job, step: ShardStep
    ) -> Shard:
        if shard.cancel_sent:
            return shard
        try:
            provider.cancel(batch_id)
        except (AccountBlocked, KeyMissing):
            raise
        except ProviderError:
            # Asked for again on the next lap. The batch may have ended all the same; and whether it
            # is gone, only the batch itself tells: a service may have no such path.
            return shard
        if not job.cancel_requested:
            self.pauses.stuck(shard, step.waited)
        shard.cancel_sent = True
        return self.ledger.save_shard(shard)

    def _missing(
        self, shard: Shard, error: Missing, step: ShardStep, *, resumed: bool
    ) -> ShardStep:
        """Gone after five laps; but if no open batch can be seen at all, it is the key that sees
        others now, and nothing is paid again before a person has said so."""
        seen = laps.in_a_row(error, step) + 1
        if seen == 1:
            self.ledger.note_missing(shard)
        if seen < GONE_LAPS:
            return laps.troubled(error, step, self._next_wait(step, None), "wait")
        try:
            vanished = not resumed and self._none_visible(shard)
        except ProviderError as trouble:
            wait = self._next_wait(step, trouble.retry_after)
            return laps.troubled(error, step, wait, "wait")
        if vanished:
            self.pauses.vanished(shard)
            wait = waits.blocked_wait(seen - GONE_LAPS)
            return laps.troubled(error, step, wait, "wait")
        shard.refusal = Refusal(
            code=BATCH_GONE,
            message=f"The provider does not know batch {shard.batch_id} any more.",
            then="resend",
        )
        shard.status = "ended"
        shard.provider_status = "gone"
        shard.ended_at = now()
        shard = self.ledger.save_shard(shard)
        self.ledger.forget_missing(shard)
        self.pauses.working(shard.job_id)
        return ShardStep(next="collect")

    def _none_visible(self, shard: Shard) -> bool:
        """Whether other batches are open, or were until an hour ago, and none of them is seen."""
        since = (datetime.now(UTC) - _AT_ONCE).isoformat()
        others = {
            (other.job_id, other.shard_id): other
            for other in self.ledger.shards(shard.job_id)
            if other.provider == shard.provider
            and (other.status == "submitted" or _gone_since(other, since))
        }
        for job_id, shard_id in self.ledger.missing(shard.provider, since):
            with suppress(LookupError):
                others.setdefault((job_id, shard_id), self.ledger.shard(job_id, shard_id))
        others.pop((shard.job_id, shard.shard_id), None)
        asked = sorted(others.values(), key=lambda other: other.status != "submitted")
        return bool(asked) and not any(self._visible(other) for other in asked[:_ASKED])

    def _visible(self, shard: Shard) -> bool:
        tag = Tag(
            stack=self.stack,
            job_id=shard.job_id,
            shard_id=shard.shard_id,
            attempt=shard.attempt,
        )
        since = shard.intent_at or shard.submitted_at or now()
        try:
            found = self.provider().find_batches(tag, since, shard.rows)
        except Unconfirmed as doubt:
            found = doubt.candidates
        return shard.batch_id in found

    def _early(self, state: BatchState, step: ShardStep) -> ShardStep | None:
        """A lap more for answers that are said to be there and are not seen: without them, their
        rows would be sent, and paid, again. None once that was tried often enough."""
        unseen = NotVisible("no_answers_yet", "The batch has ended, and its answers are not seen.")
        laps_before = laps.in_a_row(unseen, step)
        if state.early is None or laps_before >= EARLY_LAPS[state.early]:
            return None
        return laps.troubled(unseen, step, waits.trouble_wait(laps_before), "wait")

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
        shard.refusal = self._judged(shard, state.refusal)
        if state.refusal is not None and state.refusal.account:
            blocked = AccountBlocked(state.refusal.code, state.refusal.message)
            self.pauses.blocked(shard, blocked)
        shard.provider_status = state.status
        shard.progress = state.progress
        shard.ended_at = now()
        self.ledger.save_shard(shard)
        return ShardStep(next="collect")

    def _give_up(
        self,
        shard: Shard,
        state: BatchState,
        step: ShardStep,
        error: ProviderError | None = None,
    ) -> ShardStep:
        """It does not even end when it is cancelled, or nobody says whether it does. It may still
        be billed, so that its rows are not sent again."""
        said = f"it is {state.status}." if error is None else f"last heard: {error.message}"
        self.pauses.endless(shard, step.waited, said)
        refusal = Refusal(
            code=GAVE_UP,
            message=f"Batch {shard.batch_id} was not seen to end in {step.waited // 3_600} hours, "
            f"although it was to be cancelled: {said}",
            then="fail",
        )
        return self._ended(shard, msgspec.structs.replace(state, refusal=refusal))

    def _judged(self, shard: Shard, refusal: Refusal | None) -> Refusal | None:
        """A shard that was too much for the queue though it was alone in it is split."""
        if refusal is None or not refusal.capacity:
            return refusal
        if self.reserver.refused(shard) and shard.rows > 1:
            return msgspec.structs.replace(refusal, then="split")
        return refusal

    def _note_progress(self, shard: Shard, state: BatchState) -> None:
        if (shard.provider_status, shard.progress) != (state.status, state.progress):
            shard.provider_status = state.status
            shard.progress = state.progress
            self.ledger.save_shard(shard)


def _gone_since(shard: Shard, since: str) -> bool:
    gone = shard.refusal is not None and shard.refusal.code == BATCH_GONE
    return gone and (shard.ended_at or "") > since
