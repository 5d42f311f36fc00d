from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError, TransportError
from google.protobuf.json_format import ParseError

from functions.batch import errors
from functions.batch.model import ProviderFile, Tag
from functions.batch.rows import Group
from functions.batch.streams.lines import rows_of
from functions.providers.vertex.client import VertexProvider, make_client
from functions.providers.vertex.failures import translated
from functions.providers.vertex.names import display_name, labels
from functions.providers.vertex.sdk import BatchPredictionJob

KEY = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}
TAG = Tag(stack="Batchdrop", job_id="july-0123456789abcdef", shard_id="r01-0002", attempt=3)
GROUP = Group("vertex", "generateContent", "gemini-2.5-flash")
NAME = "projects/p-1/locations/us-central1/batchPredictionJobs/7"


@pytest.fixture(scope="module")
def discovery() -> dict[str, Any]:
    """Google's own description of the service, as google-api-python-client ships it."""
    shipped = files("googleapiclient") / "discovery_cache/documents/aiplatform.v1.json"
    return json.loads(shipped.read_text())


class Calls(list[tuple[str, str, Any]]):
    """What a server was asked. `answers` maps a method to status and body."""

    url: str
    answers: dict[str, tuple[int, Any]]


@pytest.fixture
def calls() -> Iterator[Calls]:
    seen = Calls()
    seen.answers = {}

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size) or b"null")
            seen.append((self.command, self.path, body))
            status, reply = seen.answers.get(self.command, (200, {"name": NAME}))
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


@pytest.fixture
def provider(calls: Calls) -> Iterator[VertexProvider]:
    with closing(make_client(json.dumps(KEY), calls.url, f"{calls.url}/gcs")) as connection:
        yield VertexProvider(connection)


class Chunks(dict[str, list[bytes]]):
    def chunks(self, address: str) -> list[bytes]:
        return self[address]


def check(schemas: dict[str, Any], name: str, value: dict[str, Any]) -> None:
    """That an object has only the fields that the service's description names, of their types."""
    properties = schemas[name]["properties"]
    for key, field in value.items():
        told = properties[key]
        if "$ref" in told:
            check(schemas, told["$ref"], field)
        elif told["type"] == "array":
            assert isinstance(field, list)
        elif told["type"] == "object":
            assert all(isinstance(inner, str) for inner in field.values())
        else:
            assert isinstance(field, {"string": str, "boolean": bool}[told["type"]])


def test_a_create_is_what_the_service_describes(
    provider: VertexProvider, calls: Calls, discovery: dict[str, Any]
) -> None:
    staged = "gs://batches/batchdrop/Batchdrop/j/r/1/input.jsonl"
    assert provider.create(None, TAG, GROUP, [staged], 5) == NAME
    ((verb, path, body),) = calls
    jobs = discovery["resources"]["projects"]["resources"]["locations"]["resources"]
    method = jobs["batchPredictionJobs"]["methods"]["create"]
    wanted = method["path"].replace("{+parent}", "projects/p-1/locations/us-central1")
    assert (verb, path.split("?")[0]) == (method["httpMethod"], f"/{wanted}")
    check(discovery["schemas"], method["request"]["$ref"], body)
    assert body["model"] == "publishers/google/models/gemini-2.5-flash"
    assert body["inputConfig"] == {"instancesFormat": "jsonl", "gcsSource": {"uris": [staged]}}
    prefix = "gs://batches/batchdrop/Batchdrop/july-0123456789abcdef/r01-0002/3/output"
    assert body["outputConfig"] == {
        "predictionsFormat": "jsonl",
        "gcsDestination": {"outputUriPrefix": prefix},
    }
    assert body["labels"] == labels(TAG)


def test_a_create_is_tried_once(provider: VertexProvider, calls: Calls) -> None:
    for status, kind in (
        (503, errors.Unavailable),
        (429, errors.OverCapacity),
        (404, errors.Refused),
        (400, errors.Refused),
        (403, errors.AccountBlocked),
        (401, errors.AccountBlocked),
    ):
        calls.clear()
        calls.answers["POST"] = (status, {"error": {"code": status, "message": "no"}})
        with pytest.raises(kind) as caught:
            provider.create(None, TAG, GROUP, ["gs://batches/x"], 5)
        assert len(calls) == 1
        assert "no" in caught.value.message
    calls.answers["POST"] = (404, {"error": {"message": "no", "status": "NOT_FOUND"}})
    with pytest.raises(errors.Refused, match="model_not_found"):
        provider.create(None, TAG, GROUP, ["gs://batches/x"], 5)
    calls.answers["POST"] = (200, b'{"name": "proj')
    with pytest.raises(errors.Unavailable):
        provider.create(None, TAG, GROUP, ["gs://batches/x"], 5)


