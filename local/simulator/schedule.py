"""Calls functions later: the clock that moves every batch forward, polled or not."""

import heapq
import itertools
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Scheduler:
    def __init__(self, workers: int = 4) -> None:
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="simulator-work")
        self._thread = threading.Thread(target=self._loop, name="simulator-clock", daemon=True)
        self._thread.start()

    def at(self, when: float, call: Callable[[], object]) -> None:
        """`when` is in seconds of `time.time()`; a time in the past means at once."""
        with self._wake:
            heapq.heappush(self._heap, (when, next(self._number), call))
            self._wake.notify()

    def clear(self) -> None:
        with self._wake:
            self._heap.clear()

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not self._closed and (wait := self._until_next()) != 0:
                    self._wake.wait(wait)
                if self._closed:
                    return
                _, _, call = heapq.heappop(self._heap)
            self._pool.submit(call).add_done_callback(_report)

    def _until_next(self) -> float | None:
        return min(3600.0, max(0.0, self._heap[0][0] - time.time())) if self._heap else None


def _report(future: Future[object]) -> None:
    """Shows what went wrong on stderr; the clock goes on for the other batches."""
    if not future.cancelled() and (error := future.exception()) is not None:
        traceback.print_exception(error)
