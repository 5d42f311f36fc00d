"""The provider simulator as a process of its own, for the length of a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Simulator:
    def __init__(self, url: str) -> None:
        self.url = url
        self.openai_url = f"{url}/openai/v1"

    def admin(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_sim/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method="GET" if body is None else "POST",
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def ledger(self) -> Any:
        return self.admin("ledger")

    def reset(self, **settings: Any) -> None:
        self.admin("reset", {})
        if settings:
            self.admin("settings", settings)

    def arm(self, **fault: Any) -> None:
        self.admin("faults", {"provider": "openai", **fault})


@contextmanager
def simulator(batch_seconds: float = 0.2, *options: str) -> Generator[Simulator]:
    command = [
        sys.executable,
        "-m",
        "local.simulator",
        "--port",
        "0",
        "--batch-seconds",
        str(batch_seconds),
        *options,
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "listening on " in line, f"the simulator did not start: {line!r}"
            yield Simulator(line.strip().rpartition(" ")[2])
        finally:
            process.terminate()
            process.wait(timeout=20)
