"""Notes where the answers of a finished job lie, so that later jobs need not ask again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

import msgspec

from functions.batch import layout
from functions.batch.ledger_ports import EarlierAnswers, Ledger
from functions.batch.outcomes import range_results
from functions.batch.ports import Objects
from functions.batch.reading.identity import identities
from functions.batch.rows import StoredAnswer
from functions.batch.streams.lines import Oversized, iter_lines, row_key
from functions.batch.work import RangeResult


class _Line(msgspec.Struct):
    status: str
    cached: bool = False


_line = msgspec.json.Decoder(_Line).decode


def remember(
    job_id: str,
    *,
    ledger: Ledger,
    work: Objects,
    results: Objects,
    earlier: EarlierAnswers,
    retention_days: int,
) -> None:
    """May run twice. Only answers that this job paid for are noted: those of others stay with the
    job that they came from, and expire with it."""
    outputs = ledger.job(job_id).outputs
    if outputs is None or outputs.results is None:
        return
    ranges = list(range_results(work, job_id))
    expires_at = int(time.time()) + retention_days * 86_400
    earlier.remember(_answers(job_id, ranges, work, results), expires_at)


def _answers(
    job_id: str, ranges: list[RangeResult], work: Objects, results: Objects
) -> Iterator[tuple[bytes, StoredAnswer]]:
    """Rows that have no digest, or no answer of their own, are passed over."""
    known = chain.from_iterable(
        identities(piece.identities, work) for piece in ranges if piece.identities is not None
    )
    spans = [piece.span for piece in ranges]
    keys = (
        row_key(span.range, row).encode() for span in spans for row in range(span.start, span.end)
    )
    lines = iter_lines(results.chunks(layout.result(job_id, "results.jsonl")))
    at, digest, _ = next(known, (b"", b"", None))
    offset = 0
    for key, line in zip(keys, lines, strict=True):
        size = line.size if isinstance(line, Oversized) else len(line)
        if key == at:
            if isinstance(line, bytes) and _is_own_answer(line):
                yield digest, StoredAnswer(job_id, offset, size)
            at, digest, _ = next(known, (b"", b"", None))
        offset += size + 1


def _is_own_answer(line: bytes) -> bool:
    found = _line(line)
    return found.status == "succeeded" and not found.cached