def test_a_batch_is_looked_for_by_its_name_and_known_by_its_labels(
    provider: VertexProvider, calls: Calls
) -> None:
    mine = {"labels": labels(TAG), "createTime": "2026-11-21T10:00:00Z"}
    found = [
        {**mine, "name": "1"},
        {**mine, "name": "2", "labels": {}},
        {**mine, "name": "3", "createTime": "2026-11-20T10:00:00Z"},
    ]
    calls.answers["GET"] = (200, {"batchPredictionJobs": found})
    assert provider.find_batches(TAG, "2026-11-21T10:01:00.000Z", 5) == ["1"]
    ((_, path, _),) = calls
    assert unquote(path).count(display_name(TAG).replace(" ", "+")) == 1


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        (["JOB_STATE_CANCELLED", "JOB_STATE_RUNNING"], ["1"]),
        (["JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"], ["0"]),
        (["JOB_STATE_CANCELLED"], ["0"]),
        (["JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"], ["0", "1"]),
    ],
)
def test_of_several_jobs_those_that_were_cancelled_do_not_count(
    provider: VertexProvider, calls: Calls, states: list[str], wanted: list[str]
) -> None:
    jobs = [{"name": f"{n}", "state": state} for n, state in enumerate(states)]
    mine = [{**job, "labels": labels(TAG), "createTime": "2026-11-21T10:00:00Z"} for job in jobs]
    calls.answers["GET"] = (200, {"batchPredictionJobs": mine})
    assert provider.find_batches(TAG, "2026-11-21T10:01:00.000Z", 5) == wanted


@pytest.mark.parametrize("body", [{}, {"name": ""}, b"[]", b"", b"<html>"])
def test_a_create_without_a_name_leaves_the_outcome_unknown(
    provider: VertexProvider, calls: Calls, body: Any
) -> None:
    calls.answers["POST"] = (200, body)
    with pytest.raises(errors.Unavailable):
        provider.create(None, TAG, GROUP, ["gs://batches/x"], 5)


