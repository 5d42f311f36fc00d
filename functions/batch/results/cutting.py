"""Cuts the rows of a job whose results are too much for one call into slices.

A slice is put together by a call of its own, see `functions.batch.results.slicing`. Where slices
begin is estimated from the parts' sizes, as if the bytes of a part were spread evenly over its
rows: what is written is right wherever they begin.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Literal

import msgspec

from functions.batch import layout
from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES
from functions.batch.outgrown import ONE_CALL, outgrows, part_sizes
from functions.batch.ports import Objects, PieceObjects
from functions.batch.recipe import StoredRecipe
from functions.batch.results.assembling import all_rows, failed_name, stored_recipe
from functions.batch.results.result_files import Rows
from functions.batch.streams.lines import row_key
from functions.batch.streams.merging import Between
from functions.batch.work import Part, Span

SLICES_FOR_ONE_CALL = 4
"""So that one takes about a minute, as `ONE_CALL` is reckoned, and bytes that are not spread evenly
do no harm."""

MOST_SLICES = 500
"""So that each has twenty of the 10,000 pieces that an object may have, and more."""


class Cut(msgspec.Struct, kw_only=True):
    """`uploads`: the outputs that the slices write, by name, with the uploads that take their
    pieces; null before they were begun. `attempt` counts the cuts of the job: it is made again
    where an upload was `lost`. `rows` are the job's."""

    slices: int
    rows: int
    attempt: int
    uploads: dict[str, str] | None = None
    lost: bool = False
    v: int = 1


class Slice(msgspec.Struct, kw_only=True):
    """`expected`: the bytes of its share in the parts."""

    number: int
    rows: Rows
    expected: int
    v: int = 1


