"""One list in the place of many status calls.

A function that asks for many batches within half a minute asks the provider for its newest ones at
once, some pages of them, and answers from that for a moment. Only a batch that runs still is told
by it: whatever else a list says, or leaves out, the batch itself is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from functions.batch.errors import ProviderError
from functions.batch.model import BatchState

MANY = 8
"""Batches that were asked for within `_WINDOW`, from which on a list takes fewer calls."""

_WINDOW = 30.0
_FRESH = 15.0
"""Seconds. Polls of one batch are 30 apart at least."""

LIST_SECONDS = 20.0
"""How long a page may take: a batch that is asked itself needs no list."""

MOST_PAGES = 5
"""The newest batches are those that are asked for most."""

Listed = Callable[[int], Iterable[tuple[str, BatchState]]]
"""The newest batches with their states, at most so many pages of them."""


class Running:
    """What lists have told to one process, and when."""

    def __init__(self, listed: Listed, clock: Callable[[], float] = time.monotonic) -> None:
        self._listed = listed
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._states: dict[str, BatchState] = {}
        self._read = float("-inf")

    def state(self, batch_id: str) -> BatchState | None:
        """None where the batch has to be asked itself."""
        now = self._clock()
        self._asked[batch_id] = now
        if now - self._read > _FRESH:
            self._states = {}
            self._asked = {each: at for each, at in self._asked.items() if now - at < _WINDOW}
            if len(self._asked) < MANY:
                return None
            self._read = now
            self._look()
        return self._states.get(batch_id)

    def _look(self) -> None:
        pages = min(len(self._asked) // MANY, MOST_PAGES)
        # The SDKs hand on whatever came as a list; a batch that is asked itself needs none.
        with suppress(ProviderError, AttributeError, TypeError, ValueError):
            self._states = {
                name: state for name, state in self._listed(pages) if state.outcome is None
            }
