"""Anthropic's Message Batches endpoints, below `/anthropic/v1`."""

import mmap
import re
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec

from . import anthropic_rows
from .anthropic_records import Batch
from .anthropic_rows import ERROR_TYPES, error_body
from .faults import LOOKS_MARKED, batch_fault
from .routes import Route
from .rows import Rows
from .wire import ApiError, Reply, Request, file_reply
from .world import World

MAX_REQUESTS = 100_000
MAX_BYTES = 256 * 1024 * 1024
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")


def render(error: ApiError) -> Reply:
    kind = error.kind or error.code or ERROR_TYPES.get(error.status, "api_error")
    request_id = f"req_{secrets.token_hex(12)}"
    headers = {**error.headers, "request-id": request_id}
    return Reply.json(error_body(kind, error.message, request_id), error.status, headers)


def decorate(reply: Reply) -> None:
    reply.headers.setdefault("request-id", f"req_{secrets.token_hex(12)}")
    reply.headers.setdefault("anthropic-organization-id", "simulator")


def authorize(world: World, request: Request) -> None:
    """Takes the key from either header: SDKs before 2.0 send `x-api-key`."""
    key = request.bearer() or request.headers.get("x-api-key")
    if not key:
        raise ApiError(401, "x-api-key header is required")
    if not key.startswith("sk-") or key in world.engine.settings.revoked_keys:
        raise ApiError(401, "invalid x-api-key")
    version = request.headers.get("anthropic-version")
    if not version:
        raise ApiError(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise ApiError(400, f'anthropic-version: "{version}" is not a valid version')


class Item(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: msgspec.Raw


class Create(msgspec.Struct):
    requests: list[Item]


DECODER = msgspec.json.Decoder(Create)


def create(world: World, request: Request) -> Reply:
    path = world.engine.spool.path("anthropic-request")
    try:
        size = request.body.save(path, limit=MAX_BYTES)
        if size > MAX_BYTES:
            raise ApiError(413, "Request exceeds the maximum size", kind="request_too_large")
        rows, slow = _parse(world, path, size)
    finally:
        path.unlink(missing_ok=True)
    limit = world.engine.settings.anthropic_queue_limit
    if limit is not None and world.anthropic.processing() + len(rows) > limit:
        rows.path.unlink()
        raise ApiError(
            429,
            "This request would exceed the limit on batch requests in the processing queue.",
            headers={"retry-after": "30"},
        )
    fault = batch_fault(request.faults, "batch_failed", "expire_at", "stuck")
    version = request.headers.get("anthropic-version") or ""
    batch = world.anthropic.create(rows, slow, version, fault)
    return Reply.json(batch.shown(request.base_url))


def _parse(world: World, path: Path, size: int) -> tuple[Rows, dict[int, float]]:
    """Decodes the envelope over a memory map; the requests stay slices of it, which is why the
    map is left to be closed with the last of them."""
    if size == 0:
        raise ApiError(400, "requests: Field required")
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        wanted = DECODER.decode(view)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"requests: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None
    if not wanted.requests:
        raise ApiError(400, "requests: List should have at least 1 item")
    if len(wanted.requests) > MAX_REQUESTS:
        message = f"requests: a batch holds at most {MAX_REQUESTS} requests"
        raise ApiError(413, message, kind="request_too_large")
    return _store(world, wanted)


def _store(world: World, wanted: Create) -> tuple[Rows, dict[int, float]]:
    rows = Rows(world.engine.spool.path("anthropic-rows"))
    slow: dict[int, float] = {}
    seen: set[str] = set()
    offset = 0
    with rows.path.open("wb") as file:
        for index, item in enumerate(wanted.requests):
            _check(index, item, seen)
            line = msgspec.json.encode(item)
            if LOOKS_MARKED in line:
                seconds = _marked(world, index, line)
                slow.update({index: seconds} if seconds else {})
            rows.add(offset, len(line))
            offset += file.write(line)
    return rows, slow


def _check(index: int, item: Item, seen: set[str]) -> None:
    if not CUSTOM_ID.fullmatch(item.custom_id):
        pattern = "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
        raise ApiError(400, f"requests.{index}.custom_id: {pattern}")
    if item.custom_id in seen:
        raise ApiError(400, f"requests.{index}.custom_id: duplicate custom_id '{item.custom_id}'")
    seen.add(item.custom_id)
    if not bytes(memoryview(item.params)[:1]) == b"{":
        raise ApiError(400, f"requests.{index}.params: Input should be an object")


def _marked(world: World, index: int, line: bytes) -> float:
    text = anthropic_rows.user_text(msgspec.json.decode(line)["params"])
    marks = world.engine.faults.marks("anthropic", line, text, stage="check")
    if "poison" in marks:
        raise ApiError(400, f"requests.{index}.params: this request cannot be processed")
    if "poison_unnamed" in marks:
        raise ApiError(400, "The batch could not be processed")
    return marks.number("slow")


def _batch(world: World, request: Request) -> Batch:
    batch = world.anthropic.batches.get(request.params["id"])
    if batch is None or world.engine.faults.is_gone(batch.id):
        raise ApiError(404, f"Message Batch {request.params['id']} not found.")
    return batch


def retrieve(world: World, request: Request) -> Reply:
    batch = _batch(world, request)
    world.engine.ledger.poll(batch.id, time.time())
    return Reply.json(batch.shown(request.base_url))


def list_batches(world: World, request: Request) -> Reply:
    limit = request.number("limit", 20, 1, 1000)
    with world.anthropic.lock:
        batches = list(world.anthropic.batches.values())
    batches = [batch for batch in reversed(batches) if not world.engine.faults.is_gone(batch.id)]
    after, before = request.argument("after_id"), request.argument("before_id")
    if after and before:
        raise ApiError(400, "Only one of before_id and after_id may be given.")
    if after:
        batches = batches[_position(batches, after) + 1 :]
    if before:
        batches = batches[: _position(batches, before)]
    page = batches[-limit:] if before else batches[:limit]
    return Reply.json(
        {
            "data": [batch.shown(request.base_url) for batch in page],
            "has_more": len(batches) > limit,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def _position(batches: list[Batch], batch_id: str) -> int:
    for index, batch in enumerate(batches):
        if batch.id == batch_id:
            return index
    raise ApiError(400, f"'{batch_id}' is not a Message Batch of this workspace.")


def cancel(world: World, request: Request) -> Reply:
    batch = _batch(world, request)
    if batch.status == "ended":
        message = f"Message Batch {batch.id} has ended and cannot be canceled."
        raise ApiError(400, message)
    if batch.status != "canceling":
        world.anthropic.cancel(batch)
    return Reply.json(batch.shown(request.base_url))


def delete(world: World, request: Request) -> Reply:
    batch = _batch(world, request)
    if batch.status != "ended":
        message = f"Message Batch {batch.id} cannot be deleted while it is {batch.status}."
        raise ApiError(400, message)
    if world.engine.faults.is_undeletable(batch.id):
        raise ApiError(500, "Internal server error")
    world.anthropic.delete(batch)
    return Reply.json({"id": batch.id, "type": "message_batch_deleted"})


def results(world: World, request: Request) -> Reply:
    batch = _batch(world, request)
    if batch.status != "ended":
        raise ApiError(404, f"Message Batch {batch.id} has no results yet.")
    return file_reply(batch.results, request, "application/x-jsonl")


def _route(operation: str, method: str, path: str, handle: Any, target: str | None = None) -> Route:
    pattern = re.compile(f"/anthropic/v1/messages/batches{path}")
    return Route("anthropic", operation, method, pattern, handle, authorize, target)


ROUTES = [
    _route("create", "POST", "", create),
    _route("list", "GET", "", list_batches),
    _route("retrieve", "GET", "/(?P<id>[^/]+)", retrieve, "id"),
    _route("delete", "DELETE", "/(?P<id>[^/]+)", delete, "id"),
    _route("cancel", "POST", "/(?P<id>[^/]+)/cancel", cancel, "id"),
    _route("results", "GET", "/(?P<id>[^/]+)/results", results, "id"),
]
