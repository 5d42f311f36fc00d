"""A deployment's use cases in process, each over the same ports, as its handlers wire them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from functions.batch.collecting.collector import Collector
from functions.batch.deadline import Remaining, unlimited
from functions.batch.model import now
from functions.batch.outgrown import ONE_CALL
from functions.batch.ports import Dialect, Provider, Recipes
from functions.batch.reading.planning import Plan, Planner
from functions.batch.reading.range_input import RangeOfInput
from functions.batch.reading.sharding import shard_range
from functions.batch.reading.unpacking import MAX_GZ_BYTES, MAX_UNZIPPED_BYTES
from functions.batch.repeats.deduping import dedupe
from functions.batch.repeats.remembering import remember
from functions.batch.results.assembling import Assembler
from functions.batch.results.cutting import Cutter
from functions.batch.results.reporting import Reporter
from functions.batch.results.slicing import Joiner, Slicer
from functions.batch.rows import Caps, Group, Limits
from functions.batch.sending.pausing import Pauses
from functions.batch.sending.polling import Poller
from functions.batch.sending.reconcile import Round, open_round
from functions.batch.sending.reserving import Reserver
from functions.batch.sending.submission import Submitter
from functions.batch.sending.waits import STUCK_DEFAULT, STUCK_SECONDS
from functions.batch.spending import canary
from functions.batch.spending.admission import Gate
from functions.batch.spending.approving import Asker
from functions.batch.spending.overrides import Overrides
from functions.batch.upkeep.cleaning import Cleaner
from functions.batch.upkeep.commands import obey
from functions.recipes.adapter import RecipeFiles
from functions.recipes.schemas import checker
from tests.support.ledger_twins import MemoryAnswers, MemoryLedger, MemoryQuotas
from tests.support.money_twins import (
    MemoryApprovals,
    MemoryBudgets,
    MemoryMetrics,
    MemoryPrices,
    MemoryRollups,
)
from tests.support.twins import (
    MemoryAlerts,
    MemoryEvents,
    MemoryInputs,
    MemoryObjects,
    MemoryWorkflows,
)


@dataclass
class UseCases:
    """All ports of a deployment, and its settings. `providers` are made when asked for, as in
    production. `clock` is started by every call of a step that can hand over."""

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

    def command(self, command: str, said_at: str | None = None, **detail: str) -> bool:
        return obey(
            command,
            detail,
            said_at or now(),
            ledger=self.ledger,
            approvals=self.approvals,
            workflows=self.workflows,
        )

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

    def limits_of(self, group: Group) -> Limits:
        return self.caps.lower(self.dialect(group.provider).limits(group))

    def dialect(self, provider: str) -> Dialect:
        return next(each for each in self.dialects if each.provider == provider)

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
