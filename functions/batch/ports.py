"""What the use cases need from outside: small Protocols, met by `functions.aws` and
`functions.providers`, and by in-memory twins in the tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from functions.batch.model import (
    BatchState,
    Job,
    Owned,
    ProviderFile,
    ProviderObject,
    Tag,
)
from functions.batch.recipe import MadeRow, StoredRecipe
from functions.batch.rows import (
    Answer,
    Cut,
    Group,
    Limits,
    ParsedRow,
    ReadAnswers,
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


class Dialect(Protocol):
    """A provider's line shapes and limits, without its SDK.

    `framing`: what stands before a file's requests, between them, and after them.
    `id_mark`: the key, as JSON, under which an answer has our id.
    `creates_per_hour`: batches that the provider lets an account create, null for any number.
    """

    provider: str
    framing: tuple[bytes, bytes, bytes]
    id_mark: bytes
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
        """Of a line that was parsed before. None where nothing can be told."""
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

    def read_answers(self, block: bytes, group: Group) -> ReadAnswers:
        """The same of the lines of a block in UTF-8, in a third of the time. A line that is not as
        most are stays a line: `answer` looks closer. Of blank ones, and of answers that share a
        line, there may be fewer or more than lines."""
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
    keeps_together: bool
    """Whether what is a shard's lies in one place, its outputs too: `find_staged` tells it all."""

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

    def running(self, batch_id: str) -> BatchState | None:
        """As `poll`, by a list of some seconds ago, of a batch that ran then. None where the batch
        has to be asked itself: most have, unless many are asked for at a time."""
        ...

    def poll(self, batch_id: str) -> BatchState: ...

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        """The answer lines of all output files, in any order, some at a time: with newlines between
        them, and none behind the last. Some may be blank."""
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


class Workflows(Protocol):
    def wake(self, token: str) -> bool:
        """Ends a state that waits. False if nothing waits for the token any more."""
        ...

    def start_job(self, job_id: str, run: int = 0, *, given_up: bool = False) -> None:
        """`run` counts the job's executions after the first. Starting the same one again is
        success. One that is given up only puts together what there is."""
        ...
