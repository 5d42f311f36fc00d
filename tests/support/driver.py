"""Runs a job's use cases in process, in the order of the workflows, over any set of ports.

Wait states are not slept through: `on_wait` is told how long each would have been.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from functions.batch.model import ShardStep
from functions.batch.reading.intake import Upload, take_in
from functions.batch.reading.planning import WAIT_SECONDS, Plan
from functions.batch.results.cutting import HowToAssemble
from functions.batch.sending import laps
from functions.batch.sending.reconcile import Round, ShardRun
from functions.batch.spending.admission import Admission
from functions.batch.upkeep.sweeping import sweep
from tests.support.use_cases import UseCases

BUCKET = "inbox"
MOST_LAPS = 500


def whole(step: ShardStep) -> ShardStep:
    """As if a long wait were not made in slices."""
    return msgspec.structs.replace(step, wait_seconds=step.wait_seconds + step.owed, owed=0)


@dataclass
class World(UseCases):
    """A deployment. `answers` is asked by a job that waits for its approval: it names the command
    that comes, or None if nobody says anything for as long as one may wait."""

    answers: Callable[[str], str | None] = lambda _: None
    on_wait: Callable[[float], None] = lambda _: None

    def drop(self, key: str, data: bytes, sequencer: str = "1") -> str:
        """Uploads and takes in; the job's id."""
        self.inputs.uploads[key] = data
        upload = Upload(bucket=BUCKET, key=key, size=len(data), sequencer=sequencer)
        job_id = take_in(upload, ledger=self.ledger, workflows=self.workflows, retention_days=30)
        assert job_id is not None
        return job_id

    def run(self, job_id: str) -> dict[str, Any]:
        """The whole job workflow; its summary."""
        made = self.plan(job_id)
        while made.next == "wait":
            self.on_wait(WAIT_SECONDS)
            made = self.plan(job_id, made.lap)
        if made.next == "shard" and self.read_and_admit(job_id, made) == "start":
            self.rounds(job_id)
            if made.dedupe:
                self.remember(job_id)
        self.reporter().report(job_id, None)
        sweep(job_id, ledger=self.ledger, objects=self.work)
        return self.summary(job_id)

    def read_and_admit(self, job_id: str, made: Plan) -> Admission:
        """The map over ranges, as often as calls of it hand over."""
        decided: Admission = "shard"
        for _ in range(MOST_LAPS):
            if decided != "shard":
                break
            for piece in msgspec.json.decode(self.work.get(made.manifest)):
                self.shard(job_id, piece)
            if made.dedupe:
                self.dedupe(job_id)
            decided = self.admit(job_id)
        return decided

    def admit(self, job_id: str) -> Admission:
        """The states around Price: until it is decided."""
        decided = self.gate().admit(job_id)
        while decided == "ask":
            token = f"{job_id} {len(self.workflows.tokens)}"
            self.workflows.begin_to_wait(token)
            self.asker().ask(job_id, token)
            if token in self.workflows.waiting:
                self.answer(job_id)
            decided = self.gate().admit(job_id, unanswered=token in self.workflows.waiting)
        return decided

    def ask_about_canary(self, job_id: str) -> bool:
        """The state that waits; whether it waited in vain."""
        token = f"{job_id} {len(self.workflows.tokens)}"
        self.workflows.begin_to_wait(token)
        self.asker().ask(job_id, token, "canary")
        if token in self.workflows.waiting:
            self.answer(job_id)
        return token in self.workflows.waiting

    def answer(self, job_id: str) -> None:
        command = self.answers(job_id)
        if command is not None:
            self.command(command, job_id=job_id)

    def rounds(self, job_id: str) -> None:
        number, unanswered = 1, False
        while (opened := self.open_round(job_id, number, unanswered=unanswered)).run not in (
            "none",
            "slices",
        ):
            if opened.run == "ask":
                assert opened.number == number - 1
                unanswered = self.ask_about_canary(job_id)
                continue
            for run in self.runs_of(opened):
                self.run_shard(job_id, run.provider, run.shard_id)
            number += 1
        if opened.run == "none" or not self.in_slices(job_id):
            self.assembler().assemble(job_id)

    def runs_of(self, opened: Round) -> list[ShardRun]:
        if opened.run == "inline":
            return opened.shards
        return msgspec.json.decode(self.work.get(opened.manifest), type=list[ShardRun])

    def in_slices(self, job_id: str) -> bool:
        """The states around slices; False if one call does it."""
        how = self.cutter().cut(job_id)
        if how.next == "slices":
            for item in self.slices_of(how):
                self.slicer().assemble(job_id, item)
            self.joiner().join(job_id)
        return how.next == "slices"

    def slices_of(self, how: HowToAssemble) -> list[int]:
        return [item["slice"] for item in msgspec.json.decode(self.work.get(how.manifest))]

    def run_shard(self, job_id: str, provider: str, shard_id: str) -> None:
        """The shard workflow."""
        step = laps.first()
        submitter = self.submitter(provider)
        for _ in range(MOST_LAPS):
            step = submitter.submit(job_id, shard_id, step)
            if step.next != "wait_to_submit":
                break
            self.on_wait(step.wait_seconds)
        poller = self.poller(provider)
        for _ in range(MOST_LAPS):
            if step.next != "wait":
                break
            self.on_wait(step.wait_seconds)
            step = poller.poll(job_id, shard_id, step)
        cleaner = self.cleaner(provider)
        step = msgspec.structs.replace(step, next="collect")
        for _ in range(MOST_LAPS):
            if step.next == "done":
                break
            if step.next == "collect":
                self.collector(provider).collect(job_id, shard_id, self.clock())
            step = cleaner.clean_up(job_id, shard_id, step)
            if step.next == "again":
                self.on_wait(step.wait_seconds)

    def summary(self, job_id: str) -> dict[str, Any]:
        return msgspec.json.decode(self.results.get(f"{job_id}/summary.json"))

    def result_lines(self, job_id: str) -> list[dict[str, Any]]:
        data = self.results.get(f"{job_id}/results.jsonl")
        return [msgspec.json.decode(line) for line in data.split(b"\n") if line]
