"""The janitor: once a day, deletes at a provider what nothing else will delete any more.

It touches what carries this stack's name and nothing else; and of that only what belongs to a shard
that is cleaned, or to a job that the ledger does not know or that ended a week ago. A job in
between may still be at work.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from functions.batch.errors import KeyMissing, Missing, ProviderError
from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES, Owned, ProviderFile, Shard, now
from functions.batch.money_ports import Metrics
from functions.batch.ports import Alerts, Provider

PATIENCE = timedelta(days=7)

_LOOKS_BACK = timedelta(days=45)
"""What is older has been looked at often enough, and the ledger forgets at some time."""

_TOLD = 20


class Tidied(msgspec.Struct, kw_only=True):
    """`left`: what could not be deleted, and why."""

    deleted: int = 0
    left: list[str] = []


class Janitor(msgspec.Struct, kw_only=True):
    stack: str
    name: str
    ledger: Ledger
    provider: Callable[[], Provider]
    alerts: Alerts
    metrics: Metrics

    def tidy(self) -> Tidied:
        """One look. A provider without a key has nothing of ours that could be reached."""
        done = Tidied()
        try:
            provider = self.provider()
        except KeyMissing:
            return done
        for file in list(self.ledger.left(self.name)):
            self._look(provider, file, done)
        since = (datetime.now(UTC) - _LOOKS_BACK).isoformat()
        try:
            for owned in provider.owned(self.stack, since):
                self._look(provider, _file(owned, self.name), done)
        except ProviderError as error:
            done.left.append(f"{self.name} does not tell what it keeps: {error.message}")
        if done.left:
            self.alerts.alert(
                f"Batchdrop: {len(done.left)} files left at {self.name}",
                "The daily look could not delete: " + "; ".join(done.left[:_TOLD]),
            )
            self.metrics.left(self.name, len(done.left))
        return done

    def _look(self, provider: Provider, file: ProviderFile, done: Tidied) -> None:
        try:
            shard = self.ledger.shard(file.job_id, file.shard_id)
        except LookupError:
            shard = None
        if shard is not None and self._is_deleted(file):
            self.ledger.forget_left(file)
        elif self._is_over(file, shard):
            self._delete(provider, file, done, known=shard is not None)

    def _is_deleted(self, file: ProviderFile) -> bool:
        return any(
            each.id == file.id and each.deleted_at is not None
            for each in self.ledger.files(file.job_id, file.shard_id)
        )

    def _is_over(self, file: ProviderFile, shard: Shard | None) -> bool:
        if shard is None:
            return _was_a_week_ago(file.created_at)
        if shard.status == "cleaned":
            return True
        job = self.ledger.job(file.job_id)
        ended = job.finished_at if job.status in FINAL_JOB_STATUSES else None
        return ended is not None and _was_a_week_ago(ended)

    def _delete(self, provider: Provider, file: ProviderFile, done: Tidied, *, known: bool) -> None:
        try:
            provider.delete(file)
        except Missing:
            pass
        except ProviderError as error:
            done.left.append(f"{file.kind} {file.id} of job {file.job_id}: {error.message}")
            return
        done.deleted += 1
        if known:
            file.error = None
            file.deleted_at = now()
            self.ledger.save_file(file)
        self.ledger.forget_left(file)


def _was_a_week_ago(moment: str) -> bool:
    return datetime.fromisoformat(moment) < datetime.now(UTC) - PATIENCE


def _file(owned: Owned, provider: str) -> ProviderFile:
    return ProviderFile(
        job_id=owned.job_id,
        shard_id=owned.shard_id,
        provider=provider,
        kind=owned.kind,
        id=owned.id,
        created_at=owned.created_at,
    )
