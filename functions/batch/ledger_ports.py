"""What the use cases need the table to remember: jobs and batches, earlier answers, and what is
reserved at the providers. See `functions.batch.ports`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from functions.batch.learning import Learned
from functions.batch.model import (
    Job,
    JobStatus,
    ProviderFile,
    Shard,
)
from functions.batch.quota import Lease, QuotaUse, Waiter
from functions.batch.rows import (
    IndexedRow,
    StoredAnswer,
)


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
