"""In-memory twins of the ports that deal with money. They pass the adapters' contract suites."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from functions.batch.model import Job, Shard, now
from functions.batch.money_ports import Approval, ApprovalAnswer, Budget, Question, Shortfall
from functions.batch.pricing import Price, Rates
from functions.batch.spending.rollups import sums


class MemoryPrices:
    """`table` by `provider/model`; what is not in it has no price."""

    def __init__(self, table: Mapping[str, Rates] | None = None) -> None:
        self.table = dict(table or {})

    def rates(self, provider: str, model: str) -> Rates | None:
        return self.table.get(f"{provider}/{model}")


def rates_of(input: float, output: float | None = None) -> Rates:
    """List prices in dollars per million tokens; a batch costs half."""
    listed = Price(
        input=int(input * 1_000_000), output=None if output is None else int(output * 1_000_000)
    )
    batch = Price(
        input=int(input * 500_000), output=None if output is None else int(output * 500_000)
    )
    return Rates(listed=[listed], batch=[batch], source="library")


class Lease(msgspec.Struct):
    reserved: int
    budgets: list[str]
    settled: bool


class MemoryBudgets:
    """`settled` counts how often each job was."""

    def __init__(self) -> None:
        self.committed: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.leases: dict[str, Lease] = {}
        self.settled: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reserve(self, job_id: str, amount: int, budgets: Sequence[Budget]) -> Shortfall | None:
        with self._lock:
            if job_id in self.leases:
                return None
            for budget in budgets:
                if self.committed[budget.name] + amount > budget.limit:
                    return Shortfall(budget, self.committed[budget.name])
            for budget in budgets:
                self.committed[budget.name] += amount
            self.leases[job_id] = Lease(amount, [budget.name for budget in budgets], False)
            return None

    def settle(self, job_id: str, spent: int | None) -> bool:
        with self._lock:
            lease = self.leases.setdefault(job_id, Lease(0, [], False))
            if lease.settled:
                return False
            lease.settled = True
            self.settled[job_id] += 1
            amount = lease.reserved if spent is None else spent
            for name in lease.budgets:
                self.committed[name] += amount - lease.reserved
                self.spent[name] += amount
            return True


class MemoryApprovals:
    def __init__(self) -> None:
        self.asked: dict[tuple[str, Question], Approval] = {}

    def ask(self, job_id: str, token: str, question: Question = "start") -> Approval:
        found = self.asked.setdefault(
            (job_id, question), Approval(job_id=job_id, token=token, asked_at=now())
        )
        found.token = token
        return msgspec.structs.replace(found)

    def told(self, job_id: str, question: Question = "start") -> None:
        self.asked[job_id, question].told = True

    def answer(
        self, job_id: str, answer: ApprovalAnswer, question: Question = "start"
    ) -> Approval | None:
        found = self.asked.get((job_id, question))
        if found is None:
            return None
        found.answer = found.answer or answer
        return msgspec.structs.replace(found)

    def find(self, job_id: str, question: Question = "start") -> Approval | None:
        found = self.asked.get((job_id, question))
        return None if found is None else msgspec.structs.replace(found)


class MemoryRollups:
    def __init__(self) -> None:
        self.sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._marks: set[tuple[str, str]] = set()

    def add(self, shard: Shard, folder: str, day: str) -> None:
        mark = (shard.job_id, shard.shard_id)
        if mark in self._marks:
            return
        self._marks.add(mark)
        for sort in (f"MODEL#{shard.provider}#{shard.model}", f"FOLDER#{folder}"):
            self.sums[day, sort].update(sums(shard))


class MemoryMetrics:
    def __init__(self) -> None:
        self.batches: list[Shard] = []
        self.jobs: list[Job] = []
        self.files_left: list[tuple[str, int]] = []

    def batch(self, shard: Shard) -> None:
        self.batches.append(shard)

    def job(self, job: Job) -> None:
        self.jobs.append(job)

    def left(self, provider: str, count: int) -> None:
        self.files_left.append((provider, count))
