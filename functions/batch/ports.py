"""What the use cases need from outside: small Protocols, met by `functions.aws` and
`functions.providers`, and by in-memory twins in the tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from functions.batch.learning import Learned
from functions.batch.model import (
    BatchState,
    Job,
    JobStatus,
    Owned,
    ProviderFile,
    ProviderObject,
    Shard,
    Tag,
)
from functions.batch.pricing import Rates
from functions.batch.quota import Lease, QuotaUse, Waiter
from functions.batch.recipe import MadeRow, StoredRecipe
from functions.batch.rows import (
    Answer,
    Cut,
    Group,
    IndexedRow,
    Limits,
    ParsedRow,
    StoredAnswer,
    Weight,
)
from functions.batch.work import Piece


class Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Objects(Protocol):
    """One bucket. Keys are below the job's own prefix."""

    def get(self, key: str) -> bytes: ...

    def find(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...

    def put_new(self, key: str, data: bytes) -> None:
        """Keeps what is there already."""
        ...

    def chunks(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The object's bytes from `start` on, in bounded pieces; a broken read resumes."""
        ...

    def read(self, key: str, start: int, size: int) -> bytes | None:
        """At most `size` bytes from `start` on: fewer, or none, at the object's end; None where
        there is no object."""
        ...

    def upload(self, path: Path, key: str) -> None: ...

    def writer(self, key: str) -> AbstractContextManager[Writer]:
        """The object appears whole when the block ends, and not at all when it raises."""
        ...

    def keys(self, prefix: str) -> Iterator[str]: ...

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys, and the bytes of each object."""
        ...

    def delete(self, keys: Iterable[str]) -> None: ...

    def uri(self, key: str) -> str: ...


class PieceObjects(Objects, Protocol):
    """A bucket in which several functions can write one object, each some of its pieces. A piece
    has a number from 1 to 10,000; all but the last have at least 5 MiB, none more than 5 GiB
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

    def begin(self, key: str) -> str:
        """The name of a new upload, of which nothing is seen until it is completed."""
        ...

    def put_piece(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Its tag. A piece that was put before is replaced. Raises `UploadGone`."""
        ...

    def complete(self, key: str, upload: str, pieces: Sequence[Piece]) -> None:
        """The object appears, made of these pieces in the order of their numbers. Raises
        `UploadGone`, perhaps also where it was completed before."""
        ...

    def abandon(self, prefix: str) -> None:
        """Ends all uploads below the prefix that were not completed, and frees their pieces."""
        ...


class InputFiles(Protocol):
    """The uploads, each pinned to the version that its event named."""

    def pin(self, job: Job) -> Job:
        """The job with `version_id` and `bytes` of the very upload. Raises `InputChanged`."""
        ...

    def recipe(self, job: Job) -> str | None:
        """The key of the recipe in the file's folder, or in the nearest one above it."""
        ...

    def beside(self, job: Job, key: str, most: int) -> bytes | None:
        """Another object of the inbox as it is now, at most its first `most` bytes."""
        ...

    def charset(self, job: Job) -> str | None:
        """What the upload's Content-Type says of its encoding. Raises `InputChanged`."""
        ...

    def chunks(self, job: Job, start: int) -> Iterator[bytes]:
        """Bytes from `start` on, in bounded pieces. Raises `InputChanged`."""
        ...


RowKind = Literal["data", "native", "gemini"]
"""What rows are to a recipe: data to make requests of, or requests already; Gemini's may leave
their model to the recipe."""


class RequestMaker(Protocol):
    """A compiled recipe. What a row may cost is bounded."""

    def make(self, rows: Sequence[bytes]) -> list[MadeRow]:
        """What each row, a JSON object, came to, in order."""
        ...

    def attached(self, line: bytes, name: str, document: bytes, *, shared: bool) -> bytes:
        """A line that was made, with the document that its row names. `shared`: other rows name it
        too. Raises `InvalidRow`."""
        ...

    def close(self) -> None: ...


class Recipes(Protocol):
    """Reads what people write, and makes requests of it."""

    def prepare(self, key: str, data: bytes, rows: RowKind) -> StoredRecipe:
        """Raises `BadRecipe`."""
        ...

    def maker(self, recipe: StoredRecipe) -> RequestMaker: ...


class Ledger(Protocol):
    """Jobs, shards and provider files. Writes are conditional: see each method."""

    def create_job(self, job: Job) -> bool:
        """False if it exists already: the same upload, delivered again."""
        ...

    def job(self, job_id: str) -> Job: ...

    def update_job(self, job_id: str, changes: dict[str, object]) -> None:
        """Sets attributes of a job that exists."""
        ...

    def change_status(
        self, job_id: str, old: JobStatus, new: JobStatus, changes: Mapping[str, object]
    ) -> bool:
        """Whether the job was in the old status, and so is in the new one now, with `changes`."""
        ...

    def resumed_at(self, provider: str) -> str | None:
        """When a person last said that the provider is to be tried again."""
        ...

    def resume(self, provider: str) -> None: ...

    def note_missing(self, shard: Shard) -> None:
        """The provider does not know the shard's batch: told with the time of the first note."""
        ...

    def forget_missing(self, shard: Shard) -> None: ...

    def missing(self, provider: str, since: str) -> list[tuple[str, str]]:
        """Jobs and shards whose batch was first missed at `since` or later."""
        ...

    def create_shard(self, shard: Shard) -> None:
        """Keeps a record that is there already."""
        ...

    def shard(self, job_id: str, shard_id: str) -> Shard: ...

    def shards(self, job_id: str, round_number: int | None = None) -> Iterator[Shard]:
        """In order of round and number."""
        ...

    def save_shard(self, shard: Shard) -> Shard:
        """Writes if `rev` is still the stored one; returns it with the next `rev`.

        Raises `Conflict`."""
        ...

    def add_file(self, file: ProviderFile) -> None:
        """Keeps a record that is there already."""
        ...

    def save_file(self, file: ProviderFile) -> None: ...

    def files(self, job_id: str, shard_id: str | None = None) -> Iterator[ProviderFile]: ...

    def note_left(self, file: ProviderFile) -> None:
        """What an ended shard or job has left behind, for the janitor."""
        ...

    def forget_left(self, file: ProviderFile) -> None: ...

    def left(self, provider: str) -> Iterator[ProviderFile]: ...

    def index_rows(
        self,
        job_id: str,
        results: str,
        rows: Iterable[IndexedRow],
        expires_at: int,
        *,
        beside_others: bool = False,
    ) -> None:
        """`results` is the address of the file that the rows' offsets point into; `expires_at`
        in seconds since 1970. Of rows with the same id the first has the id's own place, or, where
        they are written `beside_others`, whichever was written first."""
        ...

    def learned(self, provider: str, model: str) -> Learned:
        """All lessons of a model added up: empty before the first."""
        ...

    def learn(self, provider: str, model: str, lesson: Learned, *, once: str) -> bool:
        """Adds a lesson, atomically. `once` names it: given again, it adds nothing, and the answer
        is False."""
        ...


class EarlierAnswers(Protocol):
    """Where the answer to a request lies, by the request's digest in hex."""

    def find(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, StoredAnswer]]:
        """Those that have not expired, for digests of which each comes once; in any order."""
        ...

    def remember(self, answers: Iterable[tuple[bytes, StoredAnswer]], expires_at: int) -> None:
        """In the place of what was known of the same digests. `expires_at` in seconds since
        1970."""
        ...


class Quotas(Protocol):
    """Enqueued tokens and creates, counted for all jobs of the deployment together."""

    def use(self, quota: str) -> QuotaUse: ...

    def lease(self, lease: Lease, room: int | None, waiter: Waiter | None) -> bool:
        """Takes the lease, once, if no more than `room` tokens are in use; the waiter leaves the
        line. Without a room it is not counted. True also where it was taken before."""
        ...

    def find_lease(self, quota: str, job_id: str, shard_id: str) -> Lease | None: ...

    def leases(self, quota: str) -> Iterator[Lease]: ...

    def release(self, quota: str, job_id: str, shard_id: str) -> None:
        """Gives the tokens back, once. What was not leased is no error."""
        ...

    def ticket(self, quota: str, job_id: str, number: int) -> int:
        """The ticket of a job's shard: counted from the turn at which the job first asked."""
        ...

    def line(self, quota: str, most: int) -> list[Waiter]:
        """The first in the line, in order."""
        ...

    def join(self, waiter: Waiter) -> None:
        """Takes or renews the place in the line."""
        ...

    def leave(self, waiter: Waiter) -> None: ...

    def learn(self, quota: str, limit: int, until: str) -> None: ...

    def creates(self, provider: str, window: int) -> int: ...

    def count_create(self, provider: str, window: int, most: int) -> bool:
        """Counts one more create in the window, unless there are `most` already."""
        ...


class Dialect(Protocol):
    """A provider's line shapes and limits, without its SDK.

    `framing`: what stands before a file's requests, between them, and after them.
    `creates_per_hour`: batches that the provider lets an account create, null for any number.
    """

    provider: str
    framing: tuple[bytes, bytes, bytes]
    creates_per_hour: int | None

    def claims(self, fields: dict[str, msgspec.Raw]) -> bool:
        """Whether a line with these top-level keys is this provider's."""
        ...

    def parse(self, line: bytes, fields: dict[str, msgspec.Raw]) -> ParsedRow:
        """Raises `InvalidRow`."""
        ...

    def parse_usual(self, line: bytes) -> ParsedRow | None:
        """The same of a line in UTF-8 as most are, in half the time. None for one that may be
        another provider's, or unusual, or invalid: `parse` looks closer."""
        ...

    def cut(self, line: bytes) -> Cut | None:
        """Of a line in UTF-8. None where `parse_usual` has none, or not all that is weighed is
        text."""
        ...

    def weigh(self, line: bytes) -> Weight:
        """Of a line that was parsed before."""
        ...

    def limits(self, group: Group) -> Limits: ...

    def request(self, line: bytes, row_id: str) -> bytes:
        """The line as the provider gets it: with our id, all else as it was."""
        ...

    def answer(self, line: bytes, group: Group) -> Answer:
        """Raises `ValueError` for a line that is no answer."""
        ...

    def custom_id(self, line: bytes) -> bytes:
        """The user's id as JSON, `null` where there is none."""
        ...

    def with_model(self, line: bytes, model: str) -> bytes:
        """The same request of another model."""
        ...


class Provider(Protocol):
    """A batch API. Nothing in it retries a call that creates something."""

    name: str
    uses_staged_files: bool
    batch_kind: str | None
    """What a batch is called among the things to delete; None where it cannot be deleted."""

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        """Uploads a shard's file, where the provider takes files."""
        ...

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        """Files of the tag's shard, of any attempt, created after `since`."""
        ...

    def create(
        self,
        path: Path | None,
        tag: Tag,
        group: Group,
        staged: Sequence[str],
        rows: int,
    ) -> str:
        """The id of the new batch."""
        ...

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        """Batches of the tag's shard, of any attempt, created after `since`.

        Raises `Unconfirmed` where only time will tell whether a batch is one."""
        ...

    def poll(self, batch_id: str) -> BatchState: ...

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        """The answer lines of all output files, in any order."""
        ...

    def cancel(self, batch_id: str) -> None: ...

    def delete(self, file: ProviderFile) -> None:
        """Raises `Missing` where it is gone already."""
        ...

    def owned(self, stack: str, since: str) -> Iterator[Owned]:
        """What can be told by its name to be the stack's, created after `since`."""
        ...


class Events(Protocol):
    def publish(self, detail_type: str, detail: dict[str, object]) -> None: ...


class Alerts(Protocol):
    def alert(self, subject: str, message: str) -> None: ...


class Prices(Protocol):
    def rates(self, provider: str, model: str) -> Rates | None:
        """Today's; None for a model that nobody knows the price of."""
        ...


class Budget(msgspec.Struct, frozen=True):
    """`name` is `day#YYYY-MM-DD` or `month#YYYY-MM`; `limit` in picodollars."""

    name: str
    limit: int


class Shortfall(msgspec.Struct, frozen=True):
    """The first budget that is too small for what was asked, and what it has committed."""

    budget: Budget
    committed: int


class Budgets(Protocol):
    """What jobs have spent, and what running ones may spend at most. All amounts are exact."""

    def reserve(self, job_id: str, amount: int, budgets: Sequence[Budget]) -> Shortfall | None:
        """Commits `amount` to all of the budgets, or to none. A job reserves once: whoever asks
        again gets the same answer (None), and nothing is added."""
        ...

    def settle(self, job_id: str, spent: int | None) -> bool:
        """Puts what was spent in the place of what was reserved; None: not known, so that all of
        it stays committed. Once for each job, False after that. A job that reserved nothing can
        reserve nothing any more."""
        ...


ApprovalAnswer = Literal["approved", "refused", "unanswered"]
Question = Literal["start", "canary"]
"""Whether a job may start, and whether it may go on after a canary in trouble."""


class Approval(msgspec.Struct, kw_only=True):
    """A job's question. `token` wakes the workflow that waits; `told`: people were asked."""

    job_id: str
    token: str
    told: bool = False
    answer: ApprovalAnswer | None = None
    v: int = 1


class Approvals(Protocol):
    def ask(self, job_id: str, token: str, question: Question = "start") -> Approval:
        """Stores the token, in the place of an earlier one; the question as it now stands."""
        ...

    def told(self, job_id: str, question: Question = "start") -> None: ...

    def answer(
        self, job_id: str, answer: ApprovalAnswer, question: Question = "start"
    ) -> Approval | None:
        """Keeps the first answer; the question as it now stands. None if it was never asked."""
        ...

    def find(self, job_id: str, question: Question = "start") -> Approval | None: ...


class Rollups(Protocol):
    def add(self, shard: Shard, folder: str, day: str) -> None:
        """Adds the bill of a shard to the sums of its day, by model and by folder. Once for each
        shard."""
        ...


class Metrics(Protocol):
    def batch(self, shard: Shard) -> None:
        """Of a batch that was collected."""
        ...

    def job(self, job: Job) -> None:
        """Of a job that has ended."""
        ...

    def left(self, provider: str, count: int) -> None:
        """What could not be deleted at the provider, told by whoever gave it up for now. Whoever
        runs twice may tell it twice."""
        ...


class Workflows(Protocol):
    def wake(self, token: str) -> bool:
        """Ends a state that waits. False if nothing waits for the token any more."""
        ...

    def start_job(self, job_id: str, run: int = 0, *, given_up: bool = False) -> None:
        """`run` counts the job's executions after the first. Starting the same one again is
        success. One that is given up only puts together what there is."""
        ...
