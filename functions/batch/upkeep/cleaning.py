"""Deletes what a shard left at its provider, once its results are durable."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from functions.batch.errors import Missing, ProviderError
from functions.batch.ledger_ports import Ledger
from functions.batch.model import BATCH_GONE, ProviderFile, Shard, ShardStep, Tag, now
from functions.batch.money_ports import Metrics
from functions.batch.ports import Alerts, Provider
from functions.batch.sending import waits

TRIES = 5


class Cleaner(msgspec.Struct, kw_only=True):
    stack: str
    ledger: Ledger
    provider: Callable[[], Provider]
    alerts: Alerts
    metrics: Metrics

    def clean_up(self, job_id: str, shard_id: str, step: ShardStep | None) -> ShardStep:
        """One try. What cannot be deleted in five is recorded and told, and the job goes on.

        Nothing is deleted of a shard that is not collected: its last call handed over."""
        shard = self.ledger.shard(job_id, shard_id)
        if shard.status == "cleaned":
            return ShardStep(next="done")
        if shard.status != "collected":
            return ShardStep(next="collect")
        tries = 1 if step is None or step.next != "again" else step.lap + 1
        sure = tries > 1
        left = [file for file in self._files(shard) if not self._deleted(file, sure)]
        told = [f"{file.kind} {file.id}: {file.error}" for file in left]
        try:
            strays = self._strays(shard, {file.id for file in left})
        except ProviderError as error:
            told.append(f"uploads whose answer was lost cannot be looked for: {error.message}")
        else:
            told += [
                f"{file.kind} {file.id}: {file.error}"
                for file in strays
                if not self._deleted(file, sure)
            ]
        if told and tries < TRIES:
            wait = waits.trouble_wait(tries - 1)
            return ShardStep(next="again", wait_seconds=wait, lap=tries)
        if told:
            for file in self._files(shard):
                self.ledger.note_left(file)
            self.alerts.alert(
                f"Batchdrop: {len(told)} files left at {shard.provider}",
                f"Job {job_id}, shard {shard_id}: " + "; ".join(told[:20]),
            )
            # Before the shard says that it is cleaned: twice is better than never.
            self.metrics.left(shard.provider, len(told))
        shard.status = "cleaned"
        self.ledger.save_shard(shard)
        return ShardStep(next="done")

    def _files(self, shard: Shard) -> list[ProviderFile]:
        return [
            file
            for file in self.ledger.files(shard.job_id, shard.shard_id)
            if file.deleted_at is None
        ]

    def _strays(self, shard: Shard, known: set[str]) -> list[ProviderFile]:
        """What attempts left whose answer was lost, or a batch that vanished, or one that wrote
        on when it had ended. One attempt that went well left nothing else that is not known.
        Raises `ProviderError`."""
        if shard.intent_at is None:
            return []
        vanished = shard.refusal is not None and shard.refusal.code == BATCH_GONE
        provider = self.provider()
        if not (vanished or shard.attempt > 1 or provider.keeps_together):
            return []
        tag = Tag(
            stack=self.stack,
            job_id=shard.job_id,
            shard_id=shard.shard_id,
            attempt=shard.attempt,
        )
        found = provider.find_staged(tag, shard.intent_at)
        strays = [
            ProviderFile(
                job_id=shard.job_id,
                shard_id=shard.shard_id,
                provider=shard.provider,
                kind=file.kind,
                id=file.id,
                created_at=now(),
            )
            for file in found
            if file.id not in known
        ]
        for stray in strays:
            self.ledger.add_file(stray)
        return strays

    def _deleted(self, file: ProviderFile, sure: bool) -> bool:
        """What is not found may be so for a moment: only the second time it is gone."""
        try:
            self.provider().delete(file)
        except Missing as error:
            if not sure:
                file.error = error.message
                self.ledger.save_file(file)
                return False
        except ProviderError as error:
            file.error = error.message
            self.ledger.save_file(file)
            return False
        file.error = None
        file.deleted_at = now()
        self.ledger.save_file(file)
        return True
