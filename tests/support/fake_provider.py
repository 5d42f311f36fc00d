"""A provider whose every answer a test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from functions.batch.model import BatchState, Owned, ProviderFile, ProviderObject, Tag
from functions.batch.rows import Group

Script = list[Any]


class FakeProvider:
    """`script` maps a method to what its next calls do: an exception is raised, a callable is
    called, anything else is returned. Without a script a method does the ordinary thing."""

    name = "openai"
    uses_staged_files = True
    keeps_together = False
    batch_kind: str | None = None

    def __init__(self) -> None:
        self.script: dict[str, Script] = {}
        self.calls: list[str] = []
        self.batches: list[Tag] = []
        self.staged: list[Tag] = []
        self.deleted: list[str] = []
        self.lines: list[bytes] = []

    def _next(self, method: str, ordinary: Callable[[], Any]) -> Any:
        self.calls.append(method)
        waiting = self.script.get(method)
        if not waiting:
            return ordinary()
        what = waiting.pop(0)
        if isinstance(what, BaseException):
            raise what
        return what() if callable(what) else what

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        assert path.stat().st_size

        def ordinary() -> list[ProviderObject]:
            self.staged.append(tag)
            return [ProviderObject(kind="input_file", id=f"file-{len(self.staged)}")]

        return self._next("stage", ordinary)

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        return self._next("find_staged", lambda: [])

    def create(
        self, path: Path | None, tag: Tag, group: Group, staged: Sequence[str], rows: int
    ) -> str:
        def ordinary() -> str:
            self.batches.append(tag)
            return f"batch-{len(self.batches)}"

        return self._next("create", ordinary)

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        return self._next("find_batches", lambda: [])

    def running(self, batch_id: str) -> BatchState | None:
        return None

    def poll(self, batch_id: str) -> BatchState:
        return self._next("poll", lambda: BatchState(status="in_progress", outcome=None))

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        yield from self._next("answers", lambda: self.lines)

    def cancel(self, batch_id: str) -> None:
        self._next("cancel", lambda: None)

    def owned(self, stack: str, since: str) -> Iterator[Owned]:
        yield from self._next("owned", lambda: [])

    def delete(self, file: ProviderFile) -> None:
        self._next("delete", lambda: self.deleted.append(file.id))
