"""Vertex AI's batchPredictionJobs over REST, below `/vertex` and at the root."""

import re
import time
from typing import Any, cast

from . import answers, vertex_filter
from .answers import Json
from .faults import batch_fault
from .routes import Route
from .vertex_records import TERMINAL, Job
from .wire import ApiError, Reply, Request
from .world import World

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MODEL = re.compile(
    r"(?:projects/[^/]+/locations/[^/]+/)?publishers/google/models/([\w.\-]+)(?:@[\w\-]+)?"
)
OWN_MODELS = re.compile(r"gemini-|text-(multilingual-)?embedding-")
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
MAX_LABELS, MAX_NAME = 64, 128
PAGE = 100
EMPTY = "type.googleapis.com/google.protobuf.Empty"
METADATA = "type.googleapis.com/google.cloud.aiplatform.v1.DeleteOperationMetadata"


def render(error: ApiError) -> Reply:
    status = error.code or STATUSES.get(error.status, "UNKNOWN")
    body = {"error": {"code": error.status, "message": error.message, "status": status}}
    return Reply.json(body, error.status, error.headers)


def authorize(world: World, request: Request) -> None:
    token = request.bearer()
    if token in world.engine.settings.revoked_keys or (
        not token and world.engine.settings.require_google_token
    ):
        raise ApiError(401, "Request had invalid authentication credentials.")


def _shown(job: Job, request: Request) -> Json:
    return job.shown(numbers="enum-encoding=int" in (request.argument("$alt") or ""))


def create(world: World, request: Request) -> Reply:
    resource = request.json()
    model = _model(world, resource)
    _check_names(resource)
    source = answers.dig(resource, "inputConfig", "gcsSource", "uris")
    if answers.dig(resource, "inputConfig", "instancesFormat") != "jsonl" or not source:
        raise ApiError(400, "inputConfig: only JSONL files on Cloud Storage are supported.")
    target = answers.dig(resource, "outputConfig", "gcsDestination", "outputUriPrefix")
    if answers.dig(resource, "outputConfig", "predictionsFormat") != "jsonl" or not target:
        raise ApiError(400, "outputConfig: only JSONL files on Cloud Storage are supported.")
    uris = [str(uri) for uri in cast(list[Any], source)]
    if not all(uri.startswith("gs://") for uri in [*uris, str(target)]):
        raise ApiError(400, "Cloud Storage URIs must start with gs://.")
    if "vertex" in world.engine.settings.out_of_credit:
        raise ApiError(403, "This API method requires billing to be enabled.")
    job_id = world.engine.new_number()
    parent = f"projects/{request.params['project']}/locations/{request.params['location']}"
    fault = batch_fault(request.faults, "batch_failed", "expire_at", "stuck", "state")
    job = Job(
        job_id,
        f"{parent}/batchPredictionJobs/{job_id}",
        resource,
        model,
        uris,
        str(target),
        world.engine.settings.batch_seconds,
        time.time(),
        fault,
    )
    world.vertex.create(job)
    return Reply.json(_shown(job, request))


def _model(world: World, resource: Json) -> str:
    name = resource.get("model")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "Required field is not set: batch_prediction_job.model")
    match = MODEL.fullmatch(name)
    short = match[1] if match else name
    known = OWN_MODELS.match(short) or short in world.engine.settings.known_models
    if not match or not known or short in world.engine.settings.closed_models:
        raise ApiError(
            404,
            f"Publisher Model `{name}` was not found or your project does not have access to it.",
        )
    return short


def _check_names(resource: Json) -> None:
    name = resource.get("displayName")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise ApiError(400, f"display_name must be set, with at most {MAX_NAME} characters.")
    labels = cast(Json, resource.get("labels") or {})
    good = all(
        LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(str(value))
        for key, value in labels.items()
    )
    if len(labels) > MAX_LABELS or not good:
        raise ApiError(400, "Invalid labels: at most 64, of lower-case letters, digits, _ and -.")


def _job(world: World, request: Request) -> Job:
    name = (
        f"projects/{request.params['project']}/locations/{request.params['location']}"
        f"/batchPredictionJobs/{request.params['id']}"
    )
    job = world.vertex.jobs.get(name)
    if job is None or world.engine.faults.is_gone(job.id):
        raise ApiError(404, f"The BatchPredictionJob does not exist: {name}")
    return job


def retrieve(world: World, request: Request) -> Reply:
    job = _job(world, request)
    world.engine.ledger.poll(job.id, time.time())
    return Reply.json(_shown(job, request))


def list_jobs(world: World, request: Request) -> Reply:
    parent = f"projects/{request.params['project']}/locations/{request.params['location']}/"
    wanted = request.argument("filter") or ""
    size = request.number("pageSize", PAGE, 0, 1 << 30) or PAGE
    start = int(request.argument("pageToken") or "0")
    with world.vertex.lock:
        jobs = [job for job in world.vertex.jobs.values() if job.name.startswith(parent)]
    jobs = [job for job in reversed(jobs) if not world.engine.faults.is_gone(job.id)]
    jobs = [job for job in jobs if not wanted or vertex_filter.matches(job, wanted)]
    page = jobs[start : start + size]
    shown: Json = {"batchPredictionJobs": [_shown(job, request) for job in page]} if page else {}
    if len(jobs) > start + size:
        shown["nextPageToken"] = str(start + size)
    return Reply.json(shown)


def cancel(world: World, request: Request) -> Reply:
    job = _job(world, request)
    if job.state in TERMINAL:
        message = f"The job {job.name} is in state {job.state} and cannot be cancelled."
        raise ApiError(400, message, code="FAILED_PRECONDITION")
    if job.state != "JOB_STATE_CANCELLING":
        world.vertex.cancel(job)
    return Reply.json({})


def delete(world: World, request: Request) -> Reply:
    job = _job(world, request)
    if job.state not in TERMINAL:
        message = f"The job {job.name} is in state {job.state} and cannot be deleted."
        raise ApiError(400, message, code="FAILED_PRECONDITION")
    if world.engine.faults.is_undeletable(job.id):
        raise ApiError(500, "Internal error encountered.")
    return _operation(world, world.vertex.delete(job))


def operation(world: World, request: Request) -> Reply:
    name = request.params["operation"]
    if name not in world.vertex.operations:
        raise ApiError(404, f"The operation does not exist: {name}")
    return _operation(world, name)


def _operation(world: World, name: str) -> Reply:
    shown: Json = {"name": name, "metadata": {"@type": METADATA, "genericMetadata": {}}}
    if world.vertex.operations[name] <= time.time():
        shown |= {"done": True, "response": {"@type": EMPTY}}
    return Reply.json(shown)


def _route(operation: str, method: str, path: str, handle: Any, target: str | None = None) -> Route:
    pattern = re.compile(f"(?:/vertex)?/(?:v1|v1beta1|ui)/{path}")
    return Route("vertex", operation, method, pattern, handle, authorize, target)


PARENT = "projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
JOBS = f"{PARENT}/batchPredictionJobs"
JOB = f"{JOBS}/(?P<id>[^/:]+)"
OPERATION = "(?P<operation>projects/[^/]+/locations/[^/]+/operations/[^/]+)"
ROUTES = [
    _route("create", "POST", JOBS, create),
    _route("list", "GET", JOBS, list_jobs),
    _route("retrieve", "GET", JOB, retrieve, "id"),
    _route("cancel", "POST", f"{JOB}:cancel", cancel, "id"),
    _route("delete", "DELETE", JOB, delete, "id"),
    _route("operation", "GET", OPERATION, operation),
]
