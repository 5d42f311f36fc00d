"""What OpenAI's validator finds in a batch's input file."""

import re
from pathlib import Path
from typing import Any, cast

import msgspec

from . import openai_bodies
from .answers import Json
from .faults import Faults
from .rows import Rows, lines
from .settings import Settings

MAX_ROWS = 50_000
MAX_BYTES = 209_715_200
MAX_EMBEDDING_INPUTS = 50_000
LISTED = 100
"""Errors are listed up to this number."""
OWN_MODELS = re.compile(
    r"(gpt|chatgpt|o\d|text-|davinci|babbage|omni-|sora|dall-e|computer-use|codex|ft:)"
)
REQUIRED = {
    "/v1/responses": ("input",),
    "/v1/chat/completions": ("messages",),
    "/v1/embeddings": ("input",),
    "/v1/completions": ("prompt",),
    "/v1/moderations": ("input",),
    "/v1/images/generations": ("prompt",),
    "/v1/images/edits": ("prompt",),
    "/v1/videos": ("prompt",),
}
MODEL_OPTIONAL = frozenset(
    ("/v1/moderations", "/v1/images/generations", "/v1/images/edits", "/v1/videos")
)


class Checked:
    """A file as the validator saw it; `errors` empty means that the batch may run."""

    def __init__(self, path: Path) -> None:
        self.rows = Rows(path)
        self.errors: list[Json] = []
        self.model: str | None = None
        self.tokens = 0
        self.inputs = 0
        self.slow: dict[int, float] = {}
        self._ids: set[str] = set()

    def fail(
        self, code: str, message: str, line: int | None = None, param: str | None = None
    ) -> None:
        if len(self.errors) < LISTED:
            self.errors.append({"code": code, "line": line, "message": message, "param": param})

    def claim(self, custom_id: str) -> bool:
        if custom_id in self._ids:
            return False
        self._ids.add(custom_id)
        return True


def check(path: Path, endpoint: str, settings: Settings, faults: Faults) -> Checked:
    found = Checked(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        found.fail(
            "file_too_large",
            f"The batch input file is larger than the {MAX_BYTES} maximum for the {endpoint} "
            f"endpoint. Found {size} bytes.",
        )
        return found
    for number, offset, line in lines(path):
        if not line.strip():
            continue
        found.rows.add(offset, len(line))
        if len(found.rows) <= MAX_ROWS:
            _line(found, number, line, endpoint, settings, faults)
    if not len(found.rows):
        found.fail(
            "empty_file",
            "The input file is empty. Please ensure that the batch contains at least one request.",
        )
    if len(found.rows) > MAX_ROWS:
        found.fail(
            "too_many_tasks",
            f"The input file contains too many requests: {len(found.rows)}. "
            f"The maximum is {MAX_ROWS}.",
        )
    if found.inputs > MAX_EMBEDDING_INPUTS:
        found.fail(
            "too_many_inputs",
            f"The batch contains {found.inputs} embedding inputs. The maximum across all requests "
            f"is {MAX_EMBEDDING_INPUTS}.",
        )
    return found


def _line(
    found: Checked, number: int, line: bytes, endpoint: str, settings: Settings, faults: Faults
) -> None:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        row = None
    if not isinstance(row, dict):
        message = "This line is not parseable as valid JSON."
        found.fail("invalid_json_line", message, number)
        return
    row = cast(Json, row)
    if not _envelope(found, number, row, endpoint):
        return
    body = cast(Json, row["body"])
    _model(found, number, body, endpoint, settings)
    _body(found, number, body, endpoint)
    marks = faults.marks("openai", line, openai_bodies.user_text(body), stage="check")
    if "poison" in marks:
        found.fail("invalid_request", "This request could not be processed.", number, "body")
    if "poison_unnamed" in marks:
        found.fail("invalid_request", "The input file could not be processed.")
    if "slow" in marks:
        found.slow[len(found.rows) - 1] = marks.number("slow")


def _envelope(found: Checked, number: int, row: Json, endpoint: str) -> bool:
    before = len(found.errors)
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if row.get(name) in (None, ""):
            message = f"Missing required parameter: '{name}'."
            found.fail("missing_required_parameter", message, number, name)
        elif not isinstance(row[name], kind):
            expected = "an object" if kind is dict else "a string"
            message = f"Invalid type for '{name}': expected {expected}."
            found.fail("invalid_type", message, number, name)
    if len(found.errors) > before:
        return False
    if row["method"] != "POST":
        found.fail("invalid_method", "The method must be 'POST'.", number, "method")
    if row["url"] != endpoint:
        message = "The URL provided for this request does not prefix-match the batch endpoint."
        found.fail("invalid_url", message, number, "url")
    if not found.claim(row["custom_id"]):
        message = (
            f"The custom_id '{row['custom_id']}' for this request is a duplicate of another "
            "request. The custom_id parameter must be unique for each request in a batch."
        )
        found.fail("duplicate_custom_id", message, number, "custom_id")
    return True


def _model(found: Checked, number: int, body: Json, endpoint: str, settings: Settings) -> None:
    model = body.get("model")
    if model is None and endpoint in MODEL_OPTIONAL:
        return
    if not isinstance(model, str) or not model:
        message = "Missing required parameter: 'body.model'."
        found.fail("missing_required_parameter", message, number, "body.model")
        return
    if not known(model, settings):
        message = f"The provided model '{model}' is not supported by the Batch API."
        found.fail("model_not_found", message, number, "body.model")
        return
    if found.model is None:
        found.model = model
    elif model != found.model:
        message = (
            f"The provided model '{model}' does not match the first model '{found.model}' in the "
            "batch. Each batch must contain requests to a single model."
        )
        found.fail("mismatched_model", message, number, "body.model")


def known(model: str, settings: Settings) -> bool:
    if model in settings.closed_models:
        return False
    return model in settings.known_models or OWN_MODELS.match(model) is not None


def _body(found: Checked, number: int, body: Json, endpoint: str) -> None:
    if body.get("stream") is True:
        message = "Streaming is not supported in the Batch API."
        found.fail("streaming_unsupported", message, number, "body.stream")
    found.tokens += openai_bodies.prompt_tokens(body)
    if endpoint == "/v1/embeddings":
        found.inputs += openai_bodies.inputs(body)


def refusal(body: Json, endpoint: str) -> tuple[int, Json] | None:
    """What the endpoint itself refuses, row by row, once the batch runs."""
    for name in REQUIRED[endpoint]:
        value: Any = body.get(name)
        if value is None and not (endpoint == "/v1/responses" and body.get("prompt")):
            message = f"Missing required parameter: '{name}'."
            return 400, error_body(
                message, "invalid_request_error", name, "missing_required_parameter"
            )
        if value in ("", []):
            message = f"Invalid '{name}': it must not be empty."
            return 400, error_body(message, "invalid_request_error", name, "invalid_value")
    return None


def error_body(message: str, kind: str, param: str | None, code: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
