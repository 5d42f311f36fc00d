"""One list in the place of many status calls.

A function that asks for many batches within half a minute asks the provider for its newest ones at
once, some pages of them, and answers from that for a moment. A list has the last word on nothing:
only a batch that runs still is told by it, and not too often in a row, so that one that lags, or
leaves out half of what it should say, costs a lap at most. Whatever else it says, or does not, the
batch itself is asked.
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

IN_A_ROW = 3
"""Times that a list answers for one batch, before the batch itself does again."""

Listed = Callable[[int], Iterable[tuple[str, BatchState]]]
"""The newest batches with their states, at most so many pages of them."""


class Running:
    """What lists have told to one process, and when."""

    def __init__(self, listed: Listed, clock: Callable[[], float] = time.monotonic) -> None:
        self._listed = listed
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._told: dict[str, int] = {}
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
                self._told.clear()
                return None
            self._read = now
            self._look()
        state = self._states.get(batch_id)
        told = self._told.pop(batch_id, 0)
        if state is None or told >= IN_A_ROW:
            return None
        self._told[batch_id] = told + 1
        return state

    def _look(self) -> None:
        pages = min(len(self._asked) // MANY, MOST_PAGES)
        # The SDKs hand on whatever came as a list; a batch that is asked itself needs none.
        with suppress(ProviderError, AttributeError, TypeError, ValueError):
            self._states = {
                name: state for name, state in self._listed(pages) if state.outcome is None
            }
        self._told = {name: told for name, told in self._told.items() if name in self._states}
