"""Runs a job's use cases in process, in the order of the workflows, over any set of ports.

Wait states are not slept through: `on_wait` is told how long each would have been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from functions.batch.collecting.collector import Collector
from functions.batch.deadline import Remaining, unlimited
from functions.batch.model import ShardStep, now
from functions.batch.outgrown import ONE_CALL
from functions.batch.ports import Dialect, Provider, Recipes
from functions.batch.reading.intake import Upload, take_in
from functions.batch.reading.planning import WAIT_SECONDS, Plan, Planner
from functions.batch.reading.range_input import RangeOfInput
from functions.batch.reading.sharding import shard_range
from functions.batch.reading.unpacking import MAX_GZ_BYTES, MAX_UNZIPPED_BYTES
from functions.batch.repeats.deduping import dedupe
from functions.batch.repeats.remembering import remember
from functions.batch.results.assembling import Assembler
from functions.batch.results.cutting import Cutter, HowToAssemble
from functions.batch.results.reporting import Reporter
from functions.batch.results.slicing import Joiner, Slicer
from functions.batch.rows import Caps, Group, Limits
from functions.batch.sending import laps
from functions.batch.sending.pausing import Pauses
from functions.batch.sending.polling import Poller
from functions.batch.sending.reconcile import Round, ShardRun, open_round
from functions.batch.sending.reserving import Reserver
from functions.batch.sending.submission import Submitter
from functions.batch.sending.waits import STUCK_DEFAULT, STUCK_SECONDS
from functions.batch.spending import canary
from functions.batch.spending.admission import Admission, Gate
from functions.batch.spending.approving import Asker
from functions.batch.spending.overrides import Overrides
from functions.batch.upkeep.cleaning import Cleaner
from functions.batch.upkeep.commands import obey
from functions.batch.upkeep.sweeping import sweep
from functions.recipes.adapter import RecipeFiles
from functions.recipes.schemas import checker
from tests.support.money_twins import (
    MemoryApprovals,
    MemoryBudgets,
    MemoryMetrics,
    MemoryPrices,
    MemoryRollups,
)
from tests.support.twins import (
    MemoryAlerts,
    MemoryAnswers,
    MemoryEvents,
    MemoryInputs,
    MemoryLedger,
    MemoryObjects,
    MemoryQuotas,
    MemoryWorkflows,
)

BUCKET = "inbox"
MOST_LAPS = 500


def whole(step: ShardStep) -> ShardStep:
    """As if a long wait were not made in slices."""
    return msgspec.structs.replace(step, wait_seconds=step.wait_seconds + step.owed, owed=0)


@dataclass
class World:
    """All ports of a deployment. `providers` are made when asked for, as in production.

    `answers` is asked by a job that waits for its approval: it names the command that comes, or
    None if nobody says anything for as long as one may wait. `clock` is started by every call of a
    step that can hand over."""

    dialects: Sequence[Dialect]
    providers: dict[str, Callable[[], Provider]]
    inputs: MemoryInputs = field(default_factory=lambda: MemoryInputs({}))
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    earlier: MemoryAnswers = field(default_factory=MemoryAnswers)
    quotas: MemoryQuotas = field(default_factory=MemoryQuotas)
    work: MemoryObjects = field(default_factory=MemoryObjects)
    results: MemoryObjects = field(default_factory=lambda: MemoryObjects("results"))
    events: MemoryEvents = field(default_factory=MemoryEvents)
    alerts: MemoryAlerts = field(default_factory=MemoryAlerts)
    workflows: MemoryWorkflows = field(default_factory=MemoryWorkflows)
    prices: MemoryPrices = field(default_factory=MemoryPrices)
    budgets: MemoryBudgets = field(default_factory=MemoryBudgets)
    approvals: MemoryApprovals = field(default_factory=MemoryApprovals)
    rollups: MemoryRollups = field(default_factory=MemoryRollups)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    overrides: Overrides = field(default_factory=dict[str, dict[str, Decimal]])
    allowance: int | None = None
    canary_above: int = canary.ABOVE
    daily_budget_usd: Decimal | None = None
    monthly_budget_usd: Decimal | None = None
    answers: Callable[[str], str | None] = lambda _: None
    recipes: Recipes = field(default_factory=RecipeFiles)
    caps: Caps = field(default_factory=Caps)
    split_bytes: int = 1 << 29
    max_gz_bytes: int = MAX_GZ_BYTES
    max_unzipped_bytes: int = MAX_UNZIPPED_BYTES
    clock: Callable[[], Remaining] = lambda: unlimited
    one_call: int = ONE_CALL
    slice_bytes: int = 0
    max_rounds: int = 3
    enqueued_tokens: dict[str, int] = field(default_factory=dict)
    creates_per_hour: int | None = None
    stack: str = "Test"
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

    def command(self, command: str, said_at: str | None = None, **detail: str) -> bool:
        return obey(
            command,
            detail,
            said_at or now(),
            ledger=self.ledger,
            approvals=self.approvals,
            workflows=self.workflows,
        )

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

    def gate(self) -> Gate:
        return Gate(
            ledger=self.ledger,
            objects=self.work,
            prices=self.prices,
            budgets=self.budgets,
            approvals=self.approvals,
            overrides=self.overrides,
            allowance=self.allowance,
            daily_budget_usd=self.daily_budget_usd,
            monthly_budget_usd=self.monthly_budget_usd,
            canary_above=self.canary_above,
        )

    def asker(self) -> Asker:
        return Asker(
            stack=self.stack,
            ledger=self.ledger,
            approvals=self.approvals,
            workflows=self.workflows,
            events=self.events,
            alerts=self.alerts,
        )

    def plan(self, job_id: str, lap: int = 0) -> Plan:
        planner = Planner(
            ledger=self.ledger,
            inputs=self.inputs,
            objects=self.work,
            recipes=self.recipes,
            dialects=self.dialects,
            split_bytes=self.split_bytes,
            max_gz_bytes=self.max_gz_bytes,
        )
        return planner.plan(job_id, lap)

    def shard(self, job_id: str, piece: dict[str, Any]) -> None:
        shard_range(
            self.ledger.job(job_id),
            RangeOfInput(number=piece["range"], start=piece["start"], end=piece["end"]),
            ledger=self.ledger,
            inputs=self.inputs,
            objects=self.work,
            dialects=self.dialects,
            recipes=self.recipes,
            caps=self.caps,
            remaining=self.clock(),
            max_unzipped_bytes=self.max_unzipped_bytes,
        )

    def dedupe(self, job_id: str) -> None:
        dedupe(
            job_id,
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            earlier=self.earlier,
        )

    def remember(self, job_id: str) -> None:
        remember(
            job_id,
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            earlier=self.earlier,
            retention_days=30,
        )

    def open_round(self, job_id: str, number: int, *, unanswered: bool = False) -> Round:
        return open_round(
            job_id,
            number,
            ledger=self.ledger,
            objects=self.work,
            events=self.events,
            limits_of=self.limits_of,
            approvals=self.approvals,
            unanswered=unanswered,
            canary_above=self.canary_above,
            one_call=self.one_call,
        )

    def runs_of(self, opened: Round) -> list[ShardRun]:
        if opened.run == "inline":
            return opened.shards
        return msgspec.json.decode(self.work.get(opened.manifest), type=list[ShardRun])

    def limits_of(self, group: Group) -> Limits:
        return self.caps.lower(self.dialect(group.provider).limits(group))

    def dialect(self, provider: str) -> Dialect:
        return next(each for each in self.dialects if each.provider == provider)

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

    def pauses(self) -> Pauses:
        return Pauses(ledger=self.ledger, alerts=self.alerts)

    def reserver(self) -> Reserver:
        return Reserver(
            ledger=self.ledger,
            quotas=self.quotas,
            limits=self.enqueued_tokens,
            creates_per_hour=self.creates_per_hour,
        )

    def submitter(self, provider: str) -> Submitter:
        return Submitter(
            stack=self.stack,
            ledger=self.ledger,
            objects=self.work,
            dialect=self.dialect(provider),
            provider=self.providers[provider],
            pauses=self.pauses(),
            reserver=self.reserver(),
            least_wait=30,
            most_wait=600,
        )

    def poller(self, provider: str) -> Poller:
        return Poller(
            stack=self.stack,
            ledger=self.ledger,
            provider=self.providers[provider],
            pauses=self.pauses(),
            reserver=self.reserver(),
            least_wait=30,
            most_wait=600,
            stuck_after=STUCK_SECONDS.get(provider, STUCK_DEFAULT),
        )

    def collector(self, provider: str) -> Collector:
        return Collector(
            ledger=self.ledger,
            objects=self.work,
            dialect=self.dialect(provider),
            provider=self.providers[provider],
            pauses=self.pauses(),
            reserver=self.reserver(),
            rollups=self.rollups,
            metrics=self.metrics,
            fitting=checker,
            max_rounds=self.max_rounds,
        )

    def cleaner(self, provider: str) -> Cleaner:
        return Cleaner(
            stack=self.stack,
            ledger=self.ledger,
            provider=self.providers[provider],
            alerts=self.alerts,
            metrics=self.metrics,
        )

    def assembler(self) -> Assembler:
        return Assembler(
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            index_results="auto",
            retention_days=30,
        )

    def cutter(self) -> Cutter:
        return Cutter(
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            one_call=self.one_call,
            slice_bytes=self.slice_bytes,
        )

    def slicer(self) -> Slicer:
        return Slicer(
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            index_results="auto",
            retention_days=30,
            least_piece=self.results.least_piece,
        )

    def joiner(self) -> Joiner:
        return Joiner(
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            retention_days=30,
            least_piece=self.results.least_piece,
        )

    def reporter(self) -> Reporter:
        return Reporter(
            ledger=self.ledger,
            work=self.work,
            results=self.results,
            events=self.events,
            budgets=self.budgets,
            metrics=self.metrics,
        )

    def summary(self, job_id: str) -> dict[str, Any]:
        return msgspec.json.decode(self.results.get(f"{job_id}/summary.json"))

    def result_lines(self, job_id: str) -> list[dict[str, Any]]:
        data = self.results.get(f"{job_id}/results.jsonl")
        return [msgspec.json.decode(line) for line in data.split(b"\n") if line]
