"""The response body of each endpoint that OpenAI's Batch API serves."""

import time
from typing import Any, cast

from . import answers
from .answers import Json
from .faults import Marks
from .ledger import Usage

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE_TOKENS = 1056
CATEGORIES = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
]
ALSO_IMAGES = {
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "violence",
    "violence/graphic",
}
REASONING = ("gpt-5", "o1", "o3", "o4")
"""Models whose responses begin with a reasoning item."""
THOUGHTS = 8
DIMENSIONS = {"text-embedding-3-large": 3072}
PROMPT_FIELDS = ("messages", "instructions", "input", "prompt", "tools", "response_format", "text")


def user_text(body: Json) -> str:
    """The text that the answer echoes and that identifies an attempt."""
    if "messages" in body:
        return answers.last_user(body["messages"])
    if "input" in body:
        value = body["input"]
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return answers.last_user(cast(Any, value))
        return " ".join(answers.strings(value))
    prompt = body.get("prompt", "")
    return prompt if isinstance(prompt, str) else " ".join(answers.strings(prompt))


def prompt_tokens(body: Json) -> int:
    return sum(answers.tokens_in(body.get(name)) for name in PROMPT_FIELDS)


def prefix(body: Json) -> str:
    """What stands before the first message that differs: the cacheable start of a prompt."""
    if isinstance(body.get("instructions"), str):
        return body["instructions"]
    messages = body.get("messages") or body.get("input")
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        first = cast(Json, messages[0])
        if first.get("role") in ("system", "developer"):
            return answers.texts(first.get("content"))
    return ""


def inputs(body: Json) -> int:
    """How many inputs an embeddings request holds."""
    return len(list(answers.strings(body.get("input"))))


class Answer:
    """One answered request: `body` for the row and `usage` for the books."""

    def __init__(self, endpoint: str, body: Json, marks: Marks, cached: int, new_id: str) -> None:
        self.request = body
        self.marks = marks
        self.id = new_id
        self.digest = answers.digest(body)
        self.model = str(body.get("model", ""))
        self.count = prompt_tokens(body)
        self.cached = min(cached, self.count)
        self.output = 0
        self.reasoning = 0
        self.created = int(time.time())
        self.body = _BUILDERS[endpoint](self)
        self.usage = Usage(self.count - self.cached, self.output, self.cached)

    def text(self, schema: Any, limit: Any) -> tuple[str, bool]:
        text, cut = answers.compose(self.digest, user_text(self.request), schema, self.marks, limit)
        self.output += answers.tokens(text)
        return text, cut


def _chat(answer: Answer) -> Json:
    request = answer.request
    schema = answers.dig(request, "response_format", "json_schema", "schema")
    limit = answers.first(request.get("max_completion_tokens"), request.get("max_tokens"))
    choices: list[Json] = []
    for index in range(int(request.get("n") or 1)):
        text, cut = answer.text(schema, limit)
        message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        reason = "length" if cut else "stop"
        choices.append(
            {"index": index, "message": message, "logprobs": None, "finish_reason": reason}
        )
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": choices,
        "usage": {
            **_counts(answer),
            "prompt_tokens_details": {"cached_tokens": answer.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _counts(answer: Answer) -> Json:
    return {
        "prompt_tokens": answer.count,
        "completion_tokens": answer.output,
        "total_tokens": answer.count + answer.output,
    }


def _responses(answer: Answer) -> Json:
    request = answer.request
    text_config = request.get("text") or {"format": {"type": "text"}, "verbosity": "medium"}
    limit = request.get("max_output_tokens")
    text, cut = answer.text(answers.dig(text_config, "format", "schema"), limit)
    status = "incomplete" if cut else "completed"
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "background": False,
        "completed_at": answer.created,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": request.get("instructions"),
        "max_output_tokens": limit,
        "model": answer.model,
        "output": _output(answer, text, status),
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": request.get("temperature", 1.0),
        "text": text_config,
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools", []),
        "top_p": request.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": _response_usage(answer),
        "metadata": request.get("metadata") or {},
    }


def _output(answer: Answer, text: str, status: str) -> list[Json]:
    message: Json = {
        "id": f"msg_{answer.id}",
        "type": "message",
        "status": status,
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}],
        "role": "assistant",
    }
    if not answer.model.startswith(REASONING):
        return [message]
    answer.reasoning = THOUGHTS
    answer.output += THOUGHTS
    return [{"id": f"rs_{answer.id}", "type": "reasoning", "summary": []}, message]


