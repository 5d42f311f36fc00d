"""How long a function may still run: it hands over where it stands before it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

Remaining = Callable[[], float]
"""Seconds until the call is stopped."""


def unlimited() -> float:
    return inf
