"""The provider's own books: what was answered and billed, asked, refused, created and left."""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

LISTED = 1000


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer. `input` excludes what was read from or written to a cache."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    def items(self) -> list[tuple[str, int]]:
        return list(self.__dict__.items())


@dataclass
class Thing:
    """A file or object that the client caused to exist."""

    provider: str
    kind: str
    id: str
    name: str
    created_at: float
    bytes: int
    deleted_at: float | None = None


@dataclass
class BatchEntry:
    provider: str
    id: str
    model: str | None
    name: Any
    """Metadata, display name and labels: whatever the client can be recognised by."""
    created_at: float
    status: str
    rows: int | None = None
    answered: int = 0
    polls: list[float] = field(default_factory=list[float])
    tokens: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """What was charged for it, by model."""

    def shown(self, prices: dict[str, dict[str, float]]) -> dict[str, Any]:
        gaps = [round(b - a, 3) for a, b in zip(self.polls, self.polls[1:], strict=False)]
        return {
            **self.__dict__,
            "minimum_interval": min(gaps, default=None),
            "dollars": float(sum(_dollars(self.tokens, prices).values(), Decimal())),
        }


class Ledger:
    """Thread-safe. Rows that were answered with success are billed, and what else says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._answers: dict[str, list[str]] = {}
            self._tokens: defaultdict[str, Counter[str]] = defaultdict(Counter)
            self._batches: dict[str, BatchEntry] = {}
            self._things: dict[str, Thing] = {}
            self._calls: Counter[str] = Counter()
            self._refused: list[dict[str, Any]] = []
            self._rows: Counter[str] = Counter()

    def answered(
        self, provider: str, batch: str, model: str, digest: str, usage: Usage, tier: str = ""
    ) -> None:
        self.charged(provider, batch, model, usage, tier)
        with self._lock:
            self._answers.setdefault(f"{provider} {digest}", []).append(batch)
            if entry := self._batches.get(batch):
                entry.answered += 1

    def charged(self, provider: str, batch: str, model: str, usage: Usage, tier: str = "") -> None:
        """`tier` is named after the model where a row is not charged as a batch's."""
        name = f"{provider}/{model} {tier}".strip()
        charged = {"rows": 1, **{kind: count for kind, count in usage.items() if count}}
        with self._lock:
            self._tokens[name].update(charged)
            if entry := self._batches.get(batch):
                entry.tokens[name].update(charged)

    def row(self, provider: str, outcome: str) -> None:
        with self._lock:
            self._rows[f"{provider} {outcome}"] += 1

    def batch(self, entry: BatchEntry) -> None:
        with self._lock:
            self._batches[entry.id] = entry

    def status(self, batch: str, status: str, rows: int | None = None) -> None:
        with self._lock:
            if entry := self._batches.get(batch):
                entry.status = status
                entry.rows = rows if rows is not None else entry.rows

    def poll(self, batch: str, when: float) -> None:
        with self._lock:
            if entry := self._batches.get(batch):
                entry.polls.append(when)

    def created(self, thing: Thing) -> None:
        with self._lock:
            self._things[f"{thing.provider} {thing.id}"] = thing

    def deleted(self, provider: str, thing_id: str, when: float) -> None:
        with self._lock:
            if thing := self._things.get(f"{provider} {thing_id}"):
                thing.deleted_at = when

    def call(self, provider: str, operation: str, status: int, when: float, reason: str) -> None:
        """`status` 0 is a call whose connection was dropped on purpose."""
        with self._lock:
            self._calls[f"{provider} {operation}"] += 1
            if status == 0 or status >= 400:
                refused = {"provider": provider, "operation": operation, "status": status}
                self._refused.append({**refused, "at": when, "reason": reason})

    def shown(self, prices: dict[str, dict[str, float]]) -> dict[str, Any]:
        with self._lock:
            return {
                "providers": {
                    name: self._provider(name, prices)
                    for name in ("openai", "anthropic", "vertex", "gcs")
                },
                "answered_twice": self._twice(),
                "tokens": {model: dict(books) for model, books in self._tokens.items()},
                "dollars": {
                    model: float(amount) for model, amount in _dollars(self._tokens, prices).items()
                },
                "calls": dict(self._calls),
                "look_ups": {
                    name.split()[0]: count
                    for name, count in self._calls.items()
                    if name.split()[1] == "list"
                },
                "refused": self._refused[-LISTED:],
            }

    def _provider(self, name: str, prices: dict[str, dict[str, float]]) -> dict[str, Any]:
        things = [thing for thing in self._things.values() if thing.provider == name]
        left = [thing.__dict__ for thing in things if thing.deleted_at is None]
        batches = [
            entry.shown(prices) for entry in self._batches.values() if entry.provider == name
        ]
        return {
            "batches": batches,
            "rows_answered": sum(entry["answered"] for entry in batches),
            "rows": {
                key.split(" ", 1)[1]: count
                for key, count in self._rows.items()
                if key.startswith(f"{name} ")
            },
            "files_created": len(things),
            "files_deleted": len(things) - len(left),
            "files_left": left,
        }

    def _twice(self) -> dict[str, Any]:
        twice = [(key, where) for key, where in self._answers.items() if len(where) > 1]
        listed = [
            {"provider": key.split()[0], "hash": key.split()[1], "times": len(where), "in": where}
            for key, where in twice[:LISTED]
        ]
        return {
            "requests": len(twice),
            "extra_answers": sum(len(where) - 1 for _, where in twice),
            "distinct": len(self._answers),
            "listed": listed,
        }


def _dollars(
    tokens: dict[str, Counter[str]], prices: dict[str, dict[str, float]]
) -> dict[str, Decimal]:
    """Priced models only, under their name without a version date if need be. Exact."""
    dollars: dict[str, Decimal] = {}
    for model, books in tokens.items():
        table = prices.get(model) or next((prices[p] for p in prices if model.startswith(p)), None)
        if table is None:
            continue
        plain = table.get("input", 0.0)
        dollars[model] = (
            sum(
                (
                    count * Decimal(str(table.get(kind, 0.0 if kind == "output" else plain)))
                    for kind, count in books.items()
                    if kind != "rows"
                ),
                Decimal(),
            )
            / 1_000_000
        )
    return dollars
