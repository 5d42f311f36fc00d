"""Disk space for bodies and results, in one temporary directory."""

import os
import shutil
from pathlib import Path

CHUNK = 1 << 20
"""Bytes that are read or written at a time."""


class Spool:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = 0

    def path(self, kind: str) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        self._count += 1
        return self.root / f"{kind}-{os.getpid()}-{self._count}-{os.urandom(4).hex()}"

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
