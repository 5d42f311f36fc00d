"""How the requests of a message batch are validated and answered, one result line each."""

from typing import Any, cast

import msgspec

from . import answers
from .answers import Json
from .anthropic_records import Batch
from .engine import Engine
from .faults import Marks
from .ledger import Usage
from .prompt_cache import Breakpoint, CacheUse
from .settings import Settings

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
SAMPLING = ("temperature", "top_p", "top_k")
SAMPLING_GONE = "2026-10-21"
"""The API version from which sampling parameters are refused, at their defaults too."""
REFUSED = ("speed", "store", "previous_thread_event_id", "cache_hint", "context_hint")
MAX_BREAKPOINTS = 4
NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to "
    "upgrade or purchase credits."
)


def error_body(kind: str, message: str, request_id: str | None) -> Json:
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": request_id}


def refusal(params: Json, version: str, settings: Settings) -> tuple[str, str] | None:
    """What the Messages API would refuse: the error's type and message."""
    invalid = "invalid_request_error"
    for name in ("model", "messages", "max_tokens"):
        if params.get(name) is None:
            return invalid, f"{name}: Field required"
    model, limit, messages = params["model"], params["max_tokens"], params["messages"]
    if not isinstance(model, str) or not _known(model, settings):
        return "not_found_error", f"model: {model}"
    if not isinstance(limit, int) or limit < 1:
        return invalid, "max_tokens: must be greater than 0 in a batch"
    if params.get("stream"):
        return invalid, "stream: streaming is not supported in a batch"
    for name in REFUSED:
        if params.get(name) is not None:
            return invalid, f"{name}: not supported in a batch"
    for name in SAMPLING if version >= SAMPLING_GONE else ():
        if name in params:
            return invalid, f"{name}: not supported from API version {SAMPLING_GONE}"
    if not isinstance(messages, list) or not messages:
        return invalid, "messages: at least one message is required"
    return _bad_message(cast(list[Any], messages))


def _known(model: str, settings: Settings) -> bool:
    if model in settings.closed_models:
        return False
    return model.startswith("claude-") or model in settings.known_models


def _bad_message(messages: list[Any]) -> tuple[str, str] | None:
    for index, message in enumerate(messages):
        role, content = answers.dig(message, "role"), answers.dig(message, "content")
        if role not in ("user", "assistant"):
            return "invalid_request_error", f"messages.{index}.role: unexpected value '{role}'"
        if not content and not (role == "assistant" and index == len(messages) - 1):
            text = f"messages.{index}: all messages must have non-empty content"
            return "invalid_request_error", text
    return None


def blocks(params: Json) -> list[Any]:
    """A prompt's blocks in the order in which a cache sees them: tools, system, messages."""
    found = list(cast(list[Any], params.get("tools") or []))
    for content in (params.get("system"), *_contents(params)):
        found += cast(list[Any], content) if isinstance(content, list) else [content]
    return [block for block in found if block]


def _contents(params: Json) -> list[Any]:
    messages = cast(list[Any], params.get("messages") or [])
    return [answers.dig(message, "content") for message in messages]


def breakpoints(params: Json) -> list[Breakpoint]:
    found: list[Breakpoint] = []
    chain, count = str(params.get("model")), 0
    everything = blocks(params)
    asked = (answers.dig(block, "cache_control") for block in everything)
    if not params.get("cache_control") and not any(asked):
        return []
    for index, block in enumerate(everything):
        control = answers.dig(block, "cache_control")
        if control is None and index == len(everything) - 1:
            control = params.get("cache_control")
        bare = block
        if isinstance(block, dict):
            bare = {k: v for k, v in cast(Json, block).items() if k != "cache_control"}
        chain = answers.digest([chain, bare])
        count += answers.tokens_in(bare)
        if control:
            found.append(Breakpoint(chain, count, answers.dig(control, "ttl") == "1h"))
    return found


def _bad_marks(points: list[Breakpoint]) -> tuple[str, str] | None:
    """https://platform.claude.com/docs/en/build-with-claude/prompt-caching#mixing-different-ttls"""
    if len(points) > MAX_BREAKPOINTS:
        message = f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided."
        return "invalid_request_error", message
    hours = [point.hour for point in points]
    if hours != sorted(hours, reverse=True):
        message = (
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
        )
        return "invalid_request_error", message
    return None


def user_text(params: Json) -> str:
    return answers.last_user(params.get("messages"))


