"""Lambda's context, as the use cases see it: how long the call may still run."""

from __future__ import annotations

from typing import Protocol, cast

from functions.batch.deadline import Remaining


class _Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


def remaining(context: object) -> Remaining:
    own = cast("_Context", context)
    return lambda: own.get_remaining_time_in_millis() / 1_000
