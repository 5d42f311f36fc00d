"""How the rows of a Vertex job are answered, and the prediction files that they are written to."""

import re
import time
from typing import Any, cast

import msgspec

from . import answers
from .answers import Json
from .engine import Engine
from .faults import Marks
from .ledger import Usage
from .rows import Rows
from .timestamps import rfc3339
from .vertex_records import Job, Predictions

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
PROMPT_FIELDS = ("contents", "systemInstruction", "system_instruction", "tools", "content")
THINKS = re.compile(r"gemini-(2\.5|3)")
THOUGHTS = 8
STATUSES: dict[int, tuple[str, str, str]] = {
    400: ("Bad Request", "INVALID_ARGUMENT", "Request contains an invalid argument."),
    403: ("Forbidden", "PERMISSION_DENIED", "Permission denied."),
    404: ("Not Found", "NOT_FOUND", "Not found."),
    429: ("Too Many Requests", "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
    500: ("Internal Server Error", "INTERNAL", "Internal error encountered."),
    503: ("Service Unavailable", "UNAVAILABLE", "The service is currently unavailable."),
    504: ("Gateway Timeout", "DEADLINE_EXCEEDED", "Deadline expired."),
}


def is_embedding(model: str) -> bool:
    return "embedding" in model


def user_text(row: Json) -> str:
    request = answers.dig(row, "request")
    if request is None:
        return answers.texts(row.get("content"))
    if contents := answers.dig(request, "contents"):
        return answers.last_user(contents, "parts")
    return answers.texts(answers.dig(request, "content", "parts"))


def coerced(siblings: Json) -> Json:
    """Strings beside the request that look like numbers come back as numbers."""
    return {name: _coerced(value) for name, value in siblings.items()}


def _coerced(value: Any) -> Any:
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return value
    return float(value) if "." in value else int(value)


class RowWork:
    """Writes each answered row to one of several files; the job uploads them when it ends."""

    def __init__(self, engine: Engine, job: Job, rows: Rows, predictions: Predictions) -> None:
        self.engine = engine
        self.job = job
        self.rows = rows
        self.predictions = predictions

    def work(self, indices: list[int]) -> None:
        for _, raw in self.rows.read(indices):
            self._row(raw)

    def give_up(self, indices: list[int]) -> None:
        """Every other row that was not processed is there with only its request; the rest are
        not there at all."""
        self.predictions.unfinished += len(indices)
        for _, raw in self.rows.read(indices[::2]):
            self._write(msgspec.json.decode(raw), "unfinished", {})

    def _row(self, raw: bytes) -> None:
        row: Json = msgspec.json.decode(raw)
        marks = self.engine.faults.marks("vertex", raw, user_text(row))
        if "missing" in marks:
            self.predictions.unfinished += 1
            self.engine.ledger.row("vertex", "missing")
        elif "expired" in marks or "null_error" in marks or marks.values.get("status") == "0":
            self.predictions.unfinished += 1
            self.job.expired = self.job.expired or "expired" in marks
            self._write(row, "unfinished", {})
        elif refused := self._refused(row, marks):
            self._fail(row, *refused)
        else:
            self._succeed(row, marks)

    def _succeed(self, row: Json, marks: Marks) -> None:
        try:
            answer = self._answer(row, marks)
        except answers.MALFORMED as error:
            self._fail(row, 400, f"The request is malformed: {error}")
            return
        self.predictions.succeeded += 1
        self._write(row, "answered", {"status": "", **answer})

    def _refused(self, row: Json, marks: Marks) -> tuple[int, str] | None:
        if "status" in marks:
            status = int(marks.number("status"))
            return status, STATUSES.get(status, STATUSES[500])[2]
        if "overloaded" in marks:
            return 503, "The model is overloaded. Please try again later."
        request = answers.dig(row, "request")
        if is_embedding(self.job.model):
            there = answers.dig(request, "content", "parts") or row.get("content")
            return None if there else (400, "content is required.")
        contents = answers.dig(request, "contents")
        if not isinstance(contents, list) or not contents:
            return 400, "at least one contents field is required"
        for content in cast(list[Any], contents):
            if not answers.dig(content, "parts"):
                return 400, "Unable to submit request because it must have a parts field."
            if answers.dig(content, "role") not in (None, "user", "model", "function", "tool"):
                return 400, "Please use a valid role: user, model."
        return None

    def _fail(self, row: Json, code: int, message: str) -> None:
        self.predictions.failed += 1
        phrase, status, _ = STATUSES.get(code, STATUSES[500])
        error = {"error": {"code": code, "message": message, "status": status}}
        outcome: Json = {"status": f"{phrase}: {msgspec.json.encode(error).decode()}"}
        if self.predictions.failed % 2:
            outcome["response"] = {}
        self._write(row, f"status {code}", outcome)

    def _answer(self, row: Json, marks: Marks) -> Json:
        if not is_embedding(self.job.model):
            return {"response": self._generate(row["request"], marks)}
        if "request" in row:
            return {"response": self._embed(row["request"])}
        count = answers.tokens_in(row["content"])
        digest = answers.digest({"content": row["content"]})
        self._bill(digest, Usage(count))
        embedded = {
            "statistics": {"token_count": count, "truncated": False},
            "values": answers.vector(digest, 768),
        }
        return {"predictions": [{"embeddings": embedded}]}

    def _embed(self, request: Json) -> Json:
        count = answers.tokens_in(request.get("content"))
        digest = _digest(request)
        self._bill(digest, Usage(count))
        config = answers.first(
            request.get("embed_content_config"), request.get("embedContentConfig")
        )
        size = answers.first(
            answers.dig(config, "output_dimensionality"),
            answers.dig(config, "outputDimensionality"),
            request.get("outputDimensionality"),
            3072,
        )
        usage = {"promptTokenCount": count, "totalTokenCount": count}
        return {
            "embedding": {"values": answers.vector(digest, int(size))},
            "usageMetadata": usage,
        }

    def _generate(self, request: Json, marks: Marks) -> Json:
        config = answers.first(
            request.get("generationConfig"), request.get("generation_config"), {}
        )
        schema = answers.first(config.get("responseSchema"), config.get("responseJsonSchema"))
        digest = _digest(request)
        count = sum(answers.tokens_in(request.get(name)) for name in PROMPT_FIELDS)
        if "policy" in marks:
            feedback = {"blockReason": "PROHIBITED_CONTENT"}
            counts = {"promptTokenCount": count, "totalTokenCount": count}
            # An answer without content is one: its prompt is charged.
            self.engine.ledger.charged("vertex", self.job.id, self.job.model, Usage(count))
            return {"promptFeedback": feedback, "usageMetadata": counts}
        text, cut = answers.compose(
            digest, user_text({"request": request}), schema, marks, config.get("maxOutputTokens")
        )
        thoughts = self._thoughts(config)
        system = answers.first(request.get("systemInstruction"), request.get("system_instruction"))
        prefix = answers.texts(answers.dig(system, "parts"))
        cached = self.engine.prefixes.implicit(self.job.model, prefix, self.engine.settings)
        output = answers.tokens(text)
        self._bill(digest, Usage(count - cached, output + thoughts, cached))
        parts: list[Json] = [{"text": text}]
        if answers.dig(config, "thinkingConfig", "includeThoughts"):
            parts.insert(0, {"text": "Let me think.", "thought": True})
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": parts},
                    "finishReason": "MAX_TOKENS" if cut else "STOP",
                    "avgLogprobs": -0.25,
                }
            ],
            "createTime": rfc3339(time.time()),
            "modelVersion": self.job.model,
            "responseId": self.engine.new_id("", 22),
            "usageMetadata": _usage(count, output, thoughts, cached),
        }

    def _thoughts(self, config: Json) -> int:
        budget = answers.dig(config, "thinkingConfig", "thinkingBudget")
        return 0 if budget == 0 or not THINKS.match(self.job.model) else THOUGHTS

    def _bill(self, digest: str, usage: Usage) -> None:
        self.engine.ledger.answered("vertex", self.job.id, self.job.model, digest, usage)

    def _write(self, row: Json, outcome: str, result: Json) -> None:
        siblings = {name: value for name, value in row.items() if name != "request"}
        line: Json = dict(result)
        if outcome != "unfinished":
            line["processed_time"] = rfc3339(time.time())
        if "request" in row:
            line |= {**coerced(siblings), "request": row["request"]}
        else:
            line["instance"] = row
        files = self.predictions.files
        path = files[self.predictions.written % len(files)]
        self.predictions.written += 1
        with path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self.engine.ledger.row("vertex", outcome)


def _digest(request: Json) -> str:
    return answers.digest({name: value for name, value in request.items() if name != "labels"})


def _usage(count: int, output: int, thoughts: int, cached: int) -> Json:
    """Fields that are zero are absent, as in the JSON of a protocol buffer."""
    usage: Json = {
        "promptTokenCount": count,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": cached,
        "totalTokenCount": count + output + thoughts,
    }
    return {
        **{name: value for name, value in usage.items() if value},
        "trafficType": "ON_DEMAND",
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": count}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": output}],
    }
