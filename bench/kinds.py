"""Rows and answers of other kinds than plain chat: the usual ones of `bench.shapes`, changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bench.shapes import SYSTEM, Shape

_TOOL = {
    "type": "object",
    "properties": {"kind": {"type": "string"}, "about": {"type": "string"}},
    "required": ["kind", "about"],
    "additionalProperties": False,
}
_NUMBERS = 100
"""Of a vector, so that an answer is about as long as the others."""

Change = Callable[[Shape, str, str], Shape]


def _vector(passage: str) -> list[float]:
    mixed = sum(passage.encode())
    return [((mixed * (place + 1)) % 9_973 - 4_986) / 49_860 for place in range(_NUMBERS)]


def _url(passage: str) -> str:
    return f"example.com/tickets/{sum(passage.encode())}/{len(passage)}"


def _responses(shape: Shape, passage: str, answer: str) -> Shape:
    row, said = shape
    row["url"] = "/v1/responses"
    row["body"] = {"model": row["body"]["model"], "instructions": SYSTEM, "input": passage}
    usage = said["response"]["body"]["usage"]
    said["response"]["body"] = {
        "id": "resp_68af4030592c81938ec0a5fbab4a3e9f",
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-5-mini-2025-08-07",
        "output": [
            {"id": "rs_68af4030", "type": "reasoning", "summary": []},
            {
                "id": "msg_68af4031",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "annotations": [], "text": answer}],
            },
        ],
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }
    return shape


def _embeddings(shape: Shape, passage: str, _: str) -> Shape:
    row, said = shape
    row["url"] = "/v1/embeddings"
    row["body"] = {"model": row["body"]["model"], "input": passage}
    given = said["response"]["body"]["usage"]["prompt_tokens"]
    said["response"]["body"] = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": _vector(passage)}],
        "usage": {"prompt_tokens": given, "total_tokens": given},
    }
    return shape


def _openai_tools(shape: Shape, _: str, answer: str) -> Shape:
    row, said = shape
    function = {"name": "sort", "parameters": _TOOL, "strict": True}
    row["body"]["tools"] = [{"type": "function", "function": function}]
    (choice,) = said["response"]["body"]["choices"]
    arguments = json.dumps({"kind": "fault", "about": answer}, ensure_ascii=False)
    choice["message"]["content"] = None
    choice["message"]["tool_calls"] = [
        {
            "id": "call_9pw1qnYScqvGrCH58HWCvFH6",
            "type": "function",
            "function": {"name": "sort", "arguments": arguments},
        }
    ]
    choice["finish_reason"] = "tool_calls"
    return shape


def _images(shape: Shape, passage: str, _: str) -> Shape:
    row, said = shape
    image = {"type": "image_url", "image_url": {"url": f"https://{_url(passage)}.png"}}
    row["body"]["messages"] = [
        {"role": "user", "content": [{"type": "text", "text": passage}, image]}
    ]
    return row, said


def _metadata(shape: Shape, passage: str, _: str) -> Shape:
    row, _said = shape
    row["body"] |= {"store": True, "metadata": {"ticket": _url(passage)}, "user": _url(passage)}
    return shape


def _blocks(shape: Shape, passage: str, _: str) -> Shape:
    """With a prompt cache, of which nothing is read."""
    row, _said = shape
    params = row["params"]
    params["system"] = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
    params["messages"] = [{"role": "user", "content": [{"type": "text", "text": passage}]}]
    return shape


def _anthropic_tools(shape: Shape, _: str, answer: str) -> Shape:
    row, said = shape
    row["params"]["tools"] = [{"name": "sort", "input_schema": _TOOL}]
    row["params"]["tool_choice"] = {"type": "tool", "name": "sort"}
    message = said["result"]["message"]
    called: dict[str, Any] = {"kind": "fault", "about": answer}
    message["content"] = [
        {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "sort", "input": called}
    ]
    message["stop_reason"] = "tool_use"
    return shape


def _thinking(shape: Shape, passage: str, _: str) -> Shape:
    row, said = shape
    row["params"]["thinking"] = {"type": "enabled", "budget_tokens": 1_024}
    thought = {"type": "thinking", "thinking": passage[:300], "signature": "EqQBCgIYAhIM1gbcDa9G"}
    said["result"]["message"]["content"].insert(0, thought)
    return shape


def _schema(shape: Shape, _: str, __: str) -> Shape:
    row, said = shape
    schema = {"type": "OBJECT", "properties": {"kind": {"type": "STRING"}}}
    for request in (row["request"], said["request"]):
        config = {"responseMimeType": "application/json", "responseSchema": schema}
        request["generationConfig"] = config
    return shape


def _files(shape: Shape, passage: str, _: str) -> Shape:
    row, said = shape
    file = {"fileUri": f"gs://{_url(passage)}.pdf", "mimeType": "application/pdf"}
    contents = [{"role": "user", "parts": [{"text": passage}, {"fileData": file}]}]
    row["request"]["contents"] = said["request"]["contents"] = contents
    return shape


def _vertex_embeddings(shape: Shape, passage: str, _: str) -> Shape:
    row, said = shape
    content = {"parts": [{"text": passage}]}
    row["request"] = {"content": content}
    said["request"] = {"content": content, "labels": said["request"]["labels"]}
    given = said["response"]["usageMetadata"]["promptTokenCount"]
    said["response"] = {
        "embedding": {"values": _vector(passage)},
        "usageMetadata": {"promptTokenCount": given},
    }
    return shape


CHANGES: dict[str, Change] = {
    "openai/responses": _responses,
    "openai/embeddings": _embeddings,
    "openai/tools": _openai_tools,
    "openai/images": _images,
    "openai/metadata": _metadata,
    "anthropic/blocks": _blocks,
    "anthropic/tools": _anthropic_tools,
    "anthropic/thinking": _thinking,
    "vertex/schema": _schema,
    "vertex/files": _files,
    "vertex/embeddings": _vertex_embeddings,
}
"""By provider and name."""
