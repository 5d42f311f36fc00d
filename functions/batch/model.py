"""What the domain talks about: jobs, shards, batches, provider files, steps.

Every stored shape carries a version `v`, so that a function of the next release can read what a
running job's earlier functions wrote. Unknown fields are ignored for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from functions.batch.errors import MOST_CODE, MOST_TEXT, shortened
from functions.batch.money import Bill, Estimate, JobLimits, Promise
from functions.batch.rows import Group

JobStatus = Literal[
    "planning",
    "scheduled",
    "awaiting_approval",
    "running",
    "paused",
    "assembling",
    "succeeded",
    "partial",
    "failed",
    "rejected",
    "cancelled",
]
FINAL_JOB_STATUSES: frozenset[JobStatus] = frozenset(
    {"succeeded", "partial", "failed", "rejected", "cancelled"}
)

ShardStatus = Literal["planned", "intent", "submitted", "ended", "collected", "cleaned"]

RowStatus = Literal["succeeded", "failed", "invalid"]

MAX_RESENDS = 10
"""How often a row, or a shard's workflow, may go again for a cause that is not its own."""

GAVE_UP = "gave_up"
"""Code of the rows of a shard whose workflow never came to its end."""

UNANSWERED_DAYS = 3
"""After which a job that nobody approved is refused."""

CANARY_ROWS = 100
"""Of each group, which a big job sends first."""

MISSING_KEY = "missing_key"
"""Code of the rows of a provider for which nobody has stored a key."""

_MOST_LINES = 1_000
_MOST_SAID = 40_000  # characters, of up to four bytes each
_SHORT = 100

BATCH_GONE = "batch_gone"
"""Code of a batch that its provider does not know any more."""


def now() -> str:
    """ISO 8601 in UTC with milliseconds; sorts as text."""
    return at(datetime.now(UTC))


def at(moment: datetime) -> str:
    """A moment in UTC as `now` tells it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Reason(msgspec.Struct, frozen=True):
    """Why something ended as it did: a code to program against, a sentence that says what to do."""

    code: str
    message: str

    def __post_init__(self) -> None:
        if len(self.message) > MOST_TEXT or len(self.code) > MOST_CODE:
            msgspec.structs.force_setattr(self, "code", shortened(self.code, MOST_CODE))
            msgspec.structs.force_setattr(self, "message", shortened(self.message))


class RowCounts(msgspec.Struct, kw_only=True):
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    invalid: int = 0


class Outputs(msgspec.Struct, kw_only=True):
    """`s3://` addresses of what a job left; null where there was nothing to write."""

    results: str | None = None
    failed: str | None = None
    invalid: str | None = None
    summary: str | None = None
    csv: str | None = None


class Job(msgspec.Struct, kw_only=True):
    """`untold`: the shard that found the trouble for which the job is paused, until the alert has
    gone out. `expected_at`, `expected_by`: when half of such jobs, and nine of ten, have the
    answers of this round, by how long the models' batches took before; null: not known."""

    job_id: str
    bucket: str
    key: str
    bytes: int
    created_at: str
    status: JobStatus = "planning"
    version_id: str | None = None
    etag: str | None = None
    reason: Reason | None = None
    verdict: Literal["rejected", "failed"] | None = None
    finished_at: str | None = None
    round: int = 0
    rows: RowCounts | None = None
    cancel_requested: bool = False
    untold: str | None = None
    outputs: Outputs | None = None
    limits: JobLimits | None = None
    estimate: Estimate | None = None
    promise: Promise | None = None
    bill: Bill | None = None
    expires_at: int | None = None
    expected_at: str | None = None
    expected_by: str | None = None
    v: int = 1


class Refusal(msgspec.Struct, kw_only=True):
    """Why a shard's batch did not run, for all rows or for those that `rows` names.

    `then` is what becomes of the rows it speaks of: `fail` for good, `resend` without spending a
    round, `split` the shard to find the row. Rows that it does not name are sent again.
    `account`: a person has to act first, so the delay grows to a day, else to an hour.
    `capacity`: the provider's queue was too full for the shard, so that no row is at fault.
    """

    code: str
    message: str
    then: Literal["fail", "resend", "split"]
    lines: dict[int, Reason] = {}
    delay_seconds: int = 0
    account: bool = False
    capacity: bool = False

    def __post_init__(self) -> None:
        """Bounded, since it is kept in an item of the ledger: lines that are left out are sent
        again, and named again."""
        self.code = shortened(self.code, MOST_CODE)
        self.message = shortened(self.message)
        if len(self.lines) > _MOST_LINES or sum(map(_size, self.lines.values())) > _MOST_SAID:
            self.lines = dict(_first(self.lines))