def test_answers_in_a_bucket_that_is_missing_are_not_taken_for_none(
    provider: VertexProvider, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "gs://batches/batchdrop/Batchdrop/j/s/1/output"
    done = BatchPredictionJob(
        {
            "name": NAME,
            "state": "JOB_STATE_SUCCEEDED",
            "output_config": {"gcs_destination": {"output_uri_prefix": prefix}},
        }
    )
    monkeypatch.setattr(provider, "_job", lambda _: done)
    calls.answers["GET"] = (404, {"error": {"message": "no such bucket"}})
    with pytest.raises(errors.AccountBlocked, match="bucket_missing"):
        provider.poll(NAME)


@pytest.mark.parametrize(
    "name", ["predictions.jsonl", "predictions_00001.jsonl", "prediction.results-00000-of-00002"]
)
def test_answers_are_read_whatever_their_file_is_called(
    provider: VertexProvider, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    address = f"gs://batches/batchdrop/Batchdrop/j/s/1/output/prediction-model-x/{name}"
    monkeypatch.setattr(provider, "_bucket", Chunks({address: [b'{"a": 1}\n{"b"', b": 2}\n\n"]}))
    assert list(rows_of(provider.answers([address, NAME]))) == [
        b'{"a": 1}',
        b'{"b": 2}',
    ]


def test_a_base_url_may_end_in_its_version() -> None:
    made = make_client(json.dumps(KEY), "https://gate.example/a/v1/", "")
    with closing(made):
        assert made.jobs.api_endpoint == "https://gate.example/a"


def test_a_deletion_that_lags_is_told(
    provider: VertexProvider, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.providers.vertex.client._DELETED_WITHIN", 0.6)
    file = ProviderFile(
        job_id="j", shard_id="s", provider="vertex", kind="batch_job", id=NAME, created_at="t"
    )
    calls.answers["DELETE"] = (200, {"name": "projects/p/locations/l/operations/1"})
    with pytest.raises(errors.Unavailable, match="still deleting"):
        provider.delete(file)
    calls.answers["GET"] = (404, {"error": {"message": "gone"}})
    provider.delete(file)
    calls.answers["DELETE"] = calls.answers["GET"]
    with pytest.raises(errors.Missing):
        provider.delete(file)


def test_cancelling_what_has_ended_is_no_error(provider: VertexProvider, calls: Calls) -> None:
    calls.answers["POST"] = (400, {"error": {"status": "FAILED_PRECONDITION", "message": "over"}})
    provider.cancel(NAME)
    calls.answers["POST"] = (404, {"error": {"message": "no such job"}})
    with pytest.raises(errors.Missing):
        provider.cancel(NAME)


def test_a_bucket_that_does_not_exist_is_for_a_person_to_make(
    provider: VertexProvider, calls: Calls, tmp_path: Any
) -> None:
    missing = (404, {"error": {"message": "The specified bucket does not exist."}})
    calls.answers |= {"POST": missing, "GET": missing}
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"{}" * 5_000_000)
    with pytest.raises(errors.AccountBlocked, match="batches"):
        provider.stage(path, TAG)


def test_an_upload_that_the_library_makes_no_sense_of_broke_off(
    provider: VertexProvider, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uploads(*_: object, **__: object) -> None:
        raise ValueError("Bytes stream is in unexpected state.")

    monkeypatch.setattr("google.cloud.storage.Blob.upload_from_file", uploads)
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"{}")
    with pytest.raises(errors.Unavailable, match="unexpected state"):
        provider.stage(path, TAG)


@contextmanager
def raised(error: Exception, *, creating: bool = False) -> Generator[Any]:
    with pytest.raises(errors.ProviderError) as caught, translated("Vertex", creating=creating):
        raise error
    yield caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.NotFound("x"), errors.Missing),
        (exceptions.TooManyRequests("x"), errors.Throttled),
        (exceptions.Aborted("x"), errors.Throttled),
        (exceptions.BadRequest("x"), errors.Refused),
        (exceptions.Forbidden("x"), errors.AccountBlocked),
        (exceptions.GatewayTimeout("x"), errors.Unavailable),
        (exceptions.Cancelled("x"), errors.Unavailable),
        (exceptions.RetryError("x", None), errors.Unavailable),
        (requests.ConnectionError("x"), errors.Unavailable),
        (requests.ReadTimeout("x"), errors.Unavailable),
        (TransportError("x"), errors.Unavailable),
        (RefreshError("x", retryable=True), errors.Unavailable),
        (RefreshError("x"), errors.AccountBlocked),
        (ParseError("x"), errors.Unavailable),
        (ConnectionResetError("x"), errors.Unavailable),
    ],
)
def test_googles_exceptions_as_ours(error: Exception, kind: type[errors.ProviderError]) -> None:
    with raised(error) as ours:
        assert type(ours) is kind
        assert ours.code
        assert "x" in ours.message


def test_a_project_new_to_vertex_is_waited_for(provider: VertexProvider, calls: Calls) -> None:
    told = "Service agents are being provisioned. So please try again in a few minutes."
    calls.answers["POST"] = (400, {"error": {"status": "FAILED_PRECONDITION", "message": told}})
    with pytest.raises(errors.Throttled):
        provider.create(None, TAG, GROUP, ["gs://batches/x"], 5)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_googles_own_addresses(location: str, host: str) -> None:
    with closing(make_client(json.dumps({**KEY, "location": location}))) as connection:
        assert connection.jobs.transport.host == host


def run(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_only_the_job_service_is_imported() -> None:
    run(
        """
import sys
import functions.providers.vertex.client
loaded = [name for name in sys.modules if name.startswith("google.cloud.aiplatform")]
services = [name for name in loaded if ".services." in name]
assert services and all(".job_service" in name for name in services), services
assert not any(name.startswith("google.cloud.aiplatform.") for name in loaded)
"""
    )


@pytest.mark.slow
def test_whoever_asks_the_package_for_more_gets_it() -> None:
    run(
        """
from functions.providers.vertex.sdk import JobServiceClient
from google.cloud.aiplatform_v1 import ModelServiceClient
from google.cloud.aiplatform_v1.types import Model
from google.cloud import aiplatform_v1
assert aiplatform_v1.JobServiceClient is JobServiceClient
assert not hasattr(aiplatform_v1, "nothing")
"""
    )