class RowWork:
    """Appends result lines as rows are done; counts by result type."""

    def __init__(self, engine: Engine, batch: Batch) -> None:
        self.engine = engine
        self.batch = batch

    def work(self, indices: list[int]) -> None:
        for _, raw in self.batch.rows.read(indices):
            self._row(raw)

    def give_up(self, indices: list[int], kind: str) -> None:
        for _, raw in self.batch.rows.read(indices):
            self._write(msgspec.json.decode(raw)["custom_id"], {"type": kind})

    def _row(self, raw: bytes) -> None:
        row: Json = msgspec.json.decode(raw)
        custom_id, params = row["custom_id"], row["params"]
        marks = self.engine.faults.marks("anthropic", raw, user_text(params))
        if "missing" in marks:
            self.engine.ledger.row("anthropic", "missing")
        elif "expired" in marks:
            self._write(custom_id, {"type": "expired"})
        elif "null_error" in marks or marks.values.get("status") == "0":
            self._write(custom_id, {"type": "errored", "error": None})
        else:
            self._write(custom_id, self._result(params, marks))

    def _result(self, params: Json, marks: Marks) -> Json:
        try:
            refused = self._refused(params, marks)
            if refused is None:
                return {"type": "succeeded", "message": self._answer(params, marks)}
        except answers.MALFORMED as error:
            refused = "invalid_request_error", f"The request is malformed: {error}"
        error_id = self.engine.new_id("req_", 24)
        return {"type": "errored", "error": error_body(*refused, error_id)}

    def _refused(self, params: Json, marks: Marks) -> tuple[str, str] | None:
        settings = self.engine.settings
        if "status" in marks:
            status = int(marks.number("status"))
            return ERROR_TYPES.get(status, "api_error"), f"The request failed with {status}."
        if "overloaded" in marks:
            return "overloaded_error", "Overloaded"
        if "policy" in marks:
            return "invalid_request_error", "Output blocked by content filtering policy"
        if self.batch.fault and self.batch.fault.kind == "batch_failed":
            return "api_error", "Internal server error"
        if "anthropic" in settings.out_of_credit:
            return settings.credit_error, NO_CREDIT
        return refusal(params, self.batch.version, settings) or _bad_marks(breakpoints(params))

    def _answer(self, params: Json, marks: Marks) -> Json:
        model = params["model"]
        digest = answers.digest(params)
        content, stop = self._content(params, marks, digest)
        counted = sum(answers.tokens_in(block) for block in blocks(params))
        cache = self.engine.prefixes.explicit(breakpoints(params), self.engine.settings)
        plain = counted - cache.read - cache.written_5m - cache.written_1h
        output = answers.tokens_in([block.get("text", block.get("input")) for block in content])
        usage = Usage(plain, output, cache.read, cache.written_5m, cache.written_1h)
        tier = "standard" if "standard" in marks else "batch"
        charged_as = "" if tier == "batch" else tier
        self.engine.ledger.answered("anthropic", self.batch.id, model, digest, usage, charged_as)
        return {
            "id": self.engine.new_id("msg_", 24),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": _usage(plain, output, cache, tier),
        }

    def _content(self, params: Json, marks: Marks, digest: str) -> tuple[list[Json], str]:
        text = user_text(params)
        forced = answers.dig(params.get("tool_choice"), "name")
        for tool in cast(list[Any], params.get("tools") or []):
            if forced and answers.dig(tool, "name") == forced:
                schema: Json = answers.dig(tool, "input_schema") or {}
                value = answers.fitting(schema, digest, f"echo {digest} {text[: answers.ECHOED]}")
                new_id = self.engine.new_id("toolu_", 24)
                block = {"type": "tool_use", "id": new_id, "name": forced, "input": value}
                return [block], "tool_use"
        schema = answers.first(
            answers.dig(params, "output_config", "format", "schema"),
            answers.dig(params, "output_format", "schema"),
        )
        answer, cut = answers.compose(digest, text, schema, marks, params["max_tokens"])
        stop = "max_tokens" if cut else "end_turn"
        return [{"type": "text", "text": answer, "citations": None}], stop

    def _write(self, custom_id: str, result: Json) -> None:
        self.batch.counts[result["type"]] += 1
        line = {"custom_id": custom_id, "result": result}
        with self.batch.results.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        kind = result["type"]
        self.engine.ledger.row("anthropic", "answered" if kind == "succeeded" else kind)


def _usage(plain: int, output: int, cache: CacheUse, tier: str) -> Json:
    return {
        "input_tokens": plain,
        "cache_creation_input_tokens": cache.written_5m + cache.written_1h,
        "cache_read_input_tokens": cache.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache.written_5m,
            "ephemeral_1h_input_tokens": cache.written_1h,
        },
        "output_tokens": output,
        "service_tier": tier,
        "inference_geo": "not_available",
    }
