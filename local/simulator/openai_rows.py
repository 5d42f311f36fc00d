"""How the rows of an OpenAI batch are answered and written to its two files."""

from typing import Any

import msgspec

from . import answers, openai_bodies, openai_check
from .answers import Json
from .engine import Engine
from .faults import Marks
from .openai_records import Batch, Results

GIVEN_UP = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}
HTTP_ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", "invalid_value", "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Not allowed."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    429: ("tokens", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
NO_CREDIT = "You exceeded your current quota, please check your plan and billing details."
POLICY = "Your request was rejected as a result of our safety system."


class RowWork:
    """Appends to the output and error file as rows are done; `work` is called part by part."""

    def __init__(self, engine: Engine, batch: Batch, results: Results) -> None:
        self.engine = engine
        self.batch = batch
        self.results = results

    def work(self, indices: list[int]) -> None:
        with self.results.lock:
            for _, raw in self.results.rows.read(indices):
                self._row(raw)

    def give_up(self, indices: list[int], code: str) -> None:
        """Their rows count neither as completed nor as failed, as seen at the provider."""
        with self.results.lock:
            for _, raw in self.results.rows.read(indices):
                self._unanswered(msgspec.json.decode(raw)["custom_id"], code)

    def _unanswered(self, custom_id: str, code: str) -> None:
        self.results.expired += code == "batch_expired"
        error = {"code": code, "message": GIVEN_UP[code]}
        self._write(custom_id, None, error, code)

    def _row(self, raw: bytes) -> None:
        row: Json = msgspec.json.decode(raw)
        custom_id, body = row["custom_id"], row["body"]
        text = openai_bodies.user_text(body)
        marks = self.engine.faults.marks("openai", raw, text)
        if "missing" in marks:
            self.engine.ledger.row("openai", "missing")
        elif "expired" in marks:
            self._unanswered(custom_id, "batch_expired")
        elif "null_error" in marks:
            self._write(custom_id, None, None, "null_error")
        elif refused := self._refused(body, marks):
            self._http(custom_id, *refused)
        else:
            try:
                self._answer(custom_id, body, marks)
            except answers.MALFORMED as error:
                message = f"The request is malformed: {error}"
                kind = "invalid_request_error"
                self._http(custom_id, 400, openai_check.error_body(message, kind, None, None))

    def _refused(self, body: Json, marks: Marks) -> tuple[int, Json] | None:
        if "status" in marks:
            status = int(marks.number("status"))
            if status == 0:
                return 0, {}
            kind, code, message = HTTP_ERRORS.get(status, ("server_error", None, "Failed."))
            return status, openai_check.error_body(message, kind, None, code)
        if "overloaded" in marks:
            kind, code, message = HTTP_ERRORS[503]
            return 503, openai_check.error_body(message, kind, None, code)
        if "policy" in marks:
            kind = "invalid_request_error"
            return 400, openai_check.error_body(POLICY, kind, None, "content_policy_violation")
        if "openai" in self.engine.settings.out_of_credit:
            kind = "insufficient_quota"
            return 429, openai_check.error_body(NO_CREDIT, kind, None, "insufficient_quota")
        return openai_check.refusal(body, self.batch.endpoint)

    def _http(self, custom_id: str, status: int, body: Json) -> None:
        request_id = self.engine.new_id("", 32) if status else ""
        response = {"status_code": status, "request_id": request_id, "body": body}
        if status == 0:
            # Counted as completed although it stands in the error file: so it was reported.
            self.batch.completed += 1
        else:
            self.batch.failed += 1
        self._write(custom_id, response, None, f"status {status}")

    def _answer(self, custom_id: str, body: Json, marks: Marks) -> None:
        model = str(body.get("model", self.batch.model or ""))
        cached = self.engine.prefixes.implicit(
            model, openai_bodies.prefix(body), self.engine.settings
        )
        new_id = self.engine.new_id("", 24)
        answer = openai_bodies.Answer(self.batch.endpoint, body, marks, cached, new_id)
        response = {
            "status_code": 200,
            "request_id": self.engine.new_id("", 32),
            "body": answer.body,
        }
        self.batch.completed += 1
        self.batch.tokens.update(
            input=answer.usage.input,
            cached=answer.usage.cached_input,
            output=answer.usage.output,
            reasoning=answer.reasoning,
        )
        self.engine.ledger.answered("openai", self.batch.id, model, answer.digest, answer.usage)
        self._write(custom_id, response, None, "answered", good=True)

    def _write(
        self, custom_id: str, response: Any, error: Any, outcome: str, *, good: bool = False
    ) -> None:
        line = {
            "id": self.engine.new_id("batch_req_", 32),
            "custom_id": custom_id,
            "response": response,
            "error": error,
        }
        with (self.results.output if good else self.results.errors).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self.engine.ledger.row("openai", outcome)
