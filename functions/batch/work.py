"""Records in the work bucket: the sources that wait to be sent, the parts that are finished, and
what a range of the input or a shard came to. They carry a version, see `functions.batch.model`."""

from __future__ import annotations

import msgspec

from functions.batch.money import Bill
from functions.batch.rows import Group, Weight


class Part(msgspec.Struct, kw_only=True):
    """An object of keyed lines, sorted by key, all of them between `first` and `last`."""

    key: str
    first: str
    last: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Rows `[start, end)` of a range of the input: all of them are rows of the job."""

    range: int
    start: int
    end: int


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of an object that several functions write: its number from 1 on, the tag that the
    store gave it, and its bytes."""

    number: int
    tag: str
    size: int


class Head(msgspec.Struct, kw_only=True):
    """The first `CANARY_ROWS` rows of a source: the last one's key, and what they weigh."""

    last: str
    weight: Weight


class Source(Part, kw_only=True):
    """Rows of one group that wait to be sent. `alone`: not to be packed with others, because a
    batch that held them was refused without naming the row. Of the object's lines `skip` are left
    out, and then `take` are meant; 0: all of them. `head` is null for fewer rows than it has.
    `opening`: what the first row weighs, in a job whose rows share a prefix.
    `left_out`: an object of sorted keys, whose rows are taken for no lines of this source."""

    group: Group
    weight: Weight
    alone: bool = False
    delay_seconds: int = 0
    skip: int = 0
    take: int = 0
    head: Head | None = None
    opening: Weight | None = None
    left_out: str = ""


class Identities(msgspec.Struct, kw_only=True):
    """What a range's rows ask for, in a job that dedupes: see `functions.batch.reading.identity`.
    `sources` are the objects in which they lie."""

    part: Part
    sources: list[str]


class Tally(msgspec.Struct, kw_only=True):
    """How often a code ended a row, and the first message that came with it."""

    count: int
    message: str


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading goes on: at a byte of the unpacked input, or at a place in a CSV's text."""

    offset: int = 0
    place: str = ""


class RangeResult(msgspec.Struct, kw_only=True):
    """What reading one range of the input left behind, or a leg of it: then `start` is the number
    of its first row in the range, and `rest` is null for the last one. `records` are its rows of
    data as they came, a CSV's as lists of cells; `routes` counts them by the recipe's route, -1 for
    none."""

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
    start: int = 0
    rest: Rest | None = None
    identities: Identities | None = None
    v: int = 1

    @property
    def span(self) -> Span:
        return Span(range=self.range, start=self.start, end=self.start + self.rows)


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
