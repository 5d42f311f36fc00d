"""Answers as a test changes and compares them."""

from __future__ import annotations

import copy
import json
from typing import Any

from bench.shapes import spelled, templates
from functions.batch.rows import Answer, Usage, UsualAnswer

ID = b"r000000-000000007-12345678-0001-1"
Path = tuple[str | int, ...]


def in_full(answer: UsualAnswer) -> Answer:
    identity, response, text, given, made, usage = answer
    plain = Usage(input_tokens=given, output_tokens=made)
    return Answer(
        id=identity, verdict="succeeded", response=response, text=text, usage=usage or plain
    )


def with_changes(provider: str, *changes: tuple[Path, object]) -> bytes:
    row = json.loads(spelled(templates(provider)[0][1], ID))
    for path, value in changes:
        put(row, path, value, remove=False)
    return json.dumps(row).encode()


def put(row: Any, path: Path, value: object, *, remove: bool) -> None:
    for step in path[:-1]:
        row = row[step]
    if remove:
        del row[path[-1]]
    else:
        row[path[-1]] = copy.deepcopy(value)
