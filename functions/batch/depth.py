"""Room on the stack for rows that are nested as deep as they could be read.

Where Python counts a decoder's levels with its own (up to 3.11), a row that was read with the last
of them could not be read again from a function that lies deeper. Later steps have more.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

LEVELS = 500


@contextmanager
def headroom(steps: int) -> Generator[None]:
    """`steps`: how many steps came before that read, or wrote, the same rows."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + steps * LEVELS)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
