"""Prompt caches as the providers bill them: a prefix seen before, long enough and not too old.

What a request writes can be read when its answer has begun, not before: requests that run side by
side all write (https://platform.claude.com/docs/en/build-with-claude/prompt-caching).
"""

import random
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from .answers import digest, tokens
from .settings import Settings

BLOCK = 128
"""OpenAI counts cached tokens in steps of this size."""


@dataclass(frozen=True)
class Breakpoint:
    """The end of a prefix that a request asks to be cached; `tokens` counts from the start."""

    key: str
    tokens: int
    hour: bool


@dataclass(frozen=True)
class CacheUse:
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0


class Prefixes:
    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._beside = threading.local()
        self._luck = random.Random(seed)

    @contextmanager
    def side_by_side(self) -> Generator[None]:
        """The requests that this thread answers within run at once: none of them reads what another
        one writes, and neither does anybody else before they are done."""
        written: dict[str, float] = {}
        self._beside.written = written
        try:
            yield
        finally:
            self._beside.written = None
            now = time.time()
            with self._lock:
                for key, seconds in written.items():
                    self._until[key] = max(self._until.get(key, 0.0), now + seconds)

    def _keep(self, key: str, seconds: float, now: float) -> None:
        written: dict[str, float] | None = getattr(self._beside, "written", None)
        if written is None:
            self._until[key] = max(self._until.get(key, 0.0), now + seconds)
        else:
            written[key] = max(written.get(key, 0.0), seconds)

    def implicit(self, model: str, prefix: str, settings: Settings) -> int:
        """Returns the cached tokens of an automatic cache, and keeps the prefix for next time."""
        if len(prefix) < settings.cache_minimum_tokens:
            return 0
        count = tokens(prefix)
        if count < settings.cache_minimum_tokens:
            return 0
        hit = self._use(f"implicit {model} {digest(prefix)}", settings)
        return count // BLOCK * BLOCK if hit else 0

    def _use(self, key: str, settings: Settings) -> bool:
        """Whether `key` was still kept; either way it is kept from now on."""
        now = time.time()
        with self._lock:
            hit = self._until.get(key, 0.0) > now
            hit = hit and self._luck.random() < settings.cache_hit_rate
            self._keep(key, settings.cache_5m_seconds, now)
            return hit

    def explicit(self, breakpoints: list[Breakpoint], settings: Settings) -> CacheUse:
        """Reads the longest prefix still kept and writes the longer ones; prefixes under the
        minimum are neither."""
        reading = True
        written = {True: 0, False: 0}
        read = before = 0
        now = time.time()
        with self._lock:
            lucky = self._luck.random() < settings.cache_hit_rate
            alive = [self._until.get(point.key, 0.0) > now and lucky for point in breakpoints]
            for number, point in enumerate(breakpoints):
                if point.tokens < settings.cache_minimum_tokens:
                    continue
                seconds = settings.cache_1h_seconds if point.hour else settings.cache_5m_seconds
                reading = reading and any(alive[number:])
                if reading:
                    read = point.tokens
                else:
                    written[point.hour] += point.tokens - before
                before = point.tokens
                self._keep(point.key, seconds, now)
        return CacheUse(read, written[False], written[True])
