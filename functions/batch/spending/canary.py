"""A big job's first rows go first, in batches of their own; if they come to little, or cost too
much, a person is asked before the rest is spent.

Nothing is copied for it: a source says which of its rows are the canary's, see `Source.skip`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from functions.batch.model import MISSING_KEY, UNANSWERED_DAYS, Reason, Refusal
from functions.batch.money import Estimate, shown
from functions.batch.money_ports import Approvals
from functions.batch.work import Collected, Head, Source

ABOVE = 5_000
"""Rows to be sent, above which a job has a canary."""

TOO_DEAR = 2
"""Times its estimate that a canary may cost."""


def split(sources: Iterable[Source]) -> tuple[list[Source], list[Source]]:
    """The canary's rows, and the rest: of each group the first rows of its first source that has
    enough of them, or all of its first one."""
    ordered = sorted(sources, key=lambda source: source.first)
    chosen: dict[object, Source] = {}
    for source in ordered:
        known = chosen.setdefault(source.group, source)
        if known.head is None and source.head is not None:
            chosen[source.group] = source
    first: list[Source] = []
    held: list[Source] = []
    for source in ordered:
        head = source.head
        if chosen[source.group] is not source:
            held.append(source)
        elif head is None or head.weight.rows == source.weight.rows:
            first.append(source)
        else:
            taken, rest = cut(source, head)
            first.append(taken)
            held.append(rest)
    return first, held


def cut(source: Source, head: Head) -> tuple[Source, Source]:
    """The source's first rows, and its others. `head` is not all of it."""
    whole = msgspec.structs.replace(source, head=None, opening=None)
    rows, rest = head.weight.rows, source.weight.minus(head.weight)
    return (
        msgspec.structs.replace(whole, last=head.last, weight=head.weight, take=rows),
        msgspec.structs.replace(whole, first=head.last, weight=rest, skip=rows),
    )


def is_due(sources: Iterable[Source], above: int = ABOVE) -> bool:
    return sum(source.weight.rows for source in sources) > above


def trouble(
    canary: Mapping[str, Collected],
    models: Mapping[str, str],
    estimate: Estimate | None,
    held: Iterable[Source],
) -> Reason | None:
    """Why a person is to be asked. `canary` has what each of its batches came to, `models` whose
    each was, both by shard. A failure that may pass is tried again, and does not count."""
    found = [
        told
        for shard_id, each in sorted(canary.items())
        if (told := _missed(each, models[shard_id])) is not None
    ]
    bills = [each.bill for each in canary.values() if each.bill is not None]
    actual = sum(bill.actual for bill in bills)
    # The estimate knows of no cache: what was written to one, for the rest to read, is no surprise.
    without_cache = actual + sum(bill.cache_saved for bill in bills)
    expected = estimate.canary if estimate is not None else None
    if expected is not None and min(actual, without_cache) > TOO_DEAR * expected:
        found.append(f"they cost {shown(actual)}, where {shown(expected)} was expected")
    if not found:
        return None
    waiting = sum(source.weight.rows for source in held)
    return Reason(
        "canary",
        f"Of the rows that went first, {'; '.join(found)}. {shown(actual)} is spent; {waiting} "
        "rows wait.",
    )


def _missed(each: Collected, model: str) -> str | None:
    rows = each.succeeded + each.failed + sum(source.weight.rows for source in each.remainder)
    keyless = each.problems.get(MISSING_KEY)  # nothing was spent, and nothing would be
    failed = each.failed - (keyless.count if keyless is not None else 0)
    if 2 * (failed + each.unfit + each.cut) <= rows:
        return None
    counts = {
        "failed": failed,
        "did not fit the schema": each.unfit,
        "were cut at their limit on output": each.cut,
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    commonest = max(each.problems.values(), key=lambda tally: tally.count, default=None)
    said = f" (most often: {commonest.message})" if commonest is not None else ""
    return f"{told} of {rows} of {model}{said}"


def word(job_id: str, *, approvals: Approvals, unanswered: bool) -> Literal["ask"] | Refusal | None:
    """What a person said of a canary in trouble. None: the rest may go. `unanswered`: the job
    waited as long as one may."""
    said = approvals.find(job_id, "canary")
    if unanswered and said is not None and said.answer is None:
        said = approvals.answer(job_id, "unanswered", "canary")
    match said.answer if said is not None else None:
        case "approved":
            return None
        case "refused":
            return _stopped("canary_refused", "somebody refused to let the rest go")
        case "unanswered":
            told = f"nobody approved the rest within {UNANSWERED_DAYS} days"
            return _stopped("canary_unanswered", told)
        case None:
            return "ask"


def _stopped(code: str, why: str) -> Refusal:
    return Refusal(
        code=code,
        message=f"The rows that went first were in trouble, and {why}: this row has no answer. "
        "Drop failed.jsonl (or failed.csv) again to send it.",
        then="fail",
    )