class HowToAssemble(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest` lists the slices, as the workflow's map reads them."""

    next: Literal["assemble", "slices"]
    manifest: str


class Cutter(msgspec.Struct, kw_only=True):
    """`slice_bytes` of parts are a slice; 0: what makes one of `SLICES_FOR_ONE_CALL`."""

    ledger: Ledger
    work: Objects
    results: PieceObjects
    one_call: int = ONE_CALL
    slice_bytes: int = 0

    def cut(self, job_id: str) -> HowToAssemble:
        """May run twice, and again in another execution: slices that are done stay done."""
        manifest = layout.slice_items(job_id)
        whole = HowToAssemble(next="assemble", manifest=manifest)
        job = self.ledger.job(job_id)
        if job.status in FINAL_JOB_STATUSES or job.verdict is not None:
            return whole
        cut = stored_cut(job_id, self.work)
        if cut is None or cut.lost or cut.uploads is None:
            if not outgrows(job_id, self.work, self.one_call):
                return whole
            rows = all_rows(job_id, job.key, self.work)
            attempt = 1 if cut is None else cut.attempt + cut.lost
            self._store(job_id, rows, attempt, stored_recipe(job_id, self.work))
        if job.status != "planning":
            self.ledger.update_job(job_id, {"status": "assembling"})
        return HowToAssemble(next="slices", manifest=manifest)

    def _store(self, job_id: str, rows: Rows, attempt: int, recipe: StoredRecipe | None) -> None:
        size = self.slice_bytes or max(self.one_call // SLICES_FOR_ONE_CALL, 1)
        slices = sliced(rows, part_sizes(job_id, self.work), size)
        for each in slices:
            key = layout.slice_plan(job_id, each.number)
            self.work.put(key, msgspec.json.encode(each))
        items = [{"slice": each.number} for each in slices]
        self.work.put(layout.slice_items(job_id), msgspec.json.encode(items))
        cut = Cut(slices=len(slices), rows=rows.count, attempt=attempt)
        key = layout.cut(job_id)
        # Known before anything is begun, so that whoever ends the job knows there is what to end.
        self.work.put(key, msgspec.json.encode(cut))
        self.results.abandon(layout.everything(job_id))
        cut.uploads = {
            name: self.results.begin(layout.result(job_id, name))
            for name in output_names(rows, recipe)
        }
        self.work.put(key, msgspec.json.encode(cut))


def stored_cut(job_id: str, work: Objects) -> Cut | None:
    found = work.find(layout.cut(job_id))
    return None if found is None else msgspec.json.decode(found, type=Cut)


def output_names(rows: Rows, recipe: StoredRecipe | None) -> list[str]:
    names = ["results.jsonl"]
    names += ["results.csv"] * (recipe is not None and recipe.csv)
    names += [failed_name(is_csv=rows.is_csv)] * bool(rows.failed)
    return names + ["invalid.txt"] * bool(rows.unreadable)


def sliced(rows: Rows, sizes: dict[str, int], slice_bytes: int) -> list[Slice]:
    """`rows` in slices of about so many bytes, each with at least one row."""
    places = _Places(rows.spans)
    parts = (*rows.parts, *rows.failed, *rows.unreadable, *rows.records)
    extents = [
        (places.number(part.first), places.number(part.last) + 1, sizes.get(part.key, 0))
        for part in parts
    ]
    total = sum(size for _, _, size in extents)
    count = min(max(-(-total // slice_bytes), 1), MOST_SLICES)
    starts = cut_evenly(extents, rows.count, count)
    return [
        _slice(number, rows, places, start, end, total // count)
        for number, (start, end) in enumerate(pairwise([*starts, rows.count]))
    ]


class _Places:
    """Numbers of rows in the job, and what they are called in the parts."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._starts = [(span.range, span.start) for span in spans]
        counts = (span.end - span.start for span in spans)
        self._firsts = list(accumulate(counts, initial=0))

    def number(self, key: str) -> int:
        place = (int(key[:6]), int(key[7:]))
        at = max(bisect_right(self._starts, place) - 1, 0)
        return self._firsts[at] + place[1] - self._spans[at].start

    def spans(self, start: int, end: int) -> list[Span]:
        found: list[Span] = []
        at = bisect_right(self._firsts, start) - 1
        while at < len(self._spans) and self._firsts[at] < end:
            span, first = self._spans[at], self._firsts[at]
            inside = Span(
                range=span.range,
                start=span.start + max(start - first, 0),
                end=min(span.start + end - first, span.end),
            )
            found += [inside] * (inside.start < inside.end)
            at += 1
        return found


def cut_evenly(extents: Iterable[tuple[int, int, int]], rows: int, count: int) -> list[int]:
    """At most `count` numbers of rows, the first 0, that leave about as many bytes between them.
    An extent is its first row, the row after its last, and its bytes."""
    slopes = defaultdict[int, float](float)
    total = 0
    for first, end, size in extents:
        slopes[first] += size / (end - first)
        slopes[end] -= size / (end - first)
        total += size
    starts, passed, slope, at = [0], 0.0, 0.0, 0
    for row in sorted(slopes):
        while slope > 0 and len(starts) < count:
            wanted = at + (total * len(starts) / count - passed) / slope
            if wanted >= row:
                break
            starts.append(int(wanted))
        passed += slope * (row - at)
        slope, at = slope + slopes[row], row
    return sorted({start for start in starts if 0 <= start < rows})


def _slice(number: int, rows: Rows, places: _Places, start: int, end: int, expected: int) -> Slice:
    spans = places.spans(start, end)
    last, first = spans[-1], spans[0]
    between = Between(
        first=row_key(first.range, first.start).encode(),
        end=row_key(last.range, last.end).encode(),
    )

    def of(parts: list[Part]) -> list[Part]:
        least, most = between.first.decode(), between.end.decode()
        return [part for part in parts if part.last >= least and part.first < most]

    return Slice(
        number=number,
        expected=expected,
        rows=Rows(
            spans=spans,
            parts=of(rows.parts),
            failed=of(rows.failed),
            unreadable=of(rows.unreadable),
            records=of(rows.records),
            columns=rows.columns,
            is_csv=rows.is_csv,
            first=start,
            between=between,
        ),
    )
