"""Counts of what went wrong, by code, with one message each."""

from __future__ import annotations

from collections.abc import Iterable

from functions.batch.errors import shortened
from functions.batch.model import Reason
from functions.batch.rows import RowError
from functions.batch.work import Tally


class Problems:
    def __init__(self) -> None:
        self.by_code: dict[str, Tally] = {}

    def note(self, problem: Reason | RowError, count: int = 1) -> None:
        known = self.by_code.get(problem.code)
        if known is None:
            self.by_code[problem.code] = Tally(count=count, message=shortened(problem.message))
        else:
            known.count += count

    def merge(self, others: Iterable[dict[str, Tally]]) -> None:
        for other in others:
            for code, tally in other.items():
                self.note(Reason(code, tally.message), tally.count)

    def commonest(self) -> tuple[str, Tally] | None:
        """Ties go to the one noted first."""
        return max(self.by_code.items(), key=lambda item: item[1].count, default=None)
