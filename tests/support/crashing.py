"""Kills a job's steps at a chosen call of a port, and drives the job on as Step Functions would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import msgspec

from functions.batch.model import ShardStep
from functions.batch.money_ports import Question
from functions.batch.reading.planning import Plan
from functions.batch.sending import laps
from functions.batch.sending.submission import Submitter
from functions.batch.spending.admission import Admission
from functions.batch.upkeep.rescuing import rescue
from functions.batch.upkeep.sweeping import sweep
from tests.support.driver import MOST_LAPS, World
from tests.support.tripwire import SHARD_STEPS, Crash, Tripwire, Watched

Result = TypeVar("Result")

RETRIES = 6
"""How often Step Functions runs a state again (`infra/steps.py`)."""

MOST_ROUNDS = 40
MOST_EXECUTIONS = 4
PORTS = (
    "inputs",
    "ledger",
    "quotas",
    "work",
    "results",
    "events",
    "alerts",
    "workflows",
    "earlier",
)
MONEY_PORTS = ("prices", "budgets", "approvals", "rollups", "metrics")


class Exhausted(Exception):
    """A step that failed as often as it is tried."""


@dataclass
class CrashWorld(World):
    """A deployment whose functions die at `wire.point`. Every try of a step gets new use cases,
    and its input from the workflow, which nothing can kill."""

    wire: Tripwire = field(default_factory=Tripwire)
    submitter_type: type[Submitter] = Submitter
    raised: list[Exception] = field(default_factory=list)
    set_aside: int = 0
    executions: set[str] = field(default_factory=set)
    on_end: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        for name in (*PORTS, *MONEY_PORTS):
            setattr(self, name, Watched(getattr(self, name), name, self.wire))
        for name, make in self.providers.items():
            self.providers[name] = self._watched(make, f"provider {name}")

    def _watched(self, make: Callable[[], Any], port: str) -> Callable[[], Any]:
        return lambda: Watched(make(), port, self.wire)

    def submitter(self, provider: str) -> Submitter:
        made = super().submitter(provider)
        return self.submitter_type(**{name: getattr(made, name) for name in made.__struct_fields__})

    def through(self, key: str, data: bytes) -> str:
        """A job from the event of its upload to its last step; its id."""
        job_id = self._step("intake", lambda: self.drop(key, data))
        execution, run = job_id, 0
        while True:
            try:
                self._execution(job_id)
            except Crash:
                stopped = self.wire.mode == "stopped"
                self.wire.spare()
                self.on_end(job_id)
                assert run < MOST_EXECUTIONS
                if not self._rescued(job_id, execution, "ABORTED" if stopped else "FAILED"):
                    return job_id
                run += 1
                execution = f"{job_id}-run{run}"
            else:
                return job_id

    def _rescued(self, job_id: str, execution: str, status: str) -> bool:
        return rescue(
            job_id,
            execution,
            status,
            ledger=self.ledger,
            workflows=self.workflows,
            alerts=self.alerts,
        )

    def _execution(self, job_id: str) -> None:
        made = self._step("plan", lambda: self.plan(job_id))
        while made.next == "wait":
            made = self._step("plan", partial(self.plan, job_id, made.lap))
        if made.next == "shard" and self._admitted(job_id, made):
            self._assemble(job_id, in_slices=self._rounds(job_id))
            if made.dedupe:
                self._step("remember", lambda: self.remember(job_id))
        self._step("report", lambda: self.reporter().report(job_id, None))
        self._step("sweep", lambda: sweep(job_id, ledger=self.ledger, objects=self.work))

    def _read(self, job_id: str, made: Plan) -> Admission:
        for _ in range(MOST_LAPS):
            for piece in msgspec.json.decode(self.work.get(made.manifest)):
                self._step("shard", partial(self.shard, job_id, piece))
            if made.dedupe:
                self._step("dedupe", lambda: self.dedupe(job_id))
            decided = self._step("price", lambda: self.gate().admit(job_id))
            if decided != "shard":
                return decided
        raise AssertionError("the input is not read to its end")

    def _admitted(self, job_id: str, made: Plan) -> bool:
        """Each try of the state that asks has a token of its own, as at Step Functions."""
        decided = self._read(job_id, made)
        while decided == "ask":
            token = self._step("ask", lambda: self._ask(job_id))
            if token in self.workflows.waiting:
                self._step("answer", lambda: self.answer(job_id))
            unanswered = token in self.workflows.waiting
            decided = self._step("price", partial(self.gate().admit, job_id, unanswered=unanswered))
        return decided == "start"

    def _ask(self, job_id: str, question: Question = "start") -> str:
        token = f"{job_id} {len(self.workflows.tokens)}"
        self.workflows.begin_to_wait(token)
        self.asker().ask(job_id, token, question)
        return token

    def _assemble(self, job_id: str, *, in_slices: bool) -> None:
        if in_slices:
            how = self._step("cut", lambda: self.cutter().cut(job_id))
            if how.next == "slices":
                for number in self.slices_of(how):
                    self._step("slice", partial(self.slicer().assemble, job_id, number))
                self._step("join", lambda: self.joiner().join(job_id))
                return
        self._step("assemble", lambda: self.assembler().assemble(job_id))

    def _rounds(self, job_id: str) -> bool:
        """Whether the results are too much for one call."""
        number, unanswered = 1, False
        for _ in range(MOST_ROUNDS):
            opened = self._step(
                "reconcile", partial(self.open_round, job_id, number, unanswered=unanswered)
            )
            if opened.run in ("none", "slices"):
                return opened.run == "slices"
            if opened.run == "ask":
                token = self._step("ask", lambda: self._ask(job_id, "canary"))
                if token in self.workflows.waiting:
                    self._step("answer", lambda: self.answer(job_id))
                unanswered = token in self.workflows.waiting
                continue
            number += 1
            for run in self.runs_of(opened):
                if run.name in self.executions:
                    continue  # an execution's name can be used once: what runs on has another
                self.executions.add(run.name)
                try:
                    self.run_shard(job_id, run.provider, run.shard_id)
                except Exhausted:
                    self.set_aside += 1
        raise AssertionError("the job does not come to its end")

    def run_shard(self, job_id: str, provider: str, shard_id: str) -> None:
        """The shard workflow. Raises `Exhausted`."""
        which = (job_id, shard_id)
        step = self._laps(
            "submit",
            lambda given: self.submitter(provider).submit(*which, given),
            laps.first(),
            "wait_to_submit",
        )
        if step.next == "wait":
            self.on_wait(step.wait_seconds)
            step = self._laps(
                "poll", lambda given: self.poller(provider).poll(*which, given), step, "wait"
            )
        for _ in range(MOST_LAPS):
            self._step("collect", lambda: self.collector(provider).collect(*which, self.clock()))
            step = self._laps(
                "clean up",
                lambda given: self.cleaner(provider).clean_up(*which, given),
                step,
                "again",
            )
            if step.next == "done":
                return
        raise AssertionError("the shard is not collected")

    def _laps(
        self,
        name: str,
        make: Callable[[ShardStep], ShardStep],
        step: ShardStep,
        again: str,
    ) -> ShardStep:
        """A state that is visited as long as it says `again`."""
        for _ in range(MOST_LAPS):
            step = self._lap(name, make, step)
            if step.next != again:
                return step
            self.on_wait(step.wait_seconds)
        raise AssertionError(f"{name} does not come to its end")

    def _lap(self, name: str, make: Callable[[ShardStep], ShardStep], step: ShardStep) -> ShardStep:
        """A step that gets its own last answer back, through the workflow's JSON."""
        stored = msgspec.json.encode(step)
        return self._step(name, lambda: make(msgspec.json.decode(stored, type=ShardStep)))

    def _step(self, name: str, run: Callable[[], Result]) -> Result:
        """Runs a state as often as its retries allow. That its answer never reaches the workflow
        is a way to die too."""
        most = 1 + RETRIES if name in SHARD_STEPS else RETRIES
        for _ in range(1 + RETRIES):
            try:
                with self.wire.step(name, most=most):
                    result = run()
                    self.wire.call("workflow", "answer", lambda: None)
            except Crash:
                if self.wire.mode in ("broken", "stopped") and name != "intake":
                    raise
            except Exception as error:
                self.raised.append(error)
            else:
                self.wire.spare()
                return result
        self.wire.spare()
        raise Exhausted(name)
