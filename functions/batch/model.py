"""What the domain talks about: jobs, groups, sources, shards, provider files, answers.

Every stored shape carries a version `v`, so that a function of the next release can read what a
running job's earlier functions wrote. Unknown fields are ignored for the same reason.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

from functions.batch.money import Bill, Estimate, JobLimits

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
    bill: Bill | None = None
    expires_at: int | None = None
    expected_at: str | None = None
    expected_by: str | None = None
    v: int = 1


class Group(msgspec.Struct, frozen=True, order=True):
    """What one batch may hold: one provider, one endpoint, one model. `variant` tells rows apart
    that a provider would not take together for another reason."""

    provider: str
    endpoint: str
    model: str
    variant: str = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What fits into one batch. `inputs` counts the texts of embedding requests, `output` the
    bytes that the answers are expected to have."""

    rows: int
    bytes: int
    inputs: int
    output: int


class Weight(msgspec.Struct, kw_only=True, gc=False):
    """What a row, or several, take of the limits, and of the money: `tokens` of input, estimated,
    `max_output` that the answers may have at most, and `unbounded`, how many answers (a row may ask
    for several) come from a row that sets them no limit."""

    rows: int = 0
    bytes: int = 0
    inputs: int = 0
    output: int = 0
    tokens: int = 0
    max_output: int = 0
    unbounded: int = 0

    def plus(self, other: Weight) -> Weight:
        return Weight(
            rows=self.rows + other.rows,
            bytes=self.bytes + other.bytes,
            inputs=self.inputs + other.inputs,
            output=self.output + other.output,
            tokens=self.tokens + other.tokens,
            max_output=self.max_output + other.max_output,
            unbounded=self.unbounded + other.unbounded,
        )

    def minus(self, other: Weight) -> Weight:
        return Weight(
            rows=self.rows - other.rows,
            bytes=self.bytes - other.bytes,
            inputs=self.inputs - other.inputs,
            output=self.output - other.output,
            tokens=self.tokens - other.tokens,
            max_output=self.max_output - other.max_output,
            unbounded=self.unbounded - other.unbounded,
        )

    def add(self, other: Weight) -> None:
        self.rows += other.rows
        self.bytes += other.bytes
        self.inputs += other.inputs
        self.output += other.output
        self.tokens += other.tokens
        self.max_output += other.max_output
        self.unbounded += other.unbounded

    def holds(self, other: Weight, limits: Limits) -> bool:
        """Whether both fit together."""
        return (
            self.rows + other.rows <= limits.rows
            and self.bytes + other.bytes <= limits.bytes
            and self.inputs + other.inputs <= limits.inputs
            and self.output + other.output <= limits.output
        )

    def fits(self, limits: Limits) -> bool:
        return (
            self.rows <= limits.rows
            and self.bytes <= limits.bytes
            and self.inputs <= limits.inputs
            and self.output <= limits.output
        )


class ParsedRow(msgspec.Struct, frozen=True, gc=False):
    """What sharding needs to know of a line."""

    group: Group
    weight: Weight


class IndexedRow(msgspec.Struct, frozen=True):
    """A finished row, to be found by its `custom_id`; `line` is its line of `results.jsonl`, at
    `offset` in bytes."""

    row: int
    custom_id: str
    line: bytes
    offset: int


class Part(msgspec.Struct, kw_only=True):
    """An object of keyed lines, sorted by key, all of them between `first` and `last`."""

    key: str
    first: str
    last: str


class Head(msgspec.Struct, kw_only=True):
    """The first `CANARY_ROWS` rows of a source: the last one's key, and what they weigh."""

    last: str
    weight: Weight


class Source(Part, kw_only=True):
    """Rows of one group that wait to be sent. `alone`: not to be packed with others, because a
    batch that held them was refused without naming the row. Of the object's lines `skip` are left
    out, and then `take` are meant; 0: all of them. `head` is null for fewer rows than it has."""

    group: Group
    weight: Weight
    alone: bool = False
    delay_seconds: int = 0
    skip: int = 0
    take: int = 0
    head: Head | None = None


class Tally(msgspec.Struct, kw_only=True):
    """How often a code ended a row, and the first message that came with it."""

    count: int
    message: str


