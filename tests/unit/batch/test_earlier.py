from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch.repeats import earlier
from functions.batch.repeats.earlier import GAP, packed, read_earlier
from functions.batch.rows import StoredAnswer
from tests.support.twins import MemoryObjects


class CountedObjects(MemoryObjects):
    def __init__(self) -> None:
        super().__init__("results")
        self.asked: list[tuple[str, int, int]] = []

    def read(self, key: str, start: int, size: int) -> bytes | None:
        self.asked.append((key, start, start + size))
        return super().read(key, start, size)


def result(row: int, status: str = "succeeded", size: int = 0) -> bytes:
    told = dict.fromkeys(("response", "error", "provider", "model", "batch_id", "mode", "cost_usd"))
    return json.dumps(
        {"row": row, "status": status, "text": "x" * size, "round": 1, **told}
    ).encode()


def stored(objects: MemoryObjects, job_id: str, lines: list[bytes]) -> dict[bytes, StoredAnswer]:
    """Where each line lies; its digest is the number of the row in the job."""
    pointers: dict[bytes, StoredAnswer] = {}
    offset = 0
    for number, line in enumerate(lines):
        digest = f"{job_id}-{number}".rjust(32, "0").encode()
        pointers[digest] = StoredAnswer(job_id, offset, len(line))
        offset += len(line) + 1
    objects.put(f"{job_id}/results.jsonl", b"".join(line + b"\n" for line in lines))
    return pointers


def read(pointers: dict[bytes, StoredAnswer], objects: MemoryObjects) -> dict[bytes, bytes]:
    return dict(read_earlier(sorted(packed(*each) for each in pointers.items()), objects))


@given(
    jobs=st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=20), max_size=4),
    gap=st.integers(0, 1_000),
    most=st.integers(1, 1_000),
    left_out=st.integers(1, 5),
)
def test_each_answer_is_read_where_it_lies(
    jobs: list[list[int]], gap: int, most: int, left_out: int
) -> None:
    objects = CountedObjects()
    wanted: dict[bytes, bytes] = {}
    pointers: dict[bytes, StoredAnswer] = {}
    for number, sizes in enumerate(jobs):
        lines = [result(row, size=size) for row, size in enumerate(sizes)]
        there = stored(objects, f"job-{number}", lines)
        some = dict(zip(there, lines, strict=True))
        keep = [digest for n, digest in enumerate(there) if n % left_out == 0]
        wanted |= {digest: some[digest] for digest in keep}
        pointers |= {digest: there[digest] for digest in keep}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(earlier, "GAP", gap)
        patch.setattr(earlier, "MOST_AT_ONCE", most)
        assert read(pointers, objects) == wanted
    longest = max((len(line) for line in wanted.values()), default=0)
    assert all(end - start <= most + longest for _, start, end in objects.asked)


def test_neighbours_are_read_together_and_what_is_far_apart_is_not() -> None:
    objects = CountedObjects()
    lines = [result(0), result(1), result(2, size=GAP), result(3), result(4)]
    pointers = stored(objects, "job", lines)
    del pointers[sorted(pointers)[2]]
    assert sorted(read(pointers, objects).values()) == [lines[n] for n in (0, 1, 3, 4)]
    assert len(objects.asked) == 2
    assert sum(end - start for _, start, end in objects.asked) < 5_000


@pytest.mark.parametrize(
    "line",
    [
        result(0, "failed"),
        b'{"row":0,"status":"succeeded"}',
        b"[1]",
        b'{"row":0,"status":"succeeded"' + b"[" * 5_000,
        b"\xff",
    ],
)
def test_what_is_no_success_is_no_answer(line: bytes) -> None:
    objects = CountedObjects()
    good = result(1)
    pointers = stored(objects, "job", [line, good])
    assert list(read(pointers, objects).values()) == [good]
