"""Prompt caches as the providers bill them: a prefix seen before, long enough and not too old."""

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .answers import digest, tokens

if TYPE_CHECKING:
    from .store import World

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
    def __init__(self, world: "World") -> None:
        self._world = world
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._luck = random.Random(world.settings.seed)

    def implicit(self, model: str, prefix: str) -> int:
        """Returns the cached tokens of an automatic cache, and keeps the prefix for next time."""
        settings = self._world.settings
        if len(prefix) < settings.cache_minimum_tokens:
            return 0
        count = tokens(prefix)
        if count < settings.cache_minimum_tokens:
            return 0
        hit = self.use(f"implicit {model} {digest(prefix)}", settings.cache_5m_seconds)
        return count // BLOCK * BLOCK if hit else 0

    def use(self, key: str, seconds: float) -> bool:
        """Whether `key` was still kept; either way it is kept for `seconds` from now."""
        now = time.time()
        with self._lock:
            hit = self._until.get(key, 0.0) > now
            hit = hit and self._luck.random() < self._world.settings.cache_hit_rate
            self._until[key] = now + seconds
            return hit

    def explicit(self, breakpoints: list[Breakpoint]) -> CacheUse:
        """Reads the longest prefix still kept and writes the longer ones; prefixes under the
        minimum are neither."""
        settings = self._world.settings
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
                self._until[point.key] = max(self._until.get(point.key, 0.0), now + seconds)
        return CacheUse(read, written[False], written[True])
