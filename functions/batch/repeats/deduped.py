"""What deduplication decided for a job, and what came of it, as it is kept beside its work."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from functions.batch import layout
from functions.batch.money import dollars, picodollars
from functions.batch.ports import Objects
from functions.batch.work import Part, RangeResult, Source, Tally


class Saving(msgspec.Struct, kw_only=True):
    """`rows` that another row's answer answered, and what that answer cost, in picodollars;
    `unpriced` of them cost what nobody knows."""

    rows: int = 0
    amount: int = 0
    unpriced: int = 0

    def add(self, cost_usd: bytes) -> None:
        """As a result line tells it."""
        self.rows += 1
        if cost_usd == b"null":
            self.unpriced += 1
        else:
            self.amount += picodollars(cost_usd.decode())


class Deduped(msgspec.Struct, kw_only=True):
    """Kept before anything is sent, and never changed. `sources`: what is to be sent, in the place
    of those that the ranges tell. `parts`: rows that were answered before, finished. `copies`: rows
    that wait for the same job's answer, by the key of the row that is sent for them."""

    sources: list[Source]
    parts: list[Part]
    copies: list[Part]
    earlier: Saving
    v: int = 1


class Copied(msgspec.Struct, kw_only=True):
    """What the rows came to that waited for another row of their job."""

    parts: list[Part]
    failed_parts: list[Part]
    problems: dict[str, Tally]
    within: Saving
    v: int = 1


def is_deduped(ranges: Iterable[RangeResult]) -> bool:
    """Whether the job's recipe asks for it; others are spared the requests."""
    return any(result.identities is not None for result in ranges)


def find_deduped(objects: Objects, job_id: str) -> Deduped | None:
    data = objects.find(layout.deduped(job_id))
    return None if data is None else msgspec.json.decode(data, type=Deduped)


def find_copied(objects: Objects, job_id: str) -> Copied | None:
    data = objects.find(layout.copied(job_id))
    return None if data is None else msgspec.json.decode(data, type=Copied)


def to_be_sent(objects: Objects, job_id: str, ranges: Iterable[RangeResult]) -> list[Source]:
    """The sources of all ranges, without the rows that need not be sent."""
    ranges = list(ranges)
    found = find_deduped(objects, job_id) if is_deduped(ranges) else None
    if found is not None:
        return found.sources
    return [source for result in ranges for source in result.sources]


def answered_before(objects: Objects, job_id: str, ranges: Iterable[RangeResult]) -> int:
    """Rows that earlier jobs have answered."""
    found = find_deduped(objects, job_id) if is_deduped(ranges) else None
    return 0 if found is None else found.earlier.rows


def dedupe_report(deduped: Deduped | None, copied: Copied | None) -> dict[str, object]:
    """For the summary of a job that dedupes; else nothing."""
    if deduped is None:
        return {}
    within = Saving() if copied is None else copied.within
    unpriced = deduped.earlier.unpriced + within.unpriced
    return {
        "dedupe": {
            "from_earlier_jobs": deduped.earlier.rows,
            "within_the_job": within.rows,
            "saved_usd": None if unpriced else dollars(deduped.earlier.amount + within.amount),
        }
    }
