"""A small job, driven over twins that count what each step asks of AWS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec

from functions.batch.ports import Dialect
from functions.batch.rows import Caps
from functions.batch.sending import laps
from functions.batch.upkeep.sweeping import sweep
from tests.support.driver import World
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.twin_provider import TwinDialect, TwinProvider

ROWS = 4
"""Of a shard: what a shard costs beside its bytes does not depend on them."""

READS = {
    **{"ledger.job": 1, "ledger.shard": 1, "ledger.resumed_at": 1, "ledger.learned": 1},
    **{"ledger.shards": 1, "ledger.files": 1, "ledger.left": 1, "ledger.missing": 1},
    **{"quotas.use": 1, "quotas.find_lease": 1, "quotas.creates": 1, "quotas.leases": 1},
    **{"approvals.find": 1, "quotas.line": 1, "quotas.ticket": 1},
}
"""Units of 4 kB, read consistently; of what lists records, for each record."""

WRITES = {
    **{"ledger.create_job": 2, "ledger.update_job": 2, "ledger.change_status": 2},
    **{"ledger.create_shard": 2, "ledger.save_shard": 2, "ledger.add_file": 1},
    **{"ledger.save_file": 1, "ledger.note_left": 1, "ledger.forget_left": 1},
    **{"ledger.note_missing": 1, "ledger.forget_missing": 1, "ledger.learn": 4},
    **{"quotas.lease": 4, "quotas.release": 4, "quotas.count_create": 1, "quotas.learn": 1},
    **{"quotas.join": 1, "quotas.leave": 1},
    **{"rollups.add": 6, "budgets.reserve": 6, "budgets.settle": 6},
}
"""Units of 1 kB; an item in a transaction counts twice. Jobs and shards have up to 2 kB."""

S3_READS = {"get", "find", "chunks"}
S3_WRITES = {"put", "put_new", "upload", "writer", "keys", "sizes"}
"""Listing is priced as writing is, deleting is free."""


class Counts(msgspec.Struct):
    """What one step asked for. `calls`: of the function itself."""

    calls: int = 0
    reads: int = 0
    writes: int = 0
    s3_reads: int = 0
    s3_writes: int = 0
    events: int = 0


class Counting:
    """A port whose calls are counted under the step that makes them."""

    def __init__(self, name: str, port: Any, note: Callable[[str], None]) -> None:
        self._name = name
        self._port = port
        self._note = note

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        if not callable(found):
            return found

        def counted(*args: Any, **named: Any) -> Any:
            self._note(f"{self._name}.{method}")
            answer: Any = cast("Callable[..., Any]", found)(*args, **named)
            listed = self._name != "work" and hasattr(answer, "__next__")
            return self._each(method, cast("Iterator[Any]", answer)) if listed else answer

        return counted

    def _each(self, method: str, answer: Iterator[Any]) -> Iterator[Any]:
        for each in answer:
            self._note(f"{self._name}.{method}")
            yield each


class CountedJob:
    """`steps`: what each step, by the name of its function, asked for in all."""

    def __init__(self, shards: int) -> None:
        self.steps: dict[str, Counts] = {}
        self.unknown: Counter[str] = Counter()
        self.shards = shards
        self._step = ""
        twin = self._twin = TwinProvider("twin")
        self.world = World(
            dialects=[cast("Dialect", TwinDialect("twin"))],
            providers={"twin": lambda: twin},
            prices=MemoryPrices({"twin/m": rates_of(1, 1)}),
            caps=Caps(rows=ROWS),
        )
        for name in ("ledger", "quotas", "rollups", "budgets", "approvals", "events"):
            setattr(self.world, name, Counting(name, getattr(self.world, name), self._note))
        for name in ("work", "results"):
            setattr(self.world, name, Counting(name, getattr(self.world, name), self._note))

    def _note(self, call: str) -> None:
        counts = self.steps.setdefault(self._step, Counts())
        port, _, method = call.partition(".")
        if port in ("work", "results"):
            counts.s3_reads += method in S3_READS
            counts.s3_writes += method in S3_WRITES
        elif call == "events.publish":
            counts.events += 1
        elif call in READS:
            counts.reads += READS[call]
        elif call in WRITES:
            counts.writes += WRITES[call]
        elif call != "ledger.index_rows":  # ends at 10,000 rows
            self.unknown[call] += 1

    def _in(self, step: str, work: Callable[[], Any]) -> Any:
        self._step = step
        self.steps.setdefault(step, Counts()).calls += 1
        return work()

    def run(self) -> None:
        world = self.world
        rows = ({"twin": "twin", "model": "m", "text": "a"} for _ in range(ROWS * self.shards))
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        job_id = self._in("intake", lambda: world.drop("a.jsonl", data))
        made = self._in("plan", lambda: world.plan(job_id))
        for piece in msgspec.json.decode(world.work.get(made.manifest)):
            self._in("shard", lambda piece=piece: world.shard(job_id, piece))
        self._in("price", lambda: world.admit(job_id))
        number = 1
        while True:
            opened = self._in("reconcile", lambda number=number: world.open_round(job_id, number))
            if opened.run == "none":
                break
            for run in world.runs_of(opened):
                self._shard(job_id, run.shard_id)
            number += 1
        self._in("assemble", lambda: world.assembler().assemble(job_id))
        self._in("report", lambda: world.reporter().report(job_id, None))
        self._in("sweep", lambda: sweep(job_id, ledger=world.ledger, objects=world.work))

    def _shard(self, job_id: str, shard_id: str) -> None:
        world = self.world
        step = laps.first()
        submitter, poller = world.submitter("twin"), world.poller("twin")
        while step.lap == 0 or step.next == "wait_to_submit":
            before = step
            step = self._in(
                "submit", lambda before=before: submitter.submit(job_id, shard_id, before)
            )
            if step.next != "wait_to_submit":
                break
            self._twin.tick()
        while step.next == "wait":
            before = step
            self._twin.tick()
            step = self._in("poll", lambda before=before: poller.poll(job_id, shard_id, before))
        self._in("collect", lambda: world.collector("twin").collect(job_id, shard_id))
        while True:
            before = step
            step = self._in(
                "clean_up",
                lambda before=before: world.cleaner("twin").clean_up(job_id, shard_id, before),
            )
            if step.next != "again":
                break
