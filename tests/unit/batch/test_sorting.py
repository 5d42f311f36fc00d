from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from functions.batch.sorting import Ahead, LineSorter

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


@given(lines=LINES, asked=st.lists(st.binary(min_size=1, max_size=3), max_size=30))
def test_lines_are_met_by_their_beginning(lines: list[bytes], asked: list[bytes]) -> None:
    ahead = Ahead(iter(sorted(lines)))
    for beginning in sorted({each.ljust(3) for each in asked}):
        found = next((line for line in sorted(lines) if line[:3] == beginning), None)
        assert ahead.at(beginning) == found
        assert ahead.at(beginning) == found
