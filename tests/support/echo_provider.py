"""An OpenAI in memory that answers each request with what a test says to its body."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from functions.batch.model import BatchState, ProviderFile, ProviderObject, Tag
from functions.batch.rows import Group

Body = dict[str, Any]


def last_text(body: Body) -> str:
    return body["messages"][-1]["content"]


class EchoProvider:
    """`bodies` are those that were sent, in order. Answers come back shuffled."""

    name = "openai"
    uses_staged_files = True
    keeps_together = False
    batch_kind: str | None = None

    def __init__(self, say: Callable[[Body], str] = lambda body: f"echo {last_text(body)}") -> None:
        self.say = say
        self.bodies: list[Body] = []
        self.sent_ids: list[str] = []
        self._files: dict[str, bytes] = {}
        self._batches: list[str] = []

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        return [self._file("input_file", path.read_bytes())]

    def _file(self, kind: str, data: bytes) -> ProviderObject:
        identity = f"file-{len(self._files)}"
        self._files[identity] = data
        return ProviderObject(kind=kind, id=identity)

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        return []

    def create(
        self, path: Path | None, tag: Tag, group: Group, staged: Sequence[str], rows: int
    ) -> str:
        self._batches.append(staged[0])
        return str(len(self._batches) - 1)

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        return []

    def running(self, batch_id: str) -> BatchState | None:
        return None

    def poll(self, batch_id: str) -> BatchState:
        lines: list[bytes] = []
        for line in self._files[self._batches[int(batch_id)]].splitlines():
            request = json.loads(line)
            self.bodies.append(request["body"])
            self.sent_ids.append(request["custom_id"])
            choices = [{"message": {"content": self.say(request["body"])}}]
            response = {"status_code": 200, "body": {"choices": choices}}
            answer = {"custom_id": request["custom_id"], "response": response, "error": None}
            lines.append(json.dumps(answer).encode())
        random.Random(batch_id).shuffle(lines)
        output = self._file("output_file", b"\n".join(lines))
        return BatchState(status="completed", outcome="ended", complete=True, outputs=[output])

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        for output in outputs:
            yield self._files[output]

    def cancel(self, batch_id: str) -> None:
        raise AssertionError("nothing is cancelled here")

    def delete(self, file: ProviderFile) -> None:
        self._files.pop(file.id, None)
