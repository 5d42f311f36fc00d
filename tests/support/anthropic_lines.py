"""Native Anthropic lines."""

from __future__ import annotations

from typing import Any

from tests.support.lines import jsonl

MODEL = "claude-haiku-4-5"


def params(text: str, model: str = MODEL, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "max_tokens": 100, "messages": messages, **more}


def row(custom_id: Any, request: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": request}


def asking(*texts: str) -> bytes:
    return jsonl([row(f"{n}", params(text)) for n, text in enumerate(texts)])
