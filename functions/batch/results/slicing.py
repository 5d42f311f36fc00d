"""Puts a slice of a job's results together, and joins the slices to the files that people get.

All slices write pieces of the same objects, side by side; who joins them completes the objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from functions.batch import layout
from functions.batch.depth import headroom
from functions.batch.errors import UploadGone
from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES, Outputs, RowCounts
from functions.batch.ports import Objects, PieceObjects
from functions.batch.results.assembling import IndexResults, is_indexed, stored_recipe
from functions.batch.results.cutting import Cut, Slice, stored_cut
from functions.batch.results.pieces import LEAST_PIECE, MOST_PIECES, PieceWriter, Written
from functions.batch.results.result_files import indexed, result_lines, write_failed, write_invalid
from functions.batch.rows import IndexedRow
from functions.batch.work import Piece


class LongRow(msgspec.Struct, kw_only=True):
    """A row whose line is too long for the index: it refers to the results, in which nobody knows
    the line's offset before all slices are there. `offset`: in the slice."""

    row: int
    custom_id: str
    offset: int
    length: int


class SliceResult(msgspec.Struct, kw_only=True):
    """`files`: what was written of each output, by its name."""

    number: int
    counts: RowCounts
    files: dict[str, Written]
    long_rows: list[LongRow] = []
    v: int = 1


class Slicer(msgspec.Struct, kw_only=True):
    ledger: Ledger
    work: Objects
    results: PieceObjects
    index_results: IndexResults
    retention_days: int
    least_piece: int = LEAST_PIECE

    @headroom(2)
    def assemble(self, job_id: str, number: int) -> None:
        """One slice. May run twice, and side by side with others."""
        cut = _begun(job_id, self.work)
        done = layout.slice_result(job_id, cut.attempt, number)
        if self.work.find(done) is not None:
            return
        plan = self.work.get(layout.slice_plan(job_id, number))
        one = _Slice(self, job_id, cut, msgspec.json.decode(plan, type=Slice))
        try:
            result = one.write()
        except UploadGone:
            _lose(job_id, cut, self.work)
            raise
        self.work.put(done, msgspec.json.encode(result))


class _Slice:
    def __init__(self, slicer: Slicer, job_id: str, cut: Cut, plan: Slice) -> None:
        assert cut.uploads is not None
        self._slicer = slicer
        self._job_id = job_id
        self._cut = cut
        self._plan = plan
        self._recipe = stored_recipe(job_id, slicer.work)
        self._long: list[LongRow] = []
        self._outputs = {
            name: PieceWriter(
                self._putter(name, upload),
                most=pieces_each(cut) - 1,
                expected=plan.expected,
                least=slicer.least_piece,
            )
            for name, upload in cut.uploads.items()
        }

    def _putter(self, name: str, upload: str) -> Callable[[int, bytes], str]:
        key = layout.result(self._job_id, name)
        before = head_number(self._cut, self._plan.number)
        return lambda number, data: self._slicer.results.put_piece(
            key, upload, before + number, data
        )

    def write(self) -> SliceResult:
        rows, work = self._plan.rows, self._slicer.work
        counts = RowCounts(total=rows.count)
        csv = self._outputs.get("results.csv")
        self._write_results(result_lines(rows, work, self._recipe, counts, csv))
        for name in ("failed.jsonl", "failed.csv"):
            if name in self._outputs:
                write_failed(rows, work, self._outputs[name])
        if "invalid.txt" in self._outputs:
            write_invalid(rows, work, self._outputs["invalid.txt"])
        files = {name: out.finish() for name, out in self._outputs.items()}
        for name, out in self._outputs.items():
            work.put(layout.slice_head(self._job_id, self._plan.number, name), out.head)
        return SliceResult(
            number=self._plan.number, counts=counts, files=files, long_rows=self._long
        )

    def _write_results(self, lines: Iterator[tuple[int, bytes]]) -> None:
        out = self._outputs["results.jsonl"]
        slicer = self._slicer
        if not is_indexed(slicer.index_results, self._cut.rows, self._recipe):
            for _, line in lines:
                out.write(line)
            return
        uri = slicer.results.uri(layout.result(self._job_id, "results.jsonl"))
        expires_at = int(time.time()) + slicer.retention_days * 86_400
        short = self._short(indexed(lines, out))
        slicer.ledger.index_rows(self._job_id, uri, short, expires_at, beside_others=True)

    def _short(self, rows: Iterator[IndexedRow]) -> Iterator[IndexedRow]:
        for row in rows:
            if not row.length:
                yield row
                continue
            self._long.append(
                LongRow(
                    row=row.row,
                    custom_id=row.custom_id,
                    offset=row.offset,
                    length=row.length,
                )
            )


