"""Places to die at: any call of any port from inside a step, before it took effect or after.

A port is watched whatever its methods. What it hands out (a stream, a writer) is watched too, so
that the number of such points grows with the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn

When = Literal["before", "after"]
Mode = Literal["once", "stubborn", "broken", "stopped"]

SHARD_STEPS = ("submit", "poll", "collect", "clean up")
_PURE = frozenset({"uri", "begin_to_wait", "running"})
"""Not watched. `running` stands for a `poll`, which follows where a list tells nothing, as here."""

_READS = frozenset(
    {
        "read",
        "sizes",
        "answers",
        "chunks",
        "files",
        "find",
        "find_batches",
        "find_staged",
        "get",
        "keys",
    }
    | {"pin", "poll", "rates", "recipe", "shard", "shards", "creates", "find_lease", "leases"}
    | {"learned", "left", "line", "missing", "resumed_at", "use"}
)
"""Methods of ports that change nothing. One that is missing here costs time, not truth."""


class Crash(BaseException):
    """The function is dead: nothing in it may catch this."""


class Call(NamedTuple):
    step: str
    port: str
    method: str

    def __str__(self) -> str:
        return f"{self.step}: {self.port}.{self.method}"


@dataclass(frozen=True)
class Point:
    """The `nth` time that `call` is made, from 1.

    `once`: the step is run again. `stubborn`: it dies there whenever it is tried again: a shard's
    workflow is set aside, a step of the job gets through with its last try. `broken`: the whole
    execution ends there, and the rescue starts another. `stopped`: it was aborted by hand, so that
    the job is cancelled.
    """

    call: Call
    nth: int
    when: When
    mode: Mode = "once"

    def __str__(self) -> str:
        return f"{self.mode}, {self.when} {self.call} #{self.nth}"


def points(calls: list[Call], mode: Mode = "once") -> Iterator[Point]:
    """Every call of a run, each before and after it took effect.

    But for `once`, dying before a call is dying after the one before it. Where the execution ends,
    a call that changed nothing leaves what the one before it left; and what is stubborn about a
    step of the job itself is that it is tried again.
    """
    seen: Counter[Call] = Counter()
    for call in calls:
        seen[call] += 1
        if mode == "once":
            yield Point(call, seen[call], "before", mode)
        elif call.step not in SHARD_STEPS if mode == "stubborn" else _is_read(call):
            continue
        yield Point(call, seen[call], "after", mode)


def _is_read(call: Call) -> bool:
    return call.method in _READS or (call.port, call.method) == ("ledger", "job")


class Tripwire:
    """Counts the calls of all ports, and kills at one of them."""

    def __init__(self, point: Point | None = None) -> None:
        self.point = point
        self.calls: list[Call] = []
        self.crashes = 0
        self._seen = 0
        self._step: str | None = None
        self._most = 1
        self._again = False

    @property
    def mode(self) -> Mode | None:
        return None if self.point is None else self.point.mode

    @contextmanager
    def step(self, name: str, *, most: int) -> Generator[None]:
        """One try of a step; calls outside of one are not counted. `most`: of its crashes."""
        self._step = name
        self._most = most if self.mode == "stubborn" else 1
        self._again = bool(self.crashes)
        try:
            yield
        finally:
            self._step = None

    def spare(self) -> None:
        """The step that died is over: no other one dies."""
        if self.crashes:
            self._most = self.crashes
            self.point = None

    def due(self, port: str, method: str) -> When | None:
        """Notes a call; whether, and when, it is the last one."""
        if self._step is None:
            return None
        call = Call(self._step, port, method)
        self.calls.append(call)
        if self.point is None or call != self.point.call or self.crashes >= self._most:
            return None
        self._seen += 1
        if self._seen != self.point.nth and not self._again:
            return None
        self._again = False
        return self.point.when

    def die(self) -> NoReturn:
        self.crashes += 1
        raise Crash

    def call(
        self, port: str, method: str, made: Callable[..., Any], *args: Any, **more: Any
    ) -> Any:
        when = self.due(port, method)
        if when == "before":
            self.die()
        try:
            result = made(*args, **more)
        except Exception:
            if when == "after":
                self.die()
            raise
        if isinstance(result, Iterator):
            return self._cut(result) if when == "after" else result
        if hasattr(result, "__enter__"):
            return self._writer(port, result, when)
        if when == "after":
            self.die()
        return result

    def _cut(self, items: Iterator[Any]) -> Iterator[Any]:
        """A stream in which the function dies, once it has begun to flow."""
        next(items, None)
        yield self.die()

    @contextmanager
    def _writer(self, port: str, opened: Any, when: When | None) -> Generator[Any]:
        with opened as out:
            if when == "after":
                self.die()
            yield Watched(out, f"{port} writer", self)
            at_the_end = self.due(f"{port} writer", "commit")
            if at_the_end == "before":
                self.die()
        if at_the_end == "after":
            self.die()


class Watched:
    """Any port, each of its calls told to the tripwire."""

    def __init__(self, inner: Any, port: str, wire: Tripwire) -> None:
        self._inner = inner
        self._port = port
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value) or name in _PURE:
            return value
        return partial(self._wire.call, self._port, name, value)
