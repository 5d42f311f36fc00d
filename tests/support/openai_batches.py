"""Batches by OpenAI's SDK, each object that comes back held to its type."""

import io
import json
from typing import Any

import openai
from openai import types
from pydantic import BaseModel

from local.simulator.process import until
from tests.support import lines
from tests.support.lines import CHAT, body, line

TERMINAL = ("completed", "failed", "expired", "cancelled")


def good(custom_id: str = "good") -> dict[str, Any]:
    return line(custom_id, body("fine"))


def jsonl(rows: list[Any]) -> bytes:
    """Rows as lines; bytes are a line without its end."""
    return lines.jsonl([row + b"\n" if isinstance(row, bytes) else row for row in rows])


def upload(client: openai.OpenAI, rows: list[Any]) -> str:
    file = client.files.create(file=("in.jsonl", io.BytesIO(jsonl(rows))), purpose="batch")
    strict(file)
    return file.id


def submit(client: openai.OpenAI, rows: list[Any], endpoint: Any = CHAT) -> types.Batch:
    batch = client.batches.create(
        completion_window="24h",
        endpoint=endpoint,
        input_file_id=upload(client, rows),
        metadata={"attempt": "1"},
    )
    strict(batch)
    return batch


def strict(value: BaseModel) -> None:
    """The SDK builds its objects without validating them; this does, and refuses extras."""
    type(value).model_validate_json(value.model_dump_json(by_alias=True), strict=True)
    assert not value.model_extra


def ended(client: openai.OpenAI, batch: types.Batch) -> types.Batch:
    final = until(lambda: client.batches.retrieve(batch.id), lambda b: b.status in TERMINAL)
    strict(final)
    return final


def run(client: openai.OpenAI, rows: list[Any], endpoint: Any = CHAT) -> types.Batch:
    return ended(client, submit(client, rows, endpoint))


def read(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    content = client.files.content(file_id).read()
    return [json.loads(part) for part in content.split(b"\n") if part]


def codes(batch: types.Batch) -> list[str | None]:
    return [error.code for error in (batch.errors and batch.errors.data) or []]
