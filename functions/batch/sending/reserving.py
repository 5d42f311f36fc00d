"""Room at the provider, shared by all jobs: enqueued tokens for each model, creates in an hour.

A shard takes a lease on its tokens before its batch is created, and gives it back when the batch
has ended. Where a model's limit is known, by configuration or from a refusal, who finds no room
waits in a line: by tickets that take the jobs in turn, and a job's shards in order, so that a
small job is not starved by a big one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from functions.batch.ledger_ports import Ledger, Quotas
from functions.batch.model import Refusal, Shard, ShardStep, now
from functions.batch.quota import Lease, QuotaUse, Waiter
from functions.batch.sending import waits

LINE = 25
"""Places of the line that are looked at: who stands behind them waits without looking further."""

_PLACE_MARGIN = timedelta(minutes=15)
_LEARNED_FOR = timedelta(days=1)
_OLD_LEASE = timedelta(hours=1)
_HEAL_EVERY = 10  # laps
_HEAL_AT_ONCE = 50
_HOUR = 3_600


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a shard may go (no wait, no refusal), has to wait, or is too big for any room."""

    wait_seconds: int = 0
    refusal: Refusal | None = None


class Reserver(msgspec.Struct, kw_only=True):
    """`limits`: enqueued tokens by `provider/model`, as configured. `creates_per_hour`: how many
    batches the provider takes in an hour, null for any number."""

    ledger: Ledger
    quotas: Quotas
    limits: Mapping[str, int]
    creates_per_hour: int | None = None

    def hold(self, shard: Shard, step: ShardStep) -> Place:
        """Takes the shard's lease, or a place in the line for it. May be asked again and again."""
        quota = quota_of(shard)
        if self.quotas.find_lease(quota, shard.job_id, shard.shard_id) is not None:
            return Place()
        use = self.quotas.use(quota)
        limit = self._limit(quota, use)
        lease = Lease(
            quota=quota,
            job_id=shard.job_id,
            shard_id=shard.shard_id,
            tokens=shard.tokens,
            at=now(),
            counted=limit is not None,
        )
        if limit is None:
            self.quotas.lease(lease, None, None)
            return Place()
        if shard.tokens > limit and shard.rows > 1:
            return Place(refusal=_too_big(shard, limit))
        return self._hold_counted(lease, shard, step, use, limit)

    def _hold_counted(
        self, lease: Lease, shard: Shard, step: ShardStep, use: QuotaUse, limit: int
    ) -> Place:
        waiter = Waiter(
            quota=lease.quota,
            job_id=shard.job_id,
            shard_id=shard.shard_id,
            ticket=self.quotas.ticket(lease.quota, shard.job_id, shard.number),
            tokens=shard.tokens,
            until="",
        )
        ahead = self._ahead(waiter)
        # One row may be larger than the limit: it goes when nothing else does.
        room = max(limit - shard.tokens, 0)
        if use.in_use + sum(other.tokens for other in ahead) <= room and self.quotas.lease(
            lease, room, waiter
        ):
            return Place()
        if not ahead and step.lap % _HEAL_EVERY == _HEAL_EVERY - 1:
            self._heal(lease.quota)
        wait = waits.room_wait(len(ahead), step.lap)
        self.quotas.join(msgspec.structs.replace(waiter, until=_until(wait)))
        return Place(wait_seconds=wait)

    def _ahead(self, waiter: Waiter) -> list[Waiter]:
        """Who comes first. Places that were lost are cleared away."""
        ahead: list[Waiter] = []
        for other in self.quotas.line(waiter.quota, LINE):
            if other.until < now():
                self.quotas.leave(other)
            elif other.place < waiter.place:
                ahead.append(other)
        return ahead

    def release(self, shard: Shard) -> None:
        """The batch has ended, or will never be: also for a shard that only stood in the line."""
        quota = quota_of(shard)
        self.quotas.release(quota, shard.job_id, shard.shard_id)
        if self._limit(quota, self.quotas.use(quota)) is not None:
            ticket = self.quotas.ticket(quota, shard.job_id, shard.number)
            self.quotas.leave(
                Waiter(
                    quota=quota,
                    job_id=shard.job_id,
                    shard_id=shard.shard_id,
                    ticket=ticket,
                    tokens=shard.tokens,
                    until="",
                )
            )

    def refused(self, shard: Shard) -> bool:
        """The provider's queue was too full for the shard. Whether it was so for this one alone;
        else what the others hold is what the queue takes, for a day."""
        quota = quota_of(shard)
        others = sum(
            lease.tokens
            for lease in self.quotas.leases(quota)
            if (lease.job_id, lease.shard_id) != (shard.job_id, shard.shard_id)
        )
        if others:
            until = _text(datetime.now(UTC) + _LEARNED_FOR)
            known = self._limit(quota, self.quotas.use(quota))
            if known is None or others < known:
                self.quotas.learn(quota, others, until)
        self.quotas.release(quota, shard.job_id, shard.shard_id)
        return not others

    def pace(self, provider: str) -> int:
        """Seconds to wait before a batch may be created; 0 counts it. A window of an hour slides
        over two counters, of this clock hour and of the one before."""
        most = self.creates_per_hour
        if most is None:
            return 0
        hour, into = divmod(time.time(), _HOUR)
        before = self.quotas.creates(provider, int(hour) - 1)
        allowed = most - int(before * (1 - into / _HOUR))
        if self.quotas.count_create(provider, int(hour), allowed):
            return 0
        return waits.pace_wait(into, before, self.quotas.creates(provider, int(hour)), most)

    def _limit(self, quota: str, use: QuotaUse) -> int | None:
        known = [self.limits[quota]] if quota in self.limits else []
        if use.learned is not None and use.learned_until > now():
            known.append(use.learned)
        return min(known, default=None)

    def _heal(self, quota: str) -> None:
        """Gives back what shards hold whose batch has ended long ago."""
        old = _text(datetime.now(UTC) - _OLD_LEASE)
        leases = sorted(
            (lease for lease in self.quotas.leases(quota) if lease.at < old),
            key=lambda lease: lease.at,
        )
        for lease in leases[:_HEAL_AT_ONCE]:
            if self._is_over(lease):
                self.quotas.release(quota, lease.job_id, lease.shard_id)

    def _is_over(self, lease: Lease) -> bool:
        try:
            shard = self.ledger.shard(lease.job_id, lease.shard_id)
        except LookupError:
            return True
        return shard.status in ("ended", "collected", "cleaned")


def quota_of(shard: Shard) -> str:
    return f"{shard.provider}/{shard.model}"


def _too_big(shard: Shard, limit: int) -> Refusal:
    return Refusal(
        code="over_token_limit",
        message=f"The shard's {shard.tokens} tokens are more than the {limit} that "
        f"{quota_of(shard)} may have enqueued.",
        then="split",
        capacity=True,
    )


def _until(wait: int) -> str:
    return _text(datetime.now(UTC) + timedelta(seconds=2 * wait) + _PLACE_MARGIN)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
