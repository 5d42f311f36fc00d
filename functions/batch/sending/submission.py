"""Submits one shard, once.

The intent is in the ledger before the provider hears anything, and so is the moment of creating.
Whoever finds a create without a batch looks for the batch at the provider first; only after three
look-ups that found nothing, a lap apart, is it created again. A definite refusal withdraws the
intent: nothing was created then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from functions.batch.errors import (
    AccountBlocked,
    KeyMissing,
    Missing,
    NotVisible,
    OverCapacity,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
    Unconfirmed,
)
from functions.batch.ledger_ports import Ledger
from functions.batch.model import (
    FINAL_JOB_STATUSES,
    MISSING_KEY,
    Job,
    ProviderFile,
    ProviderObject,
    Refusal,
    Shard,
    ShardStep,
    Tag,
    now,
)
from functions.batch.ports import Dialect, Objects, Provider
from functions.batch.sending import laps, waits
from functions.batch.sending.pausing import Pauses
from functions.batch.sending.reserving import Reserver
from functions.batch.sending.shard_files import write_requests
from functions.batch.turnaround import first_wait

LOOK_UPS = 3

MOST_DOUBTS = 5
"""Creates of one shard whose answer was lost, and of which no batch was found, before a person is
told and they become rarer: each may have made a batch that only its bill will show."""

_LONGEST_DOUBT = 1_800
"""Seconds between two look-ups at most, while one cannot be made or does not tell."""

LONG_DOUBT = 60
"""Laps, some 30 hours: what was running at first has ended since, and still does not tell."""

_RESTAGE_AFTER = 5
"""Laps in which a staged file stays invisible before it is uploaded again."""

_TELL_AFTER = 10
"""Laps after which it is not the file that is missing, but, say, the service's path for batches: a
person has to look."""

_SPLIT_AFTER = 2
"""Laps in which the queue is too full for a shard, though no other of ours is in it, before the
shard is taken to be too big for it."""

CANCELLED = Refusal(
    code="cancelled",
    message="The job was cancelled before this row was answered.",
    then="fail",
)


class Submitter(msgspec.Struct, kw_only=True):
    """`provider` is called late: without a key there is none, and that is an outcome. Waits are in
    seconds: between them lies the one before the first poll, as the model's batches have taught."""

    stack: str
    ledger: Ledger
    objects: Objects
    dialect: Dialect
    provider: Callable[[], Provider]
    pauses: Pauses
    reserver: Reserver
    least_wait: int
    most_wait: int

    def submit(self, job_id: str, shard_id: str, step: ShardStep) -> ShardStep:
        """One lap. Raises only what is unexpected."""
        shard = self.ledger.shard(job_id, shard_id)
        job = self.ledger.job(job_id)
        if shard.status == "submitted":
            return self._submitted(shard)
        if shard.status in ("ended", "collected", "cleaned"):
            if shard.unread and self._waits_on(shard, job, step):
                return laps.next_slice(step)
            return ShardStep(next="collect")
        refusal = shard.refusal
        if refusal is None and (job.cancel_requested or job.status in FINAL_JOB_STATUSES):
            refusal = CANCELLED
        if refusal is not None and shard.status == "planned":
            return self._refuse(shard, refusal)
        if laps.resumed(step, shard.provider, self.ledger):
            step = laps.afresh(step)
        elif step.owed and refusal is None:
            return laps.next_slice(step)
        if shard.status == "planned" and (waiting := self._room(shard, step)) is not None:
            return waiting
        return self._lap(shard, job, step, refusal)

    def _waits_on(self, shard: Shard, job: Job, step: ShardStep) -> bool:
        """Answers that were not given out are asked for again after the wait that is owed."""
        resumed = laps.resumed(step, shard.provider, self.ledger)
        return step.owed > 0 and not resumed and not job.cancel_requested

    def _room(self, shard: Shard, step: ShardStep) -> ShardStep | None:
        place = self.reserver.hold(shard, step)
        if place.refusal is not None:
            return self._refuse(shard, place.refusal)
        wait = place.wait_seconds or self.reserver.pace(shard.provider)
        if not wait:
            return None
        return ShardStep(next="wait_to_submit", wait_seconds=wait, lap=step.lap + 1)

    def _lap(self, shard: Shard, job: Job, step: ShardStep, refusal: Refusal | None) -> ShardStep:
        attempt = shard.attempt
        try:
            ready = self._create(shard, self.provider(), refusal)
        except ProviderError as error:
            shard = self.ledger.shard(shard.job_id, shard.shard_id)
            if shard.creating and shard.attempt == attempt:
                return self._after_look_up(error, shard, step)
            return self._after(error, shard, step)
        if ready == "look":
            return ShardStep(next="wait_to_submit", wait_seconds=waits.LOOK_UP_SECONDS)
        if ready == "refused":
            return ShardStep(next="collect")
        if job.status == "paused":
            self.pauses.working(job.job_id)
        return self._submitted(shard)

    def _submitted(self, shard: Shard) -> ShardStep:
        """Never longer than a slice, so that a cancel is seen in time."""
        known = self.ledger.learned(shard.provider, shard.model)
        most = min(self.most_wait, laps.SLICE_SECONDS)
        wait = first_wait(known.turnaround, least=self.least_wait, most=most)
        return ShardStep(next="wait", wait_seconds=wait, waited=wait)

    def _create(
        self, shard: Shard, provider: Provider, refusal: Refusal | None
    ) -> Literal["submitted", "look", "refused"]:
        """With a refusal nothing is created any more, but what may have been is looked for."""
        if shard.status == "intent":
            self._adopt(shard, provider)
        if shard.creating:
            found = self._look(shard, provider)
            if found is not None:
                return found
        if refusal is not None:
            self._refuse(shard, refusal)
            return "refused"
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "requests.jsonl"
            shard = self._intend(shard)
            if not shard.staged or not provider.uses_staged_files:
                write_requests(shard, self.objects, self.dialect, path)
            shard = self._stage(shard, provider, path)
            tag = self._tag(shard)
            try:
                batch_id = provider.create(path, tag, shard.group, shard.staged, shard.rows)
            except Unavailable:
                raise
            except ProviderError:
                self._withdraw(shard)
                raise
        self._record(shard, provider, batch_id)
        return "submitted"

    def _look(self, shard: Shard, provider: Provider) -> Literal["submitted", "look"] | None:
        """What an earlier attempt left: its batch, or nothing for the third time (None)."""
        since = shard.intent_at or now()
        try:
            batches = provider.find_batches(self._tag(shard), since, shard.rows)
        except Unconfirmed as doubt:
            known = {other.batch_id for other in self.ledger.shards(shard.job_id)}
            doubt.candidates = [batch for batch in doubt.candidates if batch not in known]
            if doubt.candidates:
                raise
            batches = []
        if len(batches) > 1:
            if not shard.parked:
                self.pauses.ambiguous(shard, batches)
                shard.parked = True
                self.ledger.save_shard(shard)
            return "look"
        if batches:
            self._record(shard, provider, batches[0])
            return "submitted"
        shard.looks += 1
        shard.rev = self.ledger.save_shard(shard).rev
        return "look" if shard.looks < LOOK_UPS else None

    def _adopt(self, shard: Shard, provider: Provider) -> None:
        """Files whose upload's answer was lost: recorded, so that they are deleted."""
        if not shard.staged:
            for file in provider.find_staged(self._tag(shard), shard.intent_at or now()):
                self.ledger.add_file(_file(shard, file))

    def _intend(self, shard: Shard) -> Shard:
        """A new attempt has a new number: a rival that still holds the old one loses its next
        conditional write, before it creates anything."""
        shard.status = "intent"
        shard.attempt += 1
        shard.creating = False
        shard.looks = 0
        shard.intent_at = shard.intent_at or now()
        return self.ledger.save_shard(shard)

    def _stage(self, shard: Shard, provider: Provider, path: Path) -> Shard:
        if provider.uses_staged_files and not shard.staged:
            staged = provider.stage(path, self._tag(shard))
            for file in staged:
                self.ledger.add_file(_file(shard, file))
            shard.staged = [file.id for file in staged]
        # Said before the create: from here on only the provider knows whether there is a batch.
        shard.creating = True
        return self.ledger.save_shard(shard)

    def _record(self, shard: Shard, provider: Provider, batch_id: str) -> None:
        if provider.batch_kind is not None:
            batch = ProviderObject(kind=provider.batch_kind, id=batch_id)
            self.ledger.add_file(_file(shard, batch))
        shard.status = "submitted"
        shard.creating = False
        shard.batch_id = batch_id
        shard.submitted_at = now()
        self.ledger.save_shard(shard)

    def _refuse(self, shard: Shard, refusal: Refusal) -> ShardStep:
        shard.refusal = refusal
        shard.creating = False
        self.ledger.save_shard(shard)
        return ShardStep(next="collect")

    def _withdraw(self, shard: Shard) -> None:
        """Nothing was created: the next lap need not look."""
        shard.status = "planned"
        shard.creating = False
        shard.intent_at = None
        self.ledger.save_shard(shard)

    def _after(self, error: ProviderError, shard: Shard, step: ShardStep) -> ShardStep:
        troubles = laps.in_a_row(error, step)
        wait = waits.trouble_wait(troubles, asked=error.retry_after)
        match error:
            case KeyMissing():
                refusal = Refusal(code=MISSING_KEY, message=error.message, then="fail")
                return self._refuse(shard, refusal)
            case Refused():
                refusal = Refusal(code=error.code, message=error.message, then=error.then)
                return self._refuse(shard, refusal)
            case AccountBlocked():
                self.pauses.blocked(shard, error)
                wait = waits.blocked_wait(troubles)
            case NotVisible() | Missing():
                wait = waits.trouble_wait(troubles, most=300)
                if troubles >= _TELL_AFTER:
                    self.pauses.blocked(shard, error)
                    wait = waits.blocked_wait(troubles - _TELL_AFTER)
                if troubles and troubles % _RESTAGE_AFTER == 0:
                    self._forget_staged(shard)
            case OverCapacity():
                alone = self.reserver.refused(shard)
                if alone and troubles >= _SPLIT_AFTER and shard.rows > 1:
                    return self._refuse(shard, _too_big(error))
                wait = waits.trouble_wait(troubles, first=60, asked=error.retry_after)
            case Throttled():
                wait = waits.trouble_wait(troubles, first=60, asked=error.retry_after)
            case _ if shard.creating:
                wait = max(self._doubt(shard, error), wait, waits.LOOK_UP_SECONDS)
            case _:
                pass
        return laps.troubled(error, step, wait, "wait_to_submit")

    def _doubt(self, shard: Shard, error: ProviderError) -> int:
        shard.doubts += 1
        self.ledger.save_shard(shard)
        if shard.doubts < MOST_DOUBTS:
            return 0
        self.pauses.doubtful(shard, error)
        return waits.blocked_wait(shard.doubts - MOST_DOUBTS)

    def _after_look_up(self, error: ProviderError, shard: Shard, step: ShardStep) -> ShardStep:
        """The look-up failed, or does not tell: whether there is a batch is as unknown as before,
        so the intent stays, and no look-up is spent."""
        troubles = laps.in_a_row(error, step)
        wait = waits.trouble_wait(
            troubles, first=waits.LOOK_UP_SECONDS, most=_LONGEST_DOUBT, asked=error.retry_after
        )
        if isinstance(error, (AccountBlocked, KeyMissing)):
            self.pauses.blocked(shard, error)
            wait = waits.blocked_wait(troubles)
        elif isinstance(error, Unconfirmed) and (
            troubles == LONG_DOUBT or (len(error.candidates) > 1 and not troubles)
        ):
            self.pauses.alerts.alert(
                f"Batchdrop: shard {shard.shard_id} of {shard.job_id} is parked",
                f"The answer to its create was lost, and {shard.provider} holds batches that may "
                f"be its own: {', '.join(error.candidates)}. The ids in their results tell, once "
                "these are there; delete there what is not of this job. Nothing is sent before.",
            )
        return laps.troubled(error, step, wait, "wait_to_submit")

    def _forget_staged(self, shard: Shard) -> None:
        shard.staged = []
        self.ledger.save_shard(shard)

    def _tag(self, shard: Shard) -> Tag:
        return Tag(
            stack=self.stack,
            job_id=shard.job_id,
            shard_id=shard.shard_id,
            attempt=shard.attempt,
        )


def _too_big(error: ProviderError) -> Refusal:
    return Refusal(code=error.code, message=error.message, then="split", capacity=True)


def _file(shard: Shard, file: ProviderObject) -> ProviderFile:
    return ProviderFile(
        job_id=shard.job_id,
        shard_id=shard.shard_id,
        provider=shard.provider,
        kind=file.kind,
        id=file.id,
        created_at=now(),
    )
