"""Where the embedded cloud may put its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.machine import roomy_memory

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        ("MemTotal: 9000 kB\nMemAvailable:    1024 kB\n", True),
        ("MemTotal: 9000 kB\nMemAvailable:    1023 kB\n", False),
        ("MemTotal: 9000 kB\n", False),
        ("MemAvailable: many\n", False),
    ],
)
def test_memory_is_used_where_there_is_plenty(tmp_path: Path, told: str, *, fits: bool) -> None:
    info = tmp_path / "meminfo"
    info.write_text(told)
    assert roomy_memory(tmp_path, info, MEBIBYTE) == (tmp_path if fits else None)


def test_a_folder_that_is_too_small_or_not_there_is_not_used(tmp_path: Path) -> None:
    info = tmp_path / "meminfo"
    info.write_text(f"MemAvailable: {1 << 60} kB\n")
    assert roomy_memory(tmp_path, info, 1 << 62) is None
    assert roomy_memory(tmp_path / "none", info, MEBIBYTE) is None
    assert roomy_memory(tmp_path, tmp_path / "none", MEBIBYTE) is None
