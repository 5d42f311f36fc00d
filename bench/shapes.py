"""Rows of 1.1 kB and their answers, as each provider spells them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ROW_BYTES = 1_100
_PASSAGES = 400
SYSTEM = (
    "You are the first reader of a support desk. Say in one sentence what the customer wants, "
    "then name one of: billing, shipping, fault, praise, other."
)
_CORPUS = Path(__file__).resolve().parents[1] / "tests" / "corpus" / "english.txt"

Shape = tuple[dict[str, Any], dict[str, Any]]
"""A row and its answer, without ids."""


def _counts(passage: str) -> tuple[int, int]:
    """Tokens of input and output, as different as those of real rows are."""
    mixed = sum(passage.encode())
    return 180 + mixed % 97, 60 + mixed % 101


def _openai(passage: str, answer: str) -> Shape:
    given, made = _counts(passage)
    body = {
        "model": "gpt-5-mini",
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": passage},
        ],
        "max_completion_tokens": 300,
    }
    reply: dict[str, Any] = {
        "id": "chatcmpl-CfV2k0d8QmVQxqf0cCk3mNhLq2wZp",
        "object": "chat.completion",
        "created": 1_795_300_000,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": answer,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": given,
            "completion_tokens": made,
            "total_tokens": given + made,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_4c2851f862",
    }
    response: dict[str, Any] = {
        "status_code": 200,
        "request_id": "req_8f1c2d3e4b5a69788796a5b4",
        "body": reply,
    }
    row = {"custom_id": "", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return row, {
        "id": "batch_req_6741a8b1c7b08190a3f2c5d6e7f80912",
        "custom_id": "",
        "response": response,
        "error": None,
    }


def _anthropic(passage: str, answer: str) -> Shape:
    given, made = _counts(passage)
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 300,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": passage}],
    }
    message = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": answer}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": given,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": made,
            "service_tier": "batch",
        },
    }
    row = {"custom_id": "", "params": params}
    return row, {"custom_id": "", "result": {"type": "succeeded", "message": message}}


def _vertex(passage: str, answer: str) -> Shape:
    """An answer repeats its request."""
    given, made = _counts(passage)
    request = {
        "systemInstruction": {"parts": [{"text": SYSTEM}]},
        "contents": [{"role": "user", "parts": [{"text": passage}]}],
        "generationConfig": {"maxOutputTokens": 300, "temperature": 0.2},
    }
    response = {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": answer}]},
                "finishReason": "STOP",
                "avgLogprobs": -0.31,
            }
        ],
        "createTime": "2026-11-20T08:15:42.123456Z",
        "modelVersion": "gemini-2.5-flash",
        "responseId": "bMgeaYbUB7ueyroP0eXl8AI",
        "usageMetadata": {
            "promptTokenCount": given,
            "candidatesTokenCount": made,
            "totalTokenCount": given + made,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": made}],
        },
    }
    row = {"custom_id": "", "model": "gemini-2.5-flash", "request": request}
    return row, {
        "status": "",
        "processed_time": "2026-11-20T08:15:42.123456+00:00",
        "request": {**request, "labels": {"batchdrop_row": ""}},
        "response": response,
        "key": "",
    }


_SHAPES: dict[str, Callable[[str, str], Shape]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "vertex": _vertex,
}
PROVIDERS = tuple(_SHAPES)

_CUSTOM_ID = '"custom_id":""'
_ANSWERED = {
    "openai": (_CUSTOM_ID,),
    "anthropic": (_CUSTOM_ID,),
    "vertex": ('"batchdrop_row":""', '"key":""'),
}


def _encoded(value: dict[str, Any], *gaps: str) -> tuple[bytes, ...]:
    """The JSON, cut where an id belongs."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    pieces: list[bytes] = []
    for gap in gaps:
        head, found, text = text.partition(gap)
        assert found, gap
        pieces.append((head + gap[:-1]).encode())
        text = '"' + text
    return (*pieces, text.encode())


def _passages(size: int) -> list[str]:
    words = _CORPUS.read_text(encoding="utf-8").replace("\n%\n", "\n").split(" ")
    texts: list[str] = []
    for start in range(_PASSAGES):
        text = " ".join(islice(cycle(words), start * 7, start * 7 + size))
        texts.append(text[:size])
    return texts


def templates(
    provider: str, change: Callable[[Shape, str, str], Shape] | None = None
) -> list[tuple[tuple[bytes, ...], tuple[bytes, ...]]]:
    """Rows and answers, all of about `ROW_BYTES`, cut where their ids belong. `change`: what makes
    others of them, with what they say."""

    def shape(passage: str, answer: str) -> Shape:
        made = _SHAPES[provider](passage, answer)
        return made if change is None else change(made, passage, answer)

    empty_row, empty_answer = shape("", "")
    own = len(json.dumps(empty_row, separators=(",", ":"))) + 16
    echoed = len(json.dumps(empty_answer, separators=(",", ":"))) + 60
    room = ROW_BYTES - own
    answer_room = ROW_BYTES - echoed if provider != "vertex" else ROW_BYTES - 500
    made: list[tuple[tuple[bytes, ...], tuple[bytes, ...]]] = []
    for passage in _passages(ROW_BYTES):
        row, answer = shape(passage[:room], passage[:answer_room])
        made.append((_encoded(row, _CUSTOM_ID), _encoded(answer, *_ANSWERED[provider])))
    return made


def spelled(pieces: Sequence[bytes], identity: bytes) -> bytes:
    return identity.join(pieces)