def _response_usage(answer: Answer) -> Json:
    return {
        "input_tokens": answer.count,
        "input_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": 0},
        "output_tokens": answer.output,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
        "total_tokens": answer.count + answer.output,
    }


def _embeddings(answer: Answer) -> Json:
    size = int(answer.request.get("dimensions") or DIMENSIONS.get(answer.model, 1536))
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": answers.vector(answers.digest(text), size),
        }
        for index, text in enumerate(answers.strings(answer.request.get("input")))
    ]
    usage = {"prompt_tokens": answer.count, "total_tokens": answer.count}
    return {"object": "list", "data": data, "model": answer.model, "usage": usage}


def _completions(answer: Answer) -> Json:
    text, cut = answer.text(None, answer.request.get("max_tokens", 16))
    choice = {
        "text": text,
        "index": 0,
        "logprobs": None,
        "finish_reason": "length" if cut else "stop",
    }
    return {
        "id": f"cmpl-{answer.id}",
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [choice],
        "usage": _counts(answer),
    }


def _moderations(answer: Answer) -> Json:
    results: list[Json] = []
    for text in answers.strings(answer.request.get("input")):
        bad = "violence" in text.lower()
        scores = {
            name: 0.98 if bad and name == "violence" else round(int(answer.digest[:4], 16) / 1e8, 8)
            for name in CATEGORIES
        }
        applied = {
            name: ["text", "image"] if name in ALSO_IMAGES else ["text"] for name in CATEGORIES
        }
        results.append(
            {
                "flagged": bad,
                "categories": {name: score > 0.5 for name, score in scores.items()},
                "category_scores": scores,
                "category_applied_input_types": applied,
            }
        )
    answer.count = 0
    model = answer.model or "omni-moderation-latest"
    return {"id": f"modr-{answer.id}", "model": model, "results": results}


def _images(answer: Answer) -> Json:
    request = answer.request
    answer.output = PICTURE_TOKENS * int(request.get("n") or 1)
    return {
        "created": answer.created,
        "background": "opaque",
        "data": [{"b64_json": PICTURE}] * int(request.get("n") or 1),
        "output_format": request.get("output_format", "png"),
        "quality": request.get("quality", "high") if request.get("quality") != "auto" else "high",
        "size": request.get("size", "1024x1024"),
        "usage": {
            "input_tokens": answer.count,
            "input_tokens_details": {"text_tokens": answer.count, "image_tokens": 0},
            "output_tokens": answer.output,
            "output_tokens_details": {"text_tokens": 0, "image_tokens": answer.output},
            "total_tokens": answer.count + answer.output,
        },
    }


def _videos(answer: Answer) -> Json:
    request = answer.request
    return {
        "id": f"video_{answer.id}",
        "object": "video",
        "created_at": answer.created,
        "completed_at": answer.created,
        "expires_at": answer.created + 86400,
        "status": "completed",
        "model": answer.model,
        "progress": 100,
        "prompt": request.get("prompt"),
        "seconds": str(request.get("seconds", "4")),
        "size": request.get("size", "720x1280"),
        "error": None,
        "remixed_from_video_id": None,
    }


_BUILDERS = {
    "/v1/responses": _responses,
    "/v1/chat/completions": _chat,
    "/v1/embeddings": _embeddings,
    "/v1/completions": _completions,
    "/v1/moderations": _moderations,
    "/v1/images/generations": _images,
    "/v1/images/edits": _images,
    "/v1/videos": _videos,
}
ENDPOINTS = tuple(_BUILDERS)
