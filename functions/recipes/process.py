"""Rows are rendered in another process, which can be stopped: a template may loop for ever, or ask
for a gigabyte in one step, and neither can be ended from within."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, cast

import msgspec

from functions.batch.recipe import MadeRow
from functions.recipes import documents
from functions.recipes.requests import Instructions

ROW_SECONDS = 2.0
START_SECONDS = 60.0
MOST_STOPPED = 15
"""Rows that may be stopped; then no more are tried. A function has 15 minutes for all."""

_PIECE = 1 << 16
_MORE_SECONDS = 0.02
_made = msgspec.msgpack.Decoder(list[MadeRow])
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")
"""What the process is told of this one's: no credentials."""


class _Stalled(Exception):
    """The process did not answer in time, or ended."""


class RenderProcess:
    """`recipe` is that of `requests.Instructions`, as JSON."""

    def __init__(self, recipe: bytes, *, row_seconds: float = ROW_SECONDS) -> None:
        instructions = msgspec.json.decode(recipe, type=Instructions)
        instructions.mark = f"document {secrets.token_hex(16)}"
        self._instructions = instructions
        self._marks = instructions.marks_documents
        self._recipe = msgspec.json.encode(instructions)
        self._row_seconds = row_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = bytearray()
        self._stopped = 0

    def make(self, rows: Sequence[bytes]) -> list[MadeRow]:
        """What each row came to, in order. Rows are asked for together; where that takes too
        long, one by one, to find the row that does not end."""
        if self._stopped >= MOST_STOPPED:
            return [_given_up(self._row_seconds) for _ in rows]
        try:
            return self._ask(rows)
        except _Stalled:
            if len(rows) == 1:
                self._stopped += 1
                return [_stopped(self._row_seconds)]
        return [made for row in rows for made in self.make([row])]

    def attached(self, line: bytes, name: str, document: bytes, *, shared: bool) -> bytes:
        recipe = self._instructions
        mark = shared and self._marks
        part = documents.part(recipe.provider, recipe.endpoint, name, document, mark=mark)
        return line.replace(msgspec.json.encode(recipe.mark), part, 1)

    def _ask(self, rows: Sequence[bytes]) -> list[MadeRow]:
        if self._process is None:
            self._start()
        self._send(msgspec.msgpack.encode(rows))
        seconds = self._row_seconds + _MORE_SECONDS * len(rows)
        return _made.decode(self._frame(time.monotonic() + seconds))

    def _start(self) -> None:
        self._pending.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "functions.recipes.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        self._send(self._recipe)
        try:
            self._frame(time.monotonic() + START_SECONDS)
        except _Stalled as error:
            raise RuntimeError("The process that renders rows did not start.") from error

    def _send(self, data: bytes) -> None:
        assert self._process is not None
        try:
            pipe = cast("IO[bytes]", self._process.stdin)
            pipe.write(len(data).to_bytes(4, "big") + data)
            pipe.flush()
        except BrokenPipeError as error:
            self.close()
            raise _Stalled from error

    def _frame(self, deadline: float) -> bytes:
        head = self._read(4, deadline)
        return self._read(int.from_bytes(head, "big"), deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process is not None
        descriptor = cast("IO[bytes]", self._process.stdout).fileno()
        while len(self._pending) < size:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], max(left, 0))
            data = os.read(descriptor, _PIECE) if ready else b""
            if not data:
                self.close()
                raise _Stalled
            self._pending += data
        found = bytes(self._pending[:size])
        del self._pending[:size]
        return found

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                try:
                    cast("IO[bytes]", pipe).close()
                except BrokenPipeError:
                    continue
            process.wait()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _stopped(seconds: float) -> MadeRow:
    return MadeRow(
        code="too_slow",
        message=f"Rendering the row was stopped: it took more than {seconds:g} s, or more memory "
        "than there is.",
    )


def _given_up(seconds: float) -> MadeRow:
    return MadeRow(
        code="too_slow",
        message=f"The row was not rendered: {MOST_STOPPED} rows before it had to be stopped after "
        f"{seconds:g} s each.",
    )
