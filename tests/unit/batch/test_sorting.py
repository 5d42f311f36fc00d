from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from functions.batch.streams.merging import merged
from functions.batch.streams.sorted_parts import SortedParts
from functions.batch.streams.sorting import Ahead, LineSorter
from tests.support.twins import MemoryObjects

LINES = st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line), max_size=30)


@given(lines=LINES, most_bytes=st.integers(1, 1_000))
def test_lines_are_sorted_whether_they_fit_into_memory_or_not(
    lines: list[bytes], most_bytes: int
) -> None:
    with TemporaryDirectory() as directory:
        sorter = LineSorter(Path(directory), "lines", most_bytes=most_bytes)
        for line in lines:
            sorter.add(line)
        assert sorter.count == len(lines)
        assert list(sorter.sorted()) == sorted(lines)
        one, other = sorter.sorted(), sorter.sorted()
        assert list(zip(one, other, strict=True)) == [(line, line) for line in sorted(lines)]
        sorter.clear()
        assert (list(sorter.sorted()), sorter.count, sorter.size) == ([], 0, 0)
        assert not list(Path(directory).iterdir())
        sorter.add(b"other")
        assert list(sorter.sorted()) == [b"other"]


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.binary(max_size=9)), max_size=30),
    most_on_disk=st.integers(1, 500),
)
def test_parts_are_sorted_and_of_bounded_size(
    rows: list[tuple[int, bytes]], most_on_disk: int
) -> None:
    objects = MemoryObjects()
    payloads = [(b"000000-%09d" % row, payload.hex().encode()) for row, payload in rows]
    with TemporaryDirectory() as directory:
        made = SortedParts(
            objects,
            Path(directory),
            "lines",
            lambda number: f"part {number}",
            most_on_disk=most_on_disk,
        )
        for key, payload in payloads:
            made.add(b"%b %b" % (key, payload))
        parts = made.store()
    assert sorted(merged(parts, objects)) == sorted(payloads)
    assert [key for key, _ in merged(parts, objects)] == sorted(key for key, _ in payloads)
    for part in parts:
        data = objects.get(part.key)
        assert len(data) < most_on_disk + 40 + len(data.splitlines())
        assert data[:16].decode() == part.first
        assert data.splitlines()[-1][:16].decode() == part.last


@given(lines=LINES, asked=st.lists(st.binary(min_size=1, max_size=3), max_size=30))
def test_lines_are_met_by_their_beginning(lines: list[bytes], asked: list[bytes]) -> None:
    ahead = Ahead(iter(sorted(lines)))
    for beginning in sorted({each.ljust(3) for each in asked}):
        found = next((line for line in sorted(lines) if line[:3] == beginning), None)
        assert ahead.at(beginning) == found
        assert ahead.at(beginning) == found