class Joiner(msgspec.Struct, kw_only=True):
    ledger: Ledger
    work: Objects
    results: PieceObjects
    retention_days: int
    least_piece: int = LEAST_PIECE

    def join(self, job_id: str) -> None:
        """Of slices that are all done. May run twice: what was completed before is recognised."""
        job = self.ledger.job(job_id)
        if job.status in FINAL_JOB_STATUSES or job.verdict is not None:
            return
        cut = _begun(job_id, self.work)
        assert cut.uploads is not None
        slices = [self._result(job_id, cut, number) for number in range(cut.slices)]
        counts = RowCounts()
        for each in slices:
            for field in RowCounts.__struct_fields__:
                setattr(counts, field, getattr(counts, field) + getattr(each.counts, field))
        for name, upload in cut.uploads.items():
            self._join(job_id, cut, name, upload, [each.files[name] for each in slices])
        self._index_long(job_id, slices)
        uris = {name: self.results.uri(layout.result(job_id, name)) for name in cut.uploads}
        outputs = Outputs(
            results=uris["results.jsonl"],
            csv=uris.get("results.csv"),
            failed=uris.get("failed.jsonl") or uris.get("failed.csv"),
            invalid=uris.get("invalid.txt"),
        )
        self.ledger.update_job(job_id, {"rows": counts, "outputs": outputs})

    def _result(self, job_id: str, cut: Cut, number: int) -> SliceResult:
        stored = self.work.get(layout.slice_result(job_id, cut.attempt, number))
        return msgspec.json.decode(stored, type=SliceResult)

    def _join(self, job_id: str, cut: Cut, name: str, upload: str, files: list[Written]) -> None:
        key = layout.result(job_id, name)
        size = sum(file.size for file in files)
        if not size:  # an object of no pieces cannot be completed
            self.results.put(key, b"")
            return
        if dict(self.results.sizes(key)).get(key) == size:
            return
        try:
            pieces = list(self._pieces(job_id, cut, name, upload, files))
            self.results.complete(key, upload, pieces)
        except UploadGone:
            _lose(job_id, cut, self.work)
            raise

    def _pieces(
        self, job_id: str, cut: Cut, name: str, upload: str, files: list[Written]
    ) -> Iterator[Piece]:
        """Those of the slices, and before them those made of heads: of a slice's own, and of those
        before it that were too small for a piece."""
        key = layout.result(job_id, name)
        waiting = b""
        for at, file in enumerate(files):
            number = head_number(cut, at)
            waiting += self.work.get(layout.slice_head(job_id, at, name))
            last = waiting and at == len(files) - 1
            if file.pieces or len(waiting) >= self.least_piece or last:
                tag = self.results.put_piece(key, upload, number, waiting)
                yield Piece(number, tag, len(waiting))
                waiting = b""
            for piece in file.pieces:
                yield Piece(number + piece.number, piece.tag, piece.size)

    def _index_long(self, job_id: str, slices: list[SliceResult]) -> None:
        uri = self.results.uri(layout.result(job_id, "results.jsonl"))
        expires_at = int(time.time()) + self.retention_days * 86_400
        rows: list[IndexedRow] = []
        passed = 0
        for each in slices:
            rows += [
                IndexedRow(long.row, long.custom_id, b"", passed + long.offset, long.length)
                for long in each.long_rows
            ]
            passed += each.files["results.jsonl"].size
        if rows:
            self.ledger.index_rows(job_id, uri, rows, expires_at, beside_others=True)


def pieces_each(cut: Cut) -> int:
    return MOST_PIECES // cut.slices


def head_number(cut: Cut, number: int) -> int:
    """The number of the piece that holds a slice's head; its own pieces follow."""
    return number * pieces_each(cut) + 1


def _begun(job_id: str, work: Objects) -> Cut:
    cut = stored_cut(job_id, work)
    if cut is None or cut.lost or cut.uploads is None:
        raise LookupError(f"The results of {job_id} have to be cut again.")
    return cut


def _lose(job_id: str, cut: Cut, work: Objects) -> None:
    """So that the job's next execution cuts again."""
    lost = msgspec.structs.replace(cut, lost=True)
    work.put(layout.cut(job_id), msgspec.json.encode(lost))
