"""OpenAI's Files and Batches endpoints, below `/openai/v1`."""

import re
import secrets
import time
from typing import Any, Literal, cast

import msgspec

from . import multipart
from .faults import batch_fault
from .openai_bodies import ENDPOINTS
from .openai_check import error_body
from .openai_records import TERMINAL, Batch, File
from .routes import Route
from .wire import ApiError, Reply, Request, file_reply
from .world import World

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MAX_FILE = 512 * 1024 * 1024
EXPIRY = (3600, 2_592_000)
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512


def render(error: ApiError) -> Reply:
    server_side = "server_error" if error.status >= 500 else "invalid_request_error"
    if error.status == 429:
        server_side = "requests"
    body = error_body(error.message, error.kind or server_side, error.param, error.code)
    return Reply.json(body, error.status, error.headers)


def decorate(reply: Reply) -> None:
    reply.headers.setdefault("x-request-id", f"req_{secrets.token_hex(16)}")
    reply.headers.setdefault("openai-version", "2020-10-01")
    reply.headers.setdefault("openai-organization", "org-simulator")
    reply.headers.setdefault("openai-processing-ms", "7")


def authorize(world: World, request: Request) -> None:
    key = request.bearer()
    if not key:
        raise ApiError(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    if not key.startswith("sk-") or key in world.engine.settings.revoked_keys:
        shown = f"{key[:3]}{'*' * max(4, len(key) - 7)}{key[-4:]}"
        raise ApiError(
            401,
            f"Incorrect API key provided: {shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            code="invalid_api_key",
        )


def _expiry(anchor: Any, seconds: Any, param: str) -> int | None:
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = f"Invalid value for '{param}[anchor]': expected 'created_at'."
        raise ApiError(400, message, code="invalid_value", param=f"{param}[anchor]")
    text = str(seconds)
    if not text.isdigit() or not EXPIRY[0] <= int(text) <= EXPIRY[1]:
        message = (
            f"Invalid '{param}[seconds]': expected a value between {EXPIRY[0]} and {EXPIRY[1]}."
        )
        raise ApiError(400, message, code="integer_out_of_range", param=f"{param}[seconds]")
    return int(text)


def upload(world: World, request: Request) -> Reply:
    boundary = multipart.boundary_of(request.headers.get("content-type"), "form-data")
    path = world.engine.spool.path("openai-file")
    form = multipart.read(
        request.body, boundary, path, lambda _, options: options.get(b"name") == b"file"
    )
    try:
        purpose, seconds = _checked_form(form, path.stat().st_size)
    except ApiError:
        path.unlink()
        raise
    file = world.openai.add_file(path, form.filename or "upload", purpose, seconds)
    return Reply.json(file.shown())


def _checked_form(form: multipart.Form, size: int) -> tuple[str, int | None]:
    if form.filename is None:
        raise ApiError(400, "Missing required parameter: 'file'.", param="file")
    purpose = form.fields.get("purpose")
    if purpose not in PURPOSES:
        message = f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'"
        raise ApiError(400, message, param="purpose")
    if size > MAX_FILE:
        raise ApiError(413, "413: The data value transmitted exceeds the capacity limit.")
    if size == 0:
        raise ApiError(400, "File is empty.", param="file")
    if purpose == "batch" and not form.filename.endswith(".jsonl"):
        raise ApiError(400, "Invalid file format for Batch API. Must be .jsonl")
    fields = form.fields
    seconds = _expiry(
        fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]"), "expires_after"
    )
    return purpose, 30 * 86_400 if seconds is None and purpose == "batch" else seconds


def _file(world: World, request: Request) -> File:
    file = world.openai.files.get(request.params["id"])
    if file is None or (file.expires_at is not None and file.expires_at < time.time()):
        message = f"No such File object: {request.params['id']}"
        raise ApiError(404, message, param="id")
    return file


def retrieve_file(world: World, request: Request) -> Reply:
    return Reply.json(_file(world, request).shown())


def list_files(world: World, request: Request) -> Reply:
    with world.openai.lock:
        files = list(world.openai.files.values())
    purpose = request.argument("purpose")
    files = [file for file in files if purpose in (None, file.purpose)]
    if request.argument("order") != "asc":
        files.reverse()
    return _page(files, request, default=10_000, high=10_000)