class RangeResult(msgspec.Struct, kw_only=True):
    """What reading one range of the input left behind. `records` are its rows of data as they
    came, a CSV's as lists of cells; `routes` counts them by the recipe's route, -1 for none."""

    range: int
    rows: int
    invalid: int
    sources: list[Source]
    parts: list[Part]
    failed: list[Part]
    unreadable: list[Part]
    problems: dict[str, Tally]
    records: list[Part] = []
    columns: list[str] = []
    routes: dict[int, int] = {}
    v: int = 1


class ShardManifest(msgspec.Struct, kw_only=True):
    """The sources that make up a shard, in order. Kept in the work bucket: it has no bound."""

    shard_id: str
    sources: list[Source]
    v: int = 1


class Collected(msgspec.Struct, kw_only=True):
    """What one shard came to. `remainder`: the rows that go again, `unfit` of them because their
    answer did not fit the schema. `cut`: rows that succeeded, but whose answer ended where its
    limit did.

    Where the recipe has routes: `routes`, the bill of the rows that took each, -1 for none, and
    `one_model`, what the recipe's own model costs for the same tokens."""

    shard_id: str
    succeeded: int
    failed: int
    parts: list[Part]
    failed_parts: list[Part]
    remainder: list[Source]
    problems: dict[str, Tally]
    bill: Bill | None = None
    routes: dict[int, Bill] = {}
    one_model: Bill | None = None
    unfit: int = 0
    cut: int = 0
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


class Progress(msgspec.Struct, kw_only=True):
    """As the provider reports it: for display, never for accounting."""

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
    cancel_sent: bool = False
    answered: Answered | None = None
    bill: Bill | None = None
    delay_seconds: int = 0
    v: int = 1

    @property
    def group(self) -> Group:
        return Group(self.provider, self.endpoint, self.model, self.variant)


class Lease(msgspec.Struct, kw_only=True):
    """Enqueued tokens that a shard holds of a quota, from before its batch is created until the
    batch has ended. `counted`: the quota had a limit, so that its sum includes them."""

    quota: str
    job_id: str
    shard_id: str
    tokens: int
    at: str
    counted: bool = False
    v: int = 1


class Waiter(msgspec.Struct, kw_only=True):
    """A shard's place in a quota's line. A lower ticket goes first; a place is lost at `until`, so
    that a shard which died holds nobody up."""

    quota: str
    job_id: str
    shard_id: str
    ticket: int
    tokens: int
    until: str
    v: int = 1

    @property
    def place(self) -> tuple[int, str, str]:
        return self.ticket, self.job_id, self.shard_id


class QuotaUse(msgspec.Struct, kw_only=True):
    """A quota's counted tokens in use, the ticket that was served last, and a limit that a refusal
    has taught, until it is worth another try."""

    in_use: int = 0
    turn: int = 0
    learned: int | None = None
    learned_until: str = ""
    v: int = 1


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
    """

    status: str
    outcome: Literal["ended", "refused"] | None
    complete: bool = False
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


class Usage(msgspec.Struct, kw_only=True, gc=False):
    """Tokens. Input includes cache reads and writes, output includes reasoning.

    For their price alone: how many of the cache writes are for an hour; `kinds`, those that are
    not text, such as `input_audio` or `output_image`; searches in the web. `at_list`: answered
    outside of the batch, so paid at the price of real time.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cache_write_1h_tokens: int = 0
    kinds: dict[str, int] | None = None
    web_searches: int = 0
    at_list: bool = False


class RowError(msgspec.Struct, kw_only=True):
    code: str
    message: str
    retryable: bool


class Answer(msgspec.Struct, kw_only=True, gc=False):
    """What a provider said to one row.

    `verdict`: `succeeded`; `failed` for good; `again`, a failure of the row's own that may pass;
    `resend`, the row was never tried. With `delay_seconds` the account was refused, not the row:
    it goes again after so long, doubled each time. `response` and `text` are JSON as it came.
    `cut`: the answer ended because it reached its limit on output.
    """

    id: str
    verdict: Literal["succeeded", "failed", "again", "resend"]
    response: bytes = b"null"
    text: bytes = b"null"
    usage: Usage | None = None
    error: RowError | None = None
    delay_seconds: int = 0
    cut: bool = False


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
