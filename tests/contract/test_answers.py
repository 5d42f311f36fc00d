from __future__ import annotations

import time
from uuid import uuid4

from functions.batch.ledger_ports import EarlierAnswers
from functions.batch.rows import StoredAnswer

LATER = int(time.time()) + 1_000


def digests(count: int) -> list[bytes]:
    return [uuid4().hex.encode() for _ in range(count)]


def test_what_is_remembered_is_found(earlier: EarlierAnswers) -> None:
    """In several requests at once: 25 items each to write, 100 to read."""
    known, unknown = digests(430), digests(430)
    given = {digest: StoredAnswer("job", 7 * n, n + 1) for n, digest in enumerate(known)}
    earlier.remember(iter(given.items()), LATER)
    mixed = [each for pair in zip(known, unknown, strict=True) for each in pair]
    found = list(earlier.find(iter(mixed)))
    assert dict(found) == given
    assert len(found) == len(given)
    assert list(earlier.find(unknown)) == []
    assert list(earlier.find([])) == []


def test_a_later_answer_takes_the_place_of_an_earlier_one(earlier: EarlierAnswers) -> None:
    [digest] = digests(1)
    for job_id in ("one", "two"):
        earlier.remember([(digest, StoredAnswer(job_id, 2**40, 5))], LATER)
    assert list(earlier.find([digest])) == [(digest, StoredAnswer("two", 2**40, 5))]


def test_an_answer_that_expired_is_not_found(earlier: EarlierAnswers) -> None:
    """The table deletes it some days later."""
    old, new = digests(2)
    earlier.remember([(old, StoredAnswer("job", 0, 1))], int(time.time()))
    earlier.remember([(new, StoredAnswer("job", 0, 1))], LATER)
    assert [digest for digest, _ in earlier.find([old, new])] == [new]
