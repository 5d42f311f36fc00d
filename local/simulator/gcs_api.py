"""The part of the Cloud Storage JSON API that google-cloud-storage uses for objects.

Served below `/gcs` and at the root, since `STORAGE_EMULATOR_HOST` may carry no path.
"""

import base64
import re
from typing import Any

import msgspec

from . import multipart
from .answers import Json
from .gcs_store import Upload
from .routes import Route
from .spool import CHUNK
from .wire import ApiError, Reply, Request, file_reply
from .world import World

PAGE = 1000
CHUNK_UNIT = 256 * 1024
REASONS = {
    400: "invalid",
    401: "required",
    403: "forbidden",
    404: "notFound",
    429: "rateLimitExceeded",
}
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def render(error: ApiError) -> Reply:
    reason = error.code or REASONS.get(error.status, "backendError")
    detail = {"message": error.message, "domain": "global", "reason": reason}
    body = {"error": {"code": error.status, "message": error.message, "errors": [detail]}}
    return Reply.json(body, error.status, error.headers)


def authorize(world: World, request: Request) -> None:
    token = request.bearer()
    if token in world.engine.settings.revoked_keys or (
        not token and world.engine.settings.require_google_token
    ):
        message = "Anonymous caller does not have access to the Google Cloud Storage object."
        raise ApiError(401, message, headers={"www-authenticate": "Bearer"})


def _root(request: Request) -> str:
    return request.base_url + (request.params.get("root") or "")


def bucket(world: World, request: Request) -> Reply:
    name = request.params["bucket"]
    world.gcs.check_bucket(name)
    shown = {"kind": "storage#bucket", "id": name, "name": name, "location": "US"}
    return Reply.json({**shown, "selfLink": f"{_root(request)}/storage/v1/b/{name}"})


def list_objects(world: World, request: Request) -> Reply:
    name, prefix = request.params["bucket"], request.argument("prefix") or ""
    world.gcs.check_bucket(name)
    limit = min(request.number("maxResults", PAGE, 1, 1 << 30), PAGE)
    after = base64.urlsafe_b64decode(request.argument("pageToken") or "").decode()
    start, end = request.argument("startOffset") or "", request.argument("endOffset")
    delimiter = request.argument("delimiter")
    items: list[Json] = []
    folders: list[str] = []
    last = ""
    for found in world.gcs.names(name, prefix):
        folder = _folder(found, prefix, delimiter)
        place = folder or found
        if place <= after or found < start or (end and found >= end) or place in folders:
            continue
        if len(items) + len(folders) == limit:
            token = base64.urlsafe_b64encode(last.encode()).decode()
            return _listed(items, folders, {"nextPageToken": token})
        last = place
        if folder:
            folders.append(folder)
        elif stored := world.gcs.objects.get((name, found)):
            items.append(stored.shown(_root(request)))
    return _listed(items, folders, {})


def _folder(name: str, prefix: str, delimiter: str | None) -> str | None:
    if not delimiter:
        return None
    head, found, _ = name[len(prefix) :].partition(delimiter)
    return prefix + head + delimiter if found else None


def _listed(items: list[Json], folders: list[str], more: Json) -> Reply:
    shown: Json = {"kind": "storage#objects", **more}
    if items:
        shown["items"] = items
    if folders:
        shown["prefixes"] = folders
    return Reply.json(shown)


def retrieve(world: World, request: Request) -> Reply:
    if request.argument("alt") == "media":
        return content(world, request)
    generation = request.argument("generation")
    found = world.gcs.find(request.params["bucket"], request.params["name"], generation)
    return Reply.json(found.shown(_root(request)))


def content(world: World, request: Request) -> Reply:
    generation = request.argument("generation")
    found = world.gcs.find(request.params["bucket"], request.params["name"], generation)
    match = request.argument("ifGenerationMatch")
    world.gcs.check_match(found.bucket, found.name, match)
    reply = file_reply(found.path, request, found.content_type)
    reply.headers |= {
        "etag": found.etag,
        "x-goog-generation": str(found.generation),
        "x-goog-metageneration": str(found.metageneration),
        "x-goog-hash": f"crc32c={found.crc32c},md5={found.md5}",
        "x-goog-stored-content-length": str(found.size),
        "x-goog-stored-content-encoding": "identity",
        "x-goog-storage-class": "STANDARD",
    }
    return reply


def delete(world: World, request: Request) -> Reply:
    generation = request.argument("generation")
    found = world.gcs.find(request.params["bucket"], request.params["name"], generation)
    world.gcs.check_match(found.bucket, found.name, request.argument("ifGenerationMatch"))
    if world.engine.faults.is_undeletable(found.name):
        raise ApiError(403, "Object is under active Temporary hold.", code="retentionPolicyNotMet")
    world.gcs.delete(found)
    return Reply(204)


def upload(world: World, request: Request) -> Reply:
    world.gcs.check_bucket(request.params["bucket"])
    match request.argument("uploadType"):
        case "multipart":
            return _upload_multipart(world, request)
        case "resumable":
            return _start_resumable(world, request)
        case "media":
            return _upload_media(world, request)
        case other:
            raise ApiError(400, f"Invalid upload type: {other}")


def _name(wanted: Json, request: Request) -> str:
    name = wanted.get("name") or request.argument("name")
    if not isinstance(name, str) or not name or len(name.encode()) > 1024:
        raise ApiError(400, "Required parameter: name, of 1 to 1024 bytes", code="required")
    return name


