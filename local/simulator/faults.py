"""Faults on demand: markers inside a row's text, and faults armed over the admin API.

A marker stands anywhere in a request: `[[sim:KIND=VALUE,times=N]]`, where `times` makes it act on
the first N attempts of the same text only. Kinds:

    status=CODE   the row fails with that HTTP status; 0 is a row with an empty body
    null_error    the row is in the error file without any reason
    missing       the row is in no file at all
    poison        the whole batch fails validation, naming the line
    poison_unnamed  the same, without a line
    slow=SECONDS  the row takes that long
    policy        the row is refused by the content policy
    big=BYTES     the answer is that large
    u2028         the answer holds U+2028, U+2029, U+0085, U+000B and U+000C
    expired       the row's time runs out
    overloaded    the provider is overloaded
    say=TEXT      the answer is TEXT
    standard      the row is answered, and charged, outside of the batch (Anthropic)
    off_schema    the answer ignores the response schema
"""

import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

MARKER = re.compile(r"\[\[sim:([a-z_0-9]+)(?:=((?:(?!,times=|\]\]).)*))?(?:,times=(\d+))?\]\]")
LOOKS_MARKED = b"[[sim:"

KINDS = {
    "status",
    "null_error",
    "missing",
    "poison",
    "poison_unnamed",
    "slow",
    "policy",
    "big",
    "u2028",
    "expired",
    "overloaded",
    "say",
    "standard",
    "off_schema",
}

CallKind = Literal[
    "status",
    "drop_before",
    "drop_after",
    "delay",
    "truncate",
    "stall",
    "gone",
    "undeletable",
    "keep_less",
]
BatchKind = Literal["token_limit", "batch_failed", "expire_at", "stuck", "state"]


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A fault that waits for its call.

    A call takes effect before its answer is lost (`drop_after`), cut after `bytes` of its body
    (`truncate`), or, cut there, left without an end for `seconds` or until the client hangs up
    (`stall`). It does so only after `seconds` with `delay`, even if the client has hung up by then,
    and not at all with `drop_before` and `status`. Of a piece of an upload, `keep_less` keeps no
    more than `bytes`. `fraction` of the work is done at expiry; `state` is the job state to stay
    in."""

    provider: Literal["openai", "anthropic", "vertex", "gcs", "*"]
    operation: str
    kind: CallKind | BatchKind
    times: int = 1
    skip: int = 0
    status: int = 500
    code: str | None = None
    message: str | None = None
    retry_after: float | None = None
    seconds: float = 0.0
    bytes: int = 0
    fraction: float | None = None
    state: str | None = None
    target: str | None = None
    """Only calls about this batch or file id."""


@dataclass(frozen=True)
class Marks:
    """The markers of one row that still act, by kind."""

    values: dict[str, str]

    def __contains__(self, kind: str) -> bool:
        return kind in self.values

    def number(self, kind: str, default: float = 0.0) -> float:
        try:
            return float(self.values.get(kind) or default)
        except ValueError:
            return default


NO_MARKS = Marks({})


class Faults:
    """Thread-safe: both the armed faults and the count of attempts by text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._gone: set[str] = set()
        self._undeletable: set[str] = set()

    def arm(self, fault: Fault) -> None:
        with self._lock:
            self._armed.append(fault)

    def armed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [msgspec.structs.asdict(fault) for fault in self._armed]

    def disarm(self) -> None:
        with self._lock:
            self._armed.clear()

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()
            self._attempts.clear()
            self._gone.clear()
            self._undeletable.clear()

    def take(self, provider: str, operation: str, target: str | None) -> list[Fault]:
        """The faults that act on this call; each is counted down."""
        with self._lock:
            acting: list[Fault] = []
            for fault in self._armed:
                if not _matches(fault, provider, operation, target):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                acting.append(msgspec.structs.replace(fault))
            self._armed = [fault for fault in self._armed if fault.times > 0]
            for fault in acting:
                if target and fault.kind == "gone":
                    self._gone.add(target)
                if target and fault.kind == "undeletable":
                    self._undeletable.add(target)
            return acting

    def is_gone(self, target: str) -> bool:
        return target in self._gone

    def is_undeletable(self, target: str) -> bool:
        return target in self._undeletable

    def marks(self, provider: str, row: bytes | str, text: str, *, stage: str = "answer") -> Marks:
        """Reads a row's markers. `text` identifies an attempt, since ids change between attempts;
        `stage` keeps validation from using up the attempts of answering."""
        if isinstance(row, bytes):
            if LOOKS_MARKED not in row:
                return NO_MARKS
            row = row.decode("utf-8", "replace")
        values = {
            kind: value
            for kind, value, times in MARKER.findall(row)
            if kind in KINDS and self._acts(provider, kind, text, stage, times)
        }
        return Marks(values) if values else NO_MARKS

    def _acts(self, provider: str, kind: str, text: str, stage: str, times: str) -> bool:
        if not times:
            return True
        key = (f"{stage} {provider} {kind}", text)
        with self._lock:
            self._attempts[key] += 1
            return self._attempts[key] <= int(times)


def _matches(fault: Fault, provider: str, operation: str, target: str | None) -> bool:
    return (
        fault.provider in ("*", provider)
        and fault.operation in ("*", operation)
        and (fault.target is None or fault.target == target)
    )


def batch_fault(faults: list[Fault], *kinds: BatchKind) -> Fault | None:
    return next((fault for fault in faults if fault.kind in kinds), None)