def _size(reason: Reason) -> int:
    return len(reason.code) + len(reason.message)


def _first(lines: dict[int, Reason]) -> Iterator[tuple[int, Reason]]:
    said = 0
    for line, reason in sorted(lines.items())[:_MOST_LINES]:
        reason = Reason(reason.code, shortened(reason.message, _SHORT))
        said += _size(reason)
        if said > _MOST_SAID:
            return
        yield line, reason


class Progress(msgspec.Struct, kw_only=True):
    """As the provider reports it: for display, and to tell that its files are late; never for
    accounting."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class Answered(msgspec.Struct, kw_only=True):
    succeeded: int = 0
    failed: int = 0
    again: int = 0


class Shard(msgspec.Struct, kw_only=True):
    """The ledger's record of one batch. `rev` guards every write of it.

    `staged` are the provider files uploaded for the batch, `outputs` those that hold its answers.
    `creating`: a create was begun and its outcome is not known; `looks` counts the look-ups since.
    `doubts` counts such creates after which no batch was found.
    `unread`: its provider did not give out its answers when they were last asked for.
    """

    job_id: str
    shard_id: str
    round: int
    number: int
    provider: str
    endpoint: str
    model: str
    rows: int
    bytes: int
    tokens: int = 0
    variant: str = ""
    status: ShardStatus = "planned"
    rev: int = 0
    attempt: int = 0
    looks: int = 0
    doubts: int = 0
    intent_at: str | None = None
    staged: list[str] = []
    creating: bool = False
    parked: bool = False
    batch_id: str | None = None
    provider_status: str | None = None
    progress: Progress | None = None
    submitted_at: str | None = None
    ended_at: str | None = None
    outputs: list[str] = []
    refusal: Refusal | None = None
    complete: bool = False
    unread: bool = False
    cancel_sent: bool = False
    answered: Answered | None = None
    bill: Bill | None = None
    delay_seconds: int = 0
    v: int = 1

    @property
    def group(self) -> Group:
        return Group(self.provider, self.endpoint, self.model, self.variant)


class ProviderFile(msgspec.Struct, kw_only=True):
    """Something created at a provider that must not stay there."""

    job_id: str
    shard_id: str
    provider: str
    kind: str
    id: str
    created_at: str
    deleted_at: str | None = None
    error: str | None = None
    v: int = 1


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """Names an attempt to create a batch, at the provider, so that it can be found again."""

    stack: str
    job_id: str
    shard_id: str
    attempt: int


class BatchState(msgspec.Struct, kw_only=True):
    """A batch as its provider reports it, in our words.

    `outcome` is null while it runs. `ended`: whatever was finished is in `outputs`, what has no
    answer there goes again, spending a round only if `complete`. `refused`: see `refusal`.
    `early`: it says that it has answers, or errors of rows, and does not say yet where.
    """

    status: str
    outcome: Literal["ended", "refused"] | None
    complete: bool = False
    early: Literal["answers", "errors"] | None = None
    outputs: list[ProviderObject] = []
    refusal: Refusal | None = None
    progress: Progress | None = None
    retry_after: float | None = None


class ProviderObject(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    id: str


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """What lies at a provider under a stack's name, with the shard that it was made for."""

    kind: str
    id: str
    created_at: str
    job_id: str
    shard_id: str


class ShardStep(msgspec.Struct, kw_only=True):
    """What a step of the shard's workflow decided, and the counters that its next lap needs.

    `lap` counts the visits of the state, `waited` sums the seconds asked of Wait states: both run
    alike on a shortened clock. `troubles` counts laps in a row that met the same trouble, which
    began at `since`. `owed`: seconds of a long wait that are still to come.
    """

    next: Literal["wait_to_submit", "wait", "collect", "again", "done"]
    wait_seconds: int = 0
    lap: int = 0
    waited: int = 0
    troubles: int = 0
    trouble: str = ""
    since: str = ""
    owed: int = 0
