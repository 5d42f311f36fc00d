"""What is passed on of finished lines, to be found by their id."""

from __future__ import annotations

import io

from functions.batch.results.result_files import indexed
from functions.batch.rows import INLINE_BYTES, IndexedRow


def line(number: int, size: int) -> bytes:
    start = b'{"row":%d,"custom_id":"id-%d","text":"' % (number, number)
    return start + b"x" * (size - len(start) - 3) + b'"}\n'


def test_of_a_long_line_its_place_is_passed_on() -> None:
    lines = [line(0, 80), line(1, INLINE_BYTES), line(2, INLINE_BYTES + 1), line(3, 90)]
    out = io.BytesIO()
    found = list(indexed(enumerate(lines), out))
    assert out.getvalue() == b"".join(lines)
    offsets = [0, 80, 80 + INLINE_BYTES, 81 + 2 * INLINE_BYTES]
    assert found == [
        IndexedRow(0, "id-0", lines[0], offsets[0]),
        IndexedRow(1, "id-1", lines[1], offsets[1]),
        IndexedRow(2, "id-2", b"", offsets[2], INLINE_BYTES + 1),
        IndexedRow(3, "id-3", lines[3], offsets[3]),
    ]
