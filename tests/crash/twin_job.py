"""The job that is killed: three providers, two ranges, rows that fail once, always, or are no rows
at all, one batch that expires, one create whose answer is lost; and what must be true after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from functions.batch.deadline import Remaining, unlimited
from functions.batch.model import Job
from functions.batch.money import JobLimits, picodollars
from functions.batch.outgrown import ONE_CALL
from functions.batch.rows import Caps
from functions.batch.sending.submission import Submitter
from functions.batch.spending.canary import ABOVE
from tests.support.crashing import CrashWorld
from tests.support.ledger_twins import MemoryLedger
from tests.support.lines import jsonl
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.tripwire import Call, Point, Tripwire
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twins import MemoryObjects

NAMES = ("openai", "anthropic", "vertex")
LATE = 2
PRICES = {"openai/openai-1": (3.0, 7.0), "anthropic/anthropic-1": (2.0, 5.0)}
"""Dollars per million tokens, list; the third provider's is set by an override."""
BUDGET = Decimal("0.10")


def twins() -> dict[str, TwinProvider]:
    made = {
        "openai": TwinProvider("openai"),
        "anthropic": TwinProvider("anthropic", files=False, batch_kind="batch", named=False),
        "vertex": TwinProvider("vertex", batch_kind="batch_job"),
    }
    for twin in made.values():
        twin.late = LATE
        twin.failing = {f"{twin.name} once": 1}
    made["anthropic"].expiring = 1
    made["vertex"].lost = 1
    return made


def row(provider: str, text: str, custom_id: str | None) -> dict[str, Any]:
    return {"twin": provider, "model": f"{provider}-1", "text": text, "custom_id": custom_id}


def rows() -> list[Any]:
    made: list[Any] = []
    for name in NAMES:
        made += [row(name, f"{name} {n}", f"id {n}") for n in range(2)]
        made += [row(name, f"{name} once", None)]
    return [*made, row("openai", "bad", "bad"), b'{"neither": "nor"}\n']


def rows_in_trouble() -> list[Any]:
    """The same rows; what goes first of the first model fails."""
    made = rows()
    bad = made.index(row("openai", "bad", "bad"))
    return [made[bad], *made[:bad], *made[bad + 1 :]]


def expected(rows: list[Any]) -> list[tuple[str | None, str, str | None]]:
    """Of each row the `custom_id`, the status and the text."""
    return [
        (None, "invalid", None)
        if isinstance(each, bytes)
        else (each["custom_id"], "failed", None)
        if each["text"] == "bad"
        else (each["custom_id"], "succeeded", f"echo {each['text']}")
        for each in rows
    ]


class LimitedLedger(MemoryLedger):
    """Every job comes with the limits of a recipe."""

    def create_job(self, job: Job) -> bool:
        job.limits = JobLimits(max_cost_usd=Decimal("0.09"), approve_above_usd=Decimal("0.000001"))
        return super().create_job(job)


