"""Native OpenAI lines, and what the simulator answers to them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

CHAT = "/v1/chat/completions"


def body(text: str, model: str = "gpt-5-mini", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def line(custom_id: Any, request: dict[str, Any], url: str = CHAT) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": request}


def embedding(custom_id: Any, text: Any, model: str = "text-embedding-3-small") -> dict[str, Any]:
    return line(custom_id, {"model": model, "input": text}, "/v1/embeddings")


def jsonl(rows: list[Any]) -> bytes:
    """Rows as lines; bytes stay as they are."""
    return b"".join(
        row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() + b"\n"
        for row in rows
    )


def digest(request: dict[str, Any]) -> str:
    """What an answer echoes of the body that it answers."""
    plain = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
