"""What the domain says of a row: what it may be sent with, what it weighs, how it was answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec


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


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment's caps below the providers' own limits; 0 means none."""

    rows: int = 0
    bytes: int = 0

    def lower(self, limits: Limits) -> Limits:
        return msgspec.structs.replace(
            limits,
            rows=min(limits.rows, self.rows or limits.rows),
            bytes=min(limits.bytes, self.bytes or limits.bytes),
        )


class Weight(msgspec.Struct, kw_only=True, gc=False):
    """What a row, or several, take of the limits, and of the money: `tokens` of input, estimated,
    `max_output` that the answers may have at most, and `unbounded`, how many answers (a row may ask
    for several) come from a row that sets them no limit. `marked` rows ask for a prompt cache."""

    rows: int = 0
    bytes: int = 0
    inputs: int = 0
    output: int = 0
    tokens: int = 0
    max_output: int = 0
    unbounded: int = 0
    marked: int = 0

    def plus(self, other: Weight) -> Weight:
        return Weight(
            rows=self.rows + other.rows,
            bytes=self.bytes + other.bytes,
            inputs=self.inputs + other.inputs,
            output=self.output + other.output,
            tokens=self.tokens + other.tokens,
            max_output=self.max_output + other.max_output,
            unbounded=self.unbounded + other.unbounded,
            marked=self.marked + other.marked,
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
            marked=self.marked - other.marked,
        )

    def add(self, other: Weight) -> None:
        self.rows += other.rows
        self.bytes += other.bytes
        self.inputs += other.inputs
        self.output += other.output
        self.tokens += other.tokens
        self.max_output += other.max_output
        self.unbounded += other.unbounded
        self.marked += other.marked

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
    """What sharding needs to know of a line. `tokens`: before they were rounded."""

    group: Group
    weight: Weight
    tokens: float


LINK = b'"http'
"""What a link begins with in JSON: one that begins otherwise may hold what it refers to."""


class String(msgspec.Struct, frozen=True):
    """One of a line, which may be any other and leaves all else that is said of the line as it is:
    the user's `id`; a `text`, whose tokens are among the row's; one that is `free` to be any; or a
    `link`, which is that behind `LINK`. `json`: as it stands in the line."""

    role: Literal["id", "text", "free", "link"]
    json: bytes


class Cut(msgspec.Struct, frozen=True):
    """A line's strings, as they follow each other.

    `alone`: a row weighs as many bytes as its request, and its answer repeats that; otherwise as
    many as its line.
    """

    strings: list[String]
    alone: bool = False


INLINE_BYTES = 100_000
"""A longer line is referred to by the index, in the results file: an item ends at 400 kB."""


class IndexedRow(msgspec.Struct, frozen=True):
    """A finished row, to be found by its `custom_id`; `line` is its line of `results.jsonl`, at
    `offset` in bytes. Of one that is only referred to, its `length` is enough."""

    row: int
    custom_id: str
    line: bytes
    offset: int
    length: int = 0


class StoredAnswer(msgspec.Struct, frozen=True):
    """Where the line of a row lies in the `results.jsonl` of its job, in bytes, without its
    newline."""

    job_id: str
    offset: int
    length: int


class Usage(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """Tokens. Input includes cache reads and writes, output includes reasoning.

    For their price alone: how many of the cache writes are for an hour; `kinds`, those that are
    not text, such as `input_audio`, `cached_audio` or `output_image`, each counted once; searches
    in the web. `at_list`: answered
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


UsualAnswer = tuple[str, bytes, bytes, int, int, Usage | None]
"""Of one that succeeded, and was not cut: `id`, `response`, `text`, see `Answer`; its tokens of
input and output; and, where some of these have a price of their own, or there is no input, what
they are."""


class ReadAnswers(msgspec.Struct, frozen=True):
    """What the lines of a block say: the usual ones by column, see `UsualAnswer`, and the `lines`
    of the others."""

    ids: Sequence[str]
    responses: Sequence[bytes]
    texts: Sequence[bytes]
    given: Sequence[int]
    made: Sequence[int]
    usages: Sequence[Usage | None]
    lines: list[bytes]

    @classmethod
    def of(cls, usual: Sequence[UsualAnswer], lines: list[bytes]) -> ReadAnswers:
        columns: list[Any] = [*zip(*usual, strict=True)] or [()] * 6
        ids, responses, texts, given, made, usages = columns
        return cls(ids, responses, texts, given, made, usages, lines)

    def usual(self) -> list[UsualAnswer]:
        columns = (self.ids, self.responses, self.texts, self.given, self.made, self.usages)
        return [*zip(*columns, strict=True)]


class RowError(msgspec.Struct, kw_only=True):
    code: str
    message: str
    retryable: bool


class Answer(msgspec.Struct, kw_only=True, array_like=True, gc=False):
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
