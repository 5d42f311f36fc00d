"""What every provider runs on: settings, clock, disk, books, faults, ids and the journal."""

import itertools
import secrets
import tempfile
import threading
from pathlib import Path
from typing import Any

import msgspec

from .faults import Faults
from .ledger import Ledger
from .prompt_cache import Prefixes
from .schedule import Scheduler
from .settings import Settings, changed
from .spool import Spool


class Engine:
    def __init__(self, settings: Settings, journal: Path | None = None) -> None:
        self._initial = settings
        self.settings = settings
        self.spool = Spool(Path(tempfile.mkdtemp(prefix="simulator-")))
        self.scheduler = Scheduler()
        self.ledger = Ledger()
        self.faults = Faults()
        self._journal = journal.open("ab", buffering=0) if journal else None
        self._journal_lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.epoch = 0
        """Counts resets, so that work begun before one stops."""
        self.prefixes = Prefixes(settings.seed)

    def reset(self) -> None:
        """Forgets everything but the settings given at the start."""
        self.epoch += 1
        self.scheduler.clear()
        self.settings = msgspec.structs.replace(self._initial)
        self.faults.clear()
        self.ledger.clear()
        self.spool.clear()
        self.prefixes = Prefixes(self.settings.seed)

    def change(self, patch: dict[str, Any]) -> None:
        self.settings = changed(self.settings, patch)

    def new_id(self, prefix: str, size: int = 24) -> str:
        """Random, with a growing number in front so that ids sort by age in logs."""
        return f"{prefix}{next(self._numbers):06x}{secrets.token_hex(size)[: size - 6]}"

    def new_number(self) -> str:
        """Of 19 digits, as Google numbers its jobs and operations."""
        return f"{next(self._numbers):06d}{secrets.randbelow(10**13):013d}".replace("0", "7", 1)

    def log(self, entry: dict[str, Any]) -> None:
        if self._journal is not None:
            with self._journal_lock:
                self._journal.write(msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        self.scheduler.close()
        self.spool.clear()
        if self._journal is not None:
            self._journal.close()