class Run:
    """One job from its upload to its end, killed at `point`."""

    def __init__(
        self,
        point: Point | None = None,
        *,
        submitter: type[Submitter] = Submitter,
        cancel_at: int | None = None,
        canary: bool = False,
        in_slices: bool = False,
        clock: Callable[[], Remaining] = lambda: unlimited,
        prepare: Callable[[dict[str, TwinProvider]], None] = lambda _: None,
    ) -> None:
        self.twins = twins()
        prepare(self.twins)
        self.waits = 0
        self.given = rows_in_trouble() if canary else rows()
        self.begun_at_end: int | None = None
        self._stopped = point is not None and point.mode == "stopped"
        self._cancelled = self._stopped or cancel_at is not None
        self._cancel_at = cancel_at
        self._questions = 1 + canary
        self.results = MemoryObjects("results")
        self.results.least_piece = 300
        self.world = CrashWorld(
            dialects=tuple(TwinDialect(name) for name in NAMES),
            providers={name: lambda name=name: self.twins[name] for name in NAMES},
            on_wait=self._tick,
            prices=MemoryPrices({model: rates_of(*each) for model, each in PRICES.items()}),
            overrides={"vertex/vertex-1": {"input": Decimal(1), "output": Decimal(4)}},
            ledger=LimitedLedger(),
            results=self.results,
            one_call=0 if in_slices else ONE_CALL,
            slice_bytes=1_200,
            clock=clock,
            daily_budget_usd=BUDGET,
            monthly_budget_usd=BUDGET * 2,
            answers=lambda _: "Approve Job",
            caps=Caps(rows=1 if canary else 4),
            canary_above=0 if canary else ABOVE,
            split_bytes=450,
            wire=Tripwire(point),
            submitter_type=submitter,
            on_end=self._ended,
        )
        self.job_id = ""
        self.job_id = self.world.through("folder/mixed.jsonl", jsonl(self.given))
        for twin in self.twins.values():
            twin.settle()

    @property
    def calls(self) -> list[Call]:
        return self.world.wire.calls

    @property
    def begun(self) -> int:
        return sum(twin.begun for twin in self.twins.values())

    def _ended(self, job_id: str) -> None:
        self.begun_at_end = self.begun

    def _tick(self, seconds: float) -> None:
        self.waits += 1
        for twin in self.twins.values():
            twin.tick()
        if self.waits == self._cancel_at:
            for job_id in self.world.ledger.jobs:
                self.world.ledger.update_job(job_id, {"cancel_requested": True})

    def problems(self) -> list[str]:
        """What is wrong, or nothing."""
        lines = self.world.results.find(f"{self.job_id}/results.jsonl")
        if lines is None or self.world.results.find(f"{self.job_id}/summary.json") is None:
            return ["there are no results, or no summary"]
        return [*self._rows(), *self._money(), *self._bill(), *self._files(), *self._rest()]

    def _rows(self) -> list[str]:
        results = self.world.result_lines(self.job_id)
        found = [(line["custom_id"], line["status"], line["text"]) for line in results]
        numbers = [line["row"] for line in results]
        wrong = [] if numbers == list(range(len(self.given))) else [f"rows are {numbers}"]
        wanted = expected(self.given)
        if self._cancelled:  # then a row may fail that would not have
            given_up = {n for n, each in enumerate(found) if each[1:] == ("failed", None)}
            wanted = [
                (each[0], "failed", None) if n in given_up and each[1] == "succeeded" else each
                for n, each in enumerate(wanted)
            ]
        return wrong + ([] if found == wanted else [f"lines are {found}"])

    def _money(self) -> list[str]:
        billed = sum((twin.billed for twin in self.twins.values()), Counter[str]())
        twice = sorted(text for text, times in billed.items() if times > 1)
        counted = self.world.summary(self.job_id)["rows"]["succeeded"]
        lost = billed.total() - counted
        return [f"billed twice: {twice}"] * bool(twice) + [f"{lost} paid rows lost"] * bool(lost)

    def _bill(self) -> list[str]:
        """Dollars by the twins' own books: told, settled with both budgets, and rolled up."""
        prices = {**PRICES, "vertex/vertex-1": (1.0, 4.0)}
        paid = sum(
            picodollars(price) * twin.tokens[side] // 2_000_000
            for name, twin in self.twins.items()
            for side, price in zip(("input", "output"), prices[f"{name}/{name}-1"], strict=True)
        )
        told = self.world.summary(self.job_id)["cost"]
        wrong = [f"{paid} paid, the summary tells {told}"] * (
            told["actual_usd"] != paid / 10**12 or told["list_usd"] != 2 * paid / 10**12
        )
        lines = self.world.result_lines(self.job_id)
        by_row = sum(picodollars(line["cost_usd"]) for line in lines)
        wrong += [f"{paid} paid, the rows tell {by_row}"] * (by_row != paid)
        budgets = self.world.budgets
        settled = dict(budgets.settled)
        wrong += [f"settled {settled}"] * (settled != {self.job_id: 1})
        kept = {
            name: (budgets.committed[name], budgets.spent[name])
            for name in (budgets.leases[self.job_id].budgets if paid else ())
        }
        wrong += [f"{paid} paid, the budgets have {kept}"] * (
            any(each != (paid, paid) for each in kept.values()) or len(kept) != 2 * bool(paid)
        )
        rolled = sum(
            sums["actual"]
            for (_, sort), sums in self.world.rollups.sums.items()
            if sort.startswith("MODEL#")
        )
        asked = [subject for subject, _ in self.world.alerts.sent if "approval" in subject]
        wrong += [f"asked {len(asked)} times"] * (len(asked) > 2 * self._questions)
        return wrong + [f"{paid} paid, {rolled} rolled up"] * (rolled != paid)

    def _files(self) -> list[str]:
        told = self.world.summary(self.job_id)["provider_files"]
        left = [name for twin in self.twins.values() for name in twin.left()]
        made = sum(twin.created for twin in self.twins.values())
        wrong = [f"files left: {left}"] * bool(left)
        if (told["created"], told["deleted"], told["left"]) != (made, made, 0):
            wrong.append(f"{made} files were created, the summary tells {told}")
        return wrong

    def _rest(self) -> list[str]:
        job = self.world.ledger.job(self.job_id)
        events = [name for name, _ in self.world.events.published]
        finals = {"partial", "cancelled"} if self._cancelled else {"partial"}
        wrong = [f"raised: {error!r}" for error in self.world.raised]
        wrong += [f"the job is {job.status}"] * (job.status not in finals)
        if self._stopped and self.begun_at_end not in (None, self.begun):
            wrong.append("a batch was begun after the job was stopped")
        expected_events = {"Job Accepted", "Job Completed", "Job Awaiting Approval"}
        if self._cancelled:  # perhaps before it asked
            expected_events -= {"Job Awaiting Approval"} - set(events)
        wrong += [f"events: {events}"] * (set(events) != expected_events)
        wrong += [f"uploads left: {list(self.results.uploads)}"] * bool(self.results.uploads)
        return wrong + ["work files left"] * bool(list(self.world.work.keys("")))