def _page(items: "list[File] | list[Batch]", request: Request, default: int, high: int) -> Reply:
    limit = request.number("limit", default, 1, high)
    after = request.argument("after")
    if after is not None:
        start = next((i for i, item in enumerate(items) if item.id == after), None)
        if start is None:
            raise ApiError(404, f"No such object: {after}", param="after")
        items = cast("list[Batch]", items[start + 1 :])
    page = items[:limit]
    return Reply.json(
        {
            "object": "list",
            "data": [item.shown() for item in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": len(items) > limit,
        }
    )


def delete_file(world: World, request: Request) -> Reply:
    file = _file(world, request)
    if world.engine.faults.is_undeletable(file.id):
        raise ApiError(500, "The server had an error while processing your request.")
    world.openai.delete_file(file)
    return Reply.json({"id": file.id, "object": "file", "deleted": True})


def content(world: World, request: Request) -> Reply:
    return file_reply(_file(world, request).path, request, "application/octet-stream")


class Expires(msgspec.Struct):
    anchor: str
    seconds: int


class NewBatch(msgspec.Struct, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: str
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None
    output_expires_after: Expires | None = None


def create_batch(world: World, request: Request) -> Reply:
    try:
        wanted = msgspec.convert(request.json(), NewBatch)
    except msgspec.ValidationError as error:
        message = f"Invalid request: {error}"
        raise ApiError(400, message, code="invalid_value", param=_field_of(str(error))) from None
    if wanted.endpoint not in ENDPOINTS:
        message = (
            f"Invalid value: '{wanted.endpoint}'. Supported values are: {', '.join(ENDPOINTS)}."
        )
        raise ApiError(400, message, code="invalid_value", param="endpoint")
    _check_metadata(wanted.metadata)
    expires = wanted.output_expires_after
    seconds = expires and _expiry(expires.anchor, expires.seconds, "output_expires_after")
    fault = batch_fault(request.faults, "token_limit", "batch_failed", "expire_at", "stuck")
    file = _input_file(world, wanted.input_file_id)
    batch = world.openai.create(file, wanted.endpoint, wanted.metadata, seconds, fault)
    return Reply.json(batch.shown())


def _field_of(message: str) -> str | None:
    """The field that a decoder's message is about, for the error's `param`."""
    match = re.search(r"\$\.(\w+)|field `(\w+)`", message)
    return next((group for group in match.groups() if group), None) if match else None


def _check_metadata(metadata: dict[str, str] | None) -> None:
    pairs = metadata or {}
    if len(pairs) > MAX_PAIRS:
        message = f"Invalid 'metadata': too many properties. Expected at most {MAX_PAIRS}."
        raise ApiError(400, message, code="object_above_max_properties", param="metadata")
    for key, value in pairs.items():
        if len(key) > MAX_KEY or len(value) > MAX_VALUE:
            message = f"Invalid 'metadata.{key}': string too long."
            raise ApiError(400, message, code="string_above_max_length", param=f"metadata.{key}")


def _input_file(world: World, file_id: str) -> File:
    file = world.openai.files.get(file_id)
    visible = file and time.time() - file.created >= world.engine.settings.visible_after_seconds
    if file is None or not visible:
        status = world.engine.settings.unknown_input_file_status
        raise ApiError(status, f"No such File object: {file_id}", param="input_file_id")
    if file.purpose != "batch":
        message = f"Invalid file purpose: '{file.purpose}'. Expected 'batch'."
        raise ApiError(400, message, code="invalid_value", param="input_file_id")
    return file


def _batch(world: World, request: Request) -> Batch:
    batch = world.openai.batches.get(request.params["id"])
    if batch is None or world.engine.faults.is_gone(batch.id):
        raise ApiError(404, f"No batch found with id '{request.params['id']}'.", param="batch_id")
    return batch


def retrieve_batch(world: World, request: Request) -> Reply:
    batch = _batch(world, request)
    world.engine.ledger.poll(batch.id, time.time())
    return Reply.json(batch.shown())


def list_batches(world: World, request: Request) -> Reply:
    with world.openai.lock:
        batches = list(world.openai.batches.values())
    batches = [batch for batch in reversed(batches) if not world.engine.faults.is_gone(batch.id)]
    return _page(batches, request, default=20, high=100)


def cancel_batch(world: World, request: Request) -> Reply:
    batch = _batch(world, request)
    with batch.lock:
        if batch.status in TERMINAL or batch.status == "finalizing":
            message = f"Cannot cancel a batch with status '{batch.status}'."
            raise ApiError(409, message, kind="invalid_request_error")
        if batch.status != "cancelling":
            world.openai.cancel(batch)
    return Reply.json(batch.shown())


def _route(operation: str, method: str, path: str, handle: Any, target: str | None = None) -> Route:
    pattern = re.compile(f"/openai/v1{path}")
    return Route("openai", operation, method, pattern, handle, authorize, target)


ROUTES = [
    _route("upload", "POST", "/files", upload),
    _route("list_files", "GET", "/files", list_files),
    _route("retrieve_file", "GET", "/files/(?P<id>[^/]+)", retrieve_file, "id"),
    _route("delete", "DELETE", "/files/(?P<id>[^/]+)", delete_file, "id"),
    _route("content", "GET", "/files/(?P<id>[^/]+)/content", content, "id"),
    _route("create", "POST", "/batches", create_batch),
    _route("list", "GET", "/batches", list_batches),
    _route("retrieve", "GET", "/batches/(?P<id>[^/]+)", retrieve_batch, "id"),
    _route("cancel", "POST", "/batches/(?P<id>[^/]+)/cancel", cancel_batch, "id"),
]
