"""The simulator as a child process, and its admin API, for tests and demonstrations."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is reached without a proxy, whatever the environment says."""
ROOT = Path(__file__).parents[2]


class Simulator:
    """A running simulator; `url` is its root, `pid` its process."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def admin(self, path: str, value: Any = None, method: str | None = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        method = method or ("GET" if data is None else "POST")
        request = urllib.request.Request(f"{self.url}/_sim/{path}", data, method=method)
        with DIRECT.open(request) as reply:
            return json.loads(reply.read())

    def reset(self, **settings: Any) -> None:
        self.admin("reset", {})
        self.admin("settings", settings)

    def fault(self, provider: str, operation: str, kind: str, **more: Any) -> None:
        self.admin("faults", {"provider": provider, "operation": operation, "kind": kind, **more})

    def ledger(self) -> Any:
        return self.admin("ledger")


@contextmanager
def running(*arguments: str, environment: dict[str, str] | None = None) -> Generator[Simulator]:
    command = [sys.executable, "-m", "local.simulator", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield Simulator(line.strip().rpartition(" ")[2], process.pid)
        finally:
            process.terminate()
            process.wait(20)


def until(get: Callable[[], T], holds: Callable[[T], bool], seconds: float = 20) -> T:
    """Polls `get` until `holds`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not holds(value := get()):
        assert time.monotonic() < end, f"still {value!r}"
        time.sleep(0.02)
    return value
