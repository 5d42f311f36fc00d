"""The run that works a batch's rows off while the clock goes on."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .engine import Engine
from .rows import Rows

STEPS = 8


@dataclass
class Plan:
    """When a run's rows are done. `slow` gives single rows their own time."""

    seconds: float
    slow: dict[int, float] = field(default_factory=dict[int, float])
    stop_at: float | None = None
    """The fraction of the rows at which `done` is called instead of going on."""


class Run:
    """Works rows off in a seeded order, a part at a time, until done or stopped. The rows of a part
    run side by side: an eighth of the batch, whatever a provider does.

    `work` gets the rows of one part; `done` is called once, after the last part or, if the plan
    says so, at the fraction where the run stops of itself. Both run on the scheduler's threads.
    """

    def __init__(
        self,
        engine: Engine,
        rows: Rows,
        plan: Plan,
        work: Callable[[list[int]], None],
        done: Callable[[], None],
        seed: str,
    ) -> None:
        self._engine = engine
        self._work = work
        self._done = done
        self._lock = threading.Lock()
        self._stopped = False
        self._epoch = engine.epoch
        self.order = list(range(len(rows)))
        if engine.settings.shuffle:
            random.Random(f"{engine.settings.seed} {seed}").shuffle(self.order)
        self.finished = 0
        self._parts = self._divide(plan)

    def _divide(self, plan: Plan) -> list[tuple[float, list[int]]]:
        quick = [index for index in self.order if index not in plan.slow]
        slow = sorted((plan.slow[index], index) for index in self.order if index in plan.slow)
        limit = len(self.order) if plan.stop_at is None else int(len(self.order) * plan.stop_at)
        edges = [len(quick) * step // STEPS for step in range(STEPS + 1)]
        parts = [
            (plan.seconds * (step + 1) / STEPS, quick[edges[step] : edges[step + 1]])
            for step in range(STEPS)
        ]
        parts += [(max(plan.seconds, seconds), [index]) for seconds, index in slow]
        kept: list[tuple[float, list[int]]] = []
        for when, part in parts:
            part = part[: max(0, limit)]
            limit -= len(part)
            kept.append((when, part))
        self.order = [index for _, part in parts for index in part]
        return kept

    def start(self) -> None:
        self._began = time.time()
        self._next()

    def _next(self) -> None:
        if not self._parts:
            self._done()
            return
        self._engine.scheduler.at(self._began + self._parts[0][0], self._step)

    def _step(self) -> None:
        with self._lock:
            if self._stopped or self._epoch != self._engine.epoch:
                return
            _, part = self._parts.pop(0)
            with self._engine.prefixes.side_by_side():
                self._work(part)
            self.finished += len(part)
        self._next()

    def stop(self) -> list[int]:
        """Waits for the part at work and returns the rows that will not be done."""
        with self._lock:
            self._stopped = True
            return self.rest()

    def rest(self) -> list[int]:
        return self.order[self.finished :]
