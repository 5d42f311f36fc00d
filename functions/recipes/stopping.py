"""Ends a computation that takes too long, from within, by an alarm of the process: Python's regular
expressions look at signals too (`re` asks for them every few thousand steps).

Only the main thread gets alarms, and Lambda's handlers run in it; elsewhere nothing is stopped.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, TypeVar

T = TypeVar("T")


class TooSlow(Exception):
    """It was stopped, or not begun."""


class _Alarm(BaseException):
    """No `except Exception` on the way catches it."""


class Patience:
    """What one call may take, and all of them together: then no more are tried. A function has 15
    minutes for its answers, of which a usual one takes a tenth of a millisecond."""

    def __init__(self, *, seconds: float = 2.0, total: float = 300.0) -> None:
        self.seconds = seconds
        self._left = total

    @property
    def exhausted(self) -> bool:
        return self._left <= 0

    def run(self, call: Callable[[], T]) -> T:
        """Raises `TooSlow`, and what the call raises."""
        if self.exhausted:
            raise TooSlow
        began = time.monotonic()
        try:
            return _within(self.seconds, call)
        finally:
            self._left -= time.monotonic() - began


def _within(seconds: float, call: Callable[[], T]) -> T:
    if threading.current_thread() is not threading.main_thread():
        return call()
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm as alarm:
        raise TooSlow from alarm
    finally:
        signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Alarm