def _upload_multipart(world: World, request: Request) -> Reply:
    boundary = multipart.boundary_of(request.headers.get("content-type"), "related")
    path = world.engine.spool.path("gcs-object")
    form = multipart.read(request.body, boundary, path, lambda part, _: part == 1)
    try:
        wanted: Json = msgspec.json.decode(form.fields.get("0") or "{}")
        name = _name(wanted, request)
    except (ApiError, msgspec.DecodeError) as error:
        path.unlink()
        raise ApiError(400, str(error)) from None
    wanted.setdefault("contentType", form.content_type)
    match = request.argument("ifGenerationMatch")
    stored = world.gcs.put(request.params["bucket"], name, path, wanted, match)
    return Reply.json(stored.shown(_root(request)))


def _upload_media(world: World, request: Request) -> Reply:
    name = _name({}, request)
    path = world.engine.spool.path("gcs-object")
    request.body.save(path)
    wanted = {"contentType": request.headers.get("content-type")}
    match = request.argument("ifGenerationMatch")
    stored = world.gcs.put(request.params["bucket"], name, path, wanted, match)
    return Reply.json(stored.shown(_root(request)))


def _start_resumable(world: World, request: Request) -> Reply:
    wanted = request.json()
    name, bucket_name = _name(wanted, request), request.params["bucket"]
    match = request.argument("ifGenerationMatch")
    world.gcs.check_match(bucket_name, name, match)
    wanted.setdefault("contentType", request.headers.get("x-upload-content-type"))
    path = world.engine.spool.path("gcs-upload")
    path.touch()
    unfinished = Upload(
        world.engine.new_id("up", 32), bucket_name, {**wanted, "name": name}, match, path
    )
    world.gcs.uploads[unfinished.id] = unfinished
    url = f"{_root(request)}/upload/storage/v1/b/{bucket_name}/o"
    headers = {"location": f"{url}?uploadType=resumable&upload_id={unfinished.id}"}
    return Reply(200, b"", {**headers, "x-guploader-uploadid": unfinished.id})


def upload_chunk(world: World, request: Request) -> Reply:
    unfinished = world.gcs.uploads.get(request.argument("upload_id") or "")
    if unfinished is None:
        raise ApiError(404, "The upload id is unknown.", code="notFound")
    with unfinished.lock:
        start, total = _range(request, unfinished)
        if start is not None:
            _append(unfinished, request, start, total)
        if total is None or unfinished.size < total:
            return _incomplete(unfinished)
        world.gcs.uploads.pop(unfinished.id, None)
        stored = world.gcs.put(
            unfinished.bucket,
            unfinished.wanted["name"],
            unfinished.path,
            unfinished.wanted,
            unfinished.match,
        )
    return Reply.json(stored.shown(_root(request)))


def _range(request: Request, unfinished: Upload) -> tuple[int | None, int | None]:
    """Where the bytes of this chunk begin (None: it asks for the state) and the whole length."""
    text = request.headers.get("content-range")
    if text is None:
        length = request.body.known_length
        return unfinished.size, None if length is None else unfinished.size + length
    match = CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise ApiError(400, f"Invalid Content-Range: {text}")
    first, last, total = match.groups()
    if first and total == "*" and (int(last) + 1) % CHUNK_UNIT:
        raise ApiError(400, f"All chunks but the last must be multiples of {CHUNK_UNIT} bytes.")
    return int(first) if first else None, None if total == "*" else int(total)


def _append(unfinished: Upload, request: Request, start: int, total: int | None) -> None:
    """Skips what is there already, as after a reply that was lost."""
    skip = unfinished.size - start
    if skip < 0:
        raise ApiError(400, f"Expected bytes from {unfinished.size}, got {start}.")
    most = next((each.bytes for each in request.faults if each.kind == "keep_less"), None)
    with unfinished.path.open("ab", buffering=CHUNK) as file:
        for block in request.body.blocks():
            fresh = block[skip:] if skip < len(block) else b""
            skip = max(0, skip - len(block))
            if most is not None:
                fresh = fresh[:most]
                most -= len(fresh)
            file.write(fresh)
    if total is not None and unfinished.size > total:
        raise ApiError(400, f"More bytes than the {total} announced.")


def _incomplete(unfinished: Upload) -> Reply:
    size = unfinished.size
    return Reply(308, b"", {"range": f"bytes=0-{size - 1}"} if size else {})


def cancel_upload(world: World, request: Request) -> Reply:
    unfinished = world.gcs.uploads.pop(request.argument("upload_id") or "", None)
    if unfinished is None:
        raise ApiError(404, "The upload id is unknown.", code="notFound")
    unfinished.path.unlink(missing_ok=True)
    return Reply(499)


def _route(operation: str, method: str, path: str, handle: Any, target: str | None = None) -> Route:
    pattern = re.compile(f"(?P<root>/gcs)?{path}")
    return Route("gcs", operation, method, pattern, handle, authorize, target)


BUCKET = "/storage/v1/b/(?P<bucket>[^/]+)"
OBJECT = f"{BUCKET}/o/(?P<name>.+)"
ROUTES = [
    _route("bucket", "GET", BUCKET, bucket, "bucket"),
    _route("list", "GET", f"{BUCKET}/o", list_objects, "bucket"),
    _route("retrieve", "GET", OBJECT, retrieve, "name"),
    _route("content", "GET", f"/download{OBJECT}", content, "name"),
    _route("delete", "DELETE", OBJECT, delete, "name"),
    _route("upload", "POST", f"/upload{BUCKET}/o", upload),
    _route("upload_chunk", "PUT", f"/upload{BUCKET}/o", upload_chunk),
    _route("cancel_upload", "DELETE", f"/upload{BUCKET}/o", cancel_upload),
]
