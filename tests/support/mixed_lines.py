"""Native lines of Anthropic's and Gemini's, beside OpenAI's in `tests.support.lines`."""

from __future__ import annotations

from typing import Any

from tests.support.lines import body, line


def claude(custom_id: Any, text: str) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    params = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [message]}
    return {"custom_id": custom_id, "params": params}


def gemini(custom_id: Any, text: str) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"custom_id": custom_id, "model": "gemini-2.5-flash", "request": request}


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    return row.get("body") or row.get("params") or row["request"]


def of_each(custom_id: Any, text: str) -> list[dict[str, Any]]:
    return [line(custom_id, body(text)), claude(custom_id, text), gemini(custom_id, text)]
