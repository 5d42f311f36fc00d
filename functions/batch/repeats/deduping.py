"""Decides, before a job is priced, which of its rows need not be sent: those whose request an
earlier job has answered, and all but the first of those that ask for the same.

What is decided is kept first, and so holds for whoever comes later: an answer that expires in the
meantime was copied, one that another job gives in the meantime is not looked for again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path
from uuid import uuid4

import msgspec

from functions.batch import layout
from functions.batch.ledger_ports import EarlierAnswers, Ledger
from functions.batch.model import CANARY_ROWS
from functions.batch.outcomes import range_results
from functions.batch.ports import Objects
from functions.batch.reading.identity import DIGEST_LENGTH, RowIdentity, identities
from functions.batch.reading.legs import is_unread
from functions.batch.repeats.deduped import Deduped, Saving, find_deduped
from functions.batch.repeats.earlier import packed, read_earlier
from functions.batch.rows import Weight
from functions.batch.streams import envelope
from functions.batch.streams.lines import KEY_LENGTH, row_key
from functions.batch.streams.sorted_parts import SortedParts
from functions.batch.streams.sorting import Ahead, LineSorter
from functions.batch.streams.spools import Spool
from functions.batch.work import Head, RangeResult, Source

MOST_ANSWERS = 5 * 1024**3
"""Bytes of earlier answers that a job takes: what is more is asked again. A function has 10 GiB of
disk."""


def dedupe(
    job_id: str, *, ledger: Ledger, work: Objects, results: Objects, earlier: EarlierAnswers
) -> None:
    """May run twice, also at once: the first decision that is kept stands."""
    if ledger.job(job_id).verdict is not None or find_deduped(work, job_id) is not None:
        return
    ranges = list(range_results(work, job_id))
    if is_unread(ranges):
        return  # this step is come to again when all rows are read
    with tempfile.TemporaryDirectory() as directory:
        made = _Deduplication(job_id, Path(directory), ranges, work, results, earlier).decide()
    work.put_new(layout.deduped(job_id), msgspec.json.encode(made))


class _Deduplication:
    """Nothing in it grows with the rows but the files in `directory`: rows are sorted by digest and
    met with the answers, sorted alike; what that decides is sorted by key, and met with the rows
    as they lie in the ranges. `token`: a rival that decided otherwise has files of its own."""

    def __init__(
        self,
        job_id: str,
        directory: Path,
        ranges: list[RangeResult],
        work: Objects,
        results: Objects,
        earlier: EarlierAnswers,
    ) -> None:
        self._job_id = job_id
        self._directory = directory
        self._work = work
        self._results = results
        self._earlier = earlier
        self._token = uuid4().hex[:12]
        self._ranges = ranges
        self._saving = Saving()
        self._rows = LineSorter(directory, "rows")
        name = partial(layout.deduped_part, job_id, self._token)
        self._answered = SortedParts(work, directory, "answered", partial(name, "answered"))
        self._copies = SortedParts(work, directory, "copies", partial(name, "copies"))
        self._left_out = LineSorter(directory, "left-out")

    def decide(self) -> Deduped:
        for piece in self._ranges:
            for key, digest, row in self._identities(piece):
                self._rows.add(b"%b %b %b" % (digest, key, bytes(row.custom_id)))
        self._meet()
        self._rows.clear()
        left_out = Ahead(self._left_out.sorted())
        return Deduped(
            sources=[source for piece in self._ranges for source in self._without(piece, left_out)],
            parts=self._answered.store(),
            copies=self._copies.store(),
            earlier=self._saving,
        )

    def _identities(self, piece: RangeResult) -> Iterator[tuple[bytes, bytes, RowIdentity]]:
        return iter(()) if piece.identities is None else identities(piece.identities, self._work)

    def _meet(self) -> None:
        found = self._find_answers()
        answers = Ahead(found.sorted())
        last = sent = b""
        told: envelope.Told | None = None
        for row in self._rows.sorted():
            digest, key = row[:DIGEST_LENGTH], row[_KEY]
            if digest != last:
                last, sent = digest, key
                answer = answers.at(digest)
                told = None if answer is None else envelope.told(answer[DIGEST_LENGTH + 1 :])
            custom_id = row[_KEY.stop + 1 :]
            if told is not None:
                self._answered.add(b"%b %b" % (key, envelope.cached(told, custom_id, sent_in=0)))
                self._saving.add(bytes(told.cost_usd))
            elif key != sent:
                self._copies.add(b"%b %b %b" % (sent, key, custom_id))
            else:
                continue
            self._left_out.add(key)
        found.clear()

    def _find_answers(self) -> LineSorter:
        """Digests and lines of earlier results."""
        pointers = LineSorter(self._directory, "pointers")
        for digest, stored in self._earlier.find(_digests(self._rows.sorted())):
            pointers.add(packed(digest, stored))
        answers = LineSorter(self._directory, "answers")
        for digest, line in read_earlier(pointers.sorted(), self._results):
            answers.add(b"%b %b" % (digest, line))
            if answers.size > MOST_ANSWERS:
                break
        pointers.clear()
        return answers

    def _without(self, piece: RangeResult, left_out: Ahead) -> Iterator[Source]:
        """The sources of a range, weighed again where they lose rows."""
        known = piece.identities
        first = left_out.head
        if known is None or first is None or first > known.part.last.encode():
            yield from piece.sources
            return
        lost = [Weight() for _ in known.sources]
        kept = [Weight() for _ in known.sources]
        openings: dict[int, tuple[str, Weight]] = {}
        heads: dict[int, Head] = {}
        name = layout.left_out(self._job_id, self._token, row_key(piece.range, piece.start))
        with closing(Spool(name, self._directory)) as spool:
            for key, _, row in self._identities(piece):
                if left_out.at(key) is not None:
                    spool.add(key.decode(), key + b"\n")
                    lost[row.source].add(row.weight)
                    continue
                weight = kept[row.source]
                weight.add(row.weight)
                openings.setdefault(row.source, (key.decode(), row.weight))
                if weight.rows == CANARY_ROWS:
                    heads[row.source] = Head(last=key.decode(), weight=Weight().plus(weight))
            spool.store(self._work)
        for source in piece.sources:
            number = known.sources.index(source.key)
            if not lost[number].rows:
                yield source
            elif kept[number].rows:
                first_key, opening = openings[number]
                yield msgspec.structs.replace(
                    source,
                    first=first_key,
                    weight=source.weight.minus(lost[number]),
                    head=heads.get(number),
                    opening=None if source.opening is None else opening,
                    left_out=name,
                )


_KEY = slice(DIGEST_LENGTH + 1, DIGEST_LENGTH + 1 + KEY_LENGTH)


def _digests(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Each once."""
    for digest, _ in groupby(rows, key=lambda row: row[:DIGEST_LENGTH]):
        yield digest
