"""Vertex's part of the simulator, driven by JobServiceClient and google-cloud-storage only."""
# pyright: basic

import importlib.util
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.aiplatform_v1 import JobServiceClient
from google.cloud.aiplatform_v1.types import BatchPredictionJob, JobState

from local.simulator import answers
from local.simulator.process import Simulator, until

PARENT = "projects/p/locations/us-central1"
GEMINI = "publishers/google/models/gemini-2.5-flash"
OVER = {
    JobState.JOB_STATE_SUCCEEDED,
    JobState.JOB_STATE_FAILED,
    JobState.JOB_STATE_CANCELLED,
    JobState.JOB_STATE_EXPIRED,
    JobState.JOB_STATE_PARTIALLY_SUCCEEDED,
}


@dataclass
class Cloud:
    jobs: JobServiceClient
    bucket: storage.Bucket

    def submit(self, rows: list[Any], model: str = GEMINI, **more: Any) -> BatchPredictionJob:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        self.bucket.blob("in/rows.jsonl").upload_from_string("\n".join(lines))
        job: dict[str, Any] = {
            "display_name": "job-1",
            "model": model,
            "input_config": {
                "instances_format": "jsonl",
                "gcs_source": {"uris": ["gs://pile/in/rows.jsonl"]},
            },
            "output_config": {
                "predictions_format": "jsonl",
                "gcs_destination": {"output_uri_prefix": "gs://pile/out"},
            },
            "labels": {"attempt": "1"},
            **more,
        }
        return self.jobs.create_batch_prediction_job(
            parent=PARENT, batch_prediction_job=BatchPredictionJob(job)
        )

    def get(self, job: BatchPredictionJob) -> BatchPredictionJob:
        return self.jobs.get_batch_prediction_job(name=job.name)

    def ended(self, job: BatchPredictionJob) -> BatchPredictionJob:
        return until(lambda: self.get(job), lambda now: now.state in OVER)

    def run(self, rows: list[Any], **more: Any) -> BatchPredictionJob:
        return self.ended(self.submit(rows, **more))

    def read(self, job: BatchPredictionJob) -> list[dict[str, Any]]:
        prefix = job.output_info.gcs_output_directory.removeprefix("gs://pile/")
        found: list[dict[str, Any]] = []
        for blob in self.bucket.list_blobs(prefix=f"{prefix}/"):
            lines = blob.download_as_bytes().split(b"\n")
            found += [json.loads(line) for line in lines if line]
        return found


@pytest.fixture(params=["", "/vertex"])
def cloud(simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    endpoint = simulator.url + request.param
    client = storage.Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"{simulator.url}/gcs"},
    )
    with JobServiceClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": endpoint},
    ) as jobs:
        yield Cloud(jobs, client.bucket("pile"))
    client.close()


at_root = pytest.mark.parametrize("cloud", [""], indirect=True)


def ask(text: str, key: str = "k", **more: Any) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    return {"key": key, "request": {**request, "labels": {"row": key}}}


def test_every_row_is_answered_in_several_files(cloud: Cloud, simulator: Simulator) -> None:
    rows = [ask(f"text {number}", f"row-{number}") for number in range(30)]
    job = cloud.run(rows)
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    assert job.completion_stats.successful_count == 30
    prefix = "gs://pile/out/prediction-model-"
    assert job.output_info.gcs_output_directory.startswith(prefix)
    assert len(list(cloud.bucket.list_blobs(prefix="out/"))) == 3
    found = cloud.read(job)
    assert [line["key"] for line in found] != [row["key"] for row in rows]
    sent = {row["key"]: row["request"] for row in rows}
    for line in found:
        request = sent.pop(line["key"])
        assert (line["status"], line["request"]) == ("", request)
        digest = answers.digest({"contents": request["contents"]})
        text = request["contents"][0]["parts"][0]["text"]
        (candidate,) = line["response"]["candidates"]
        assert candidate["content"]["parts"] == [{"text": f"echo {digest} {text}"}]
    assert not sent
    books = simulator.ledger()
    assert books["providers"]["vertex"]["rows_answered"] == 30
    total = sum(line["response"]["usageMetadata"]["totalTokenCount"] for line in found)
    tokens = books["tokens"]["vertex/gemini-2.5-flash"]
    assert tokens["input"] + tokens["output"] == total


@at_root
def test_states_follow_each_other(cloud: Cloud, simulator: Simulator) -> None:
    simulator.admin("settings", {"batch_seconds": 2})
    job = cloud.submit([ask("hi", str(number)) for number in range(16)])
    seen = [job.state.name]
    assert "completion_stats" not in job

    def look() -> BatchPredictionJob:
        now = cloud.get(job)
        if now.state.name != seen[-1]:
            seen.append(now.state.name)
        return now

    until(look, lambda now: now.state in OVER)
    assert seen == [f"JOB_STATE_{name}" for name in ("PENDING", "QUEUED", "RUNNING", "SUCCEEDED")]


@at_root
def test_bodies_fit_the_discovery_document(cloud: Cloud, simulator: Simulator) -> None:
    job = cloud.run([ask("hi"), ask("[[sim:status=429]]")])
    with urllib.request.urlopen(f"{simulator.url}/v1/{job.name}") as reply:
        body = json.loads(reply.read())
    assert body["state"] == "JOB_STATE_SUCCEEDED"
    assert body["completionStats"] == {
        "successfulCount": "1",
        "failedCount": "1",
        "incompleteCount": "0",
    }
    document = discovery_document()
    if document is None:
        pytest.skip("google-api-python-client is not installed")
    schemas = json.loads(document.read_text())["schemas"]
    fits(body, schemas["GoogleCloudAiplatformV1BatchPredictionJob"], schemas)


def discovery_document() -> Path | None:
    spec = importlib.util.find_spec("googleapiclient")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "discovery_cache/documents/aiplatform.v1.json"


def fits(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    match schema["type"]:
        case "object":
            assert isinstance(value, dict)
            for name, item in value.items():
                kind = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
                assert kind, f"unknown field {name}"
                fits(item, kind, schemas)
        case "array":
            for item in value:
                fits(item, schema["items"], schemas)
        case "string":
            assert isinstance(value, str)
            assert value in schema.get("enum", [value])
        case "integer":
            assert isinstance(value, int)


@at_root
def test_failed_rows_say_why(cloud: Cloud) -> None:
    marks = ["status=400", "status=429", "overloaded", "null_error", "missing", "policy", "say=yes"]
    rows = [ask(f"[[sim:{mark}]]", f"row-{mark[:6]}-{n}") for n, mark in enumerate(marks)]
    rows.append({"key": "empty", "request": {"contents": [{"role": "user"}]}})
    job = cloud.run(rows)
    found = {line["key"]: line for line in cloud.read(job)}
    statuses = {key: line.get("status", "") for key, line in found.items()}
    assert statuses["row-status-0"].startswith("Bad Request: {")
    error = json.loads(statuses["row-status-1"].partition(": ")[2])["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "UNAVAILABLE" in statuses["row-overlo-2"]
    assert set(found["row-null_e-3"]) == {"key", "request"}
    assert "row-missin-4" not in found
    assert "candidates" not in found["row-policy-5"]["response"]
    assert statuses["empty"].startswith("Bad Request")
    (candidate,) = found["row-say=ye-6"]["response"]["candidates"]
    assert candidate["content"]["parts"] == [{"text": "yes"}]
    assert job.completion_stats.failed_count == 4


@at_root
@pytest.mark.parametrize(
    "bad",
    [
        "{nonsense",
        {"key": 7, "request": {"contents": []}},
        ask("hi", generationConfig={"responseSchema": {"$ref": "x"}}),
        ask("hi", generationConfig={}),
        ask("[[sim:poison]]"),
        {"request": json.loads('{"a":' * 17 + "1" + "}" * 17)},
    ],
)
def test_one_bad_row_fails_the_import(cloud: Cloud, bad: Any) -> None:
    job = cloud.run([ask("fine"), bad])
    assert job.state == JobState.JOB_STATE_FAILED
    assert job.error.code == 3
    assert job.error.message.startswith("Failed to import data")
    assert not job.output_info.gcs_output_directory


@at_root
def test_keys_that_look_like_numbers_come_back_as_numbers(cloud: Cloud) -> None:
    found = cloud.read(
        cloud.run([ask("a", "17"), ask("b", "0x1"), ask("c", "1.5"), ask("d", "007")])
    )
    assert {line["key"] for line in found} == {17, "0x1", 1.5, "007"}


@at_root
def test_embeddings(cloud: Cloud) -> None:
    content = {"parts": [{"text": "hello"}]}
    config = {"output_dimensionality": 8}
    rows = [{"key": "a", "request": {"content": content, "embed_content_config": config}}]
    model = "publishers/google/models/gemini-embedding-001"
    (line,) = cloud.read(cloud.run(rows, model=model))
    assert line["key"] == "a"
    assert len(line["response"]["embedding"]["values"]) == 8
    older = "publishers/google/models/text-embedding-005"
    (line,) = cloud.read(cloud.run([{"content": "hello"}], model=older))
    assert len(line["predictions"][0]["embeddings"]["values"]) == 768


@at_root
def test_cancelling_exports_the_finished_part(cloud: Cloud, simulator: Simulator) -> None:
    simulator.admin("settings", {"batch_seconds": 2})
    job = cloud.submit([ask(f"text {number}", f"row-{number}") for number in range(40)])
    until(lambda: cloud.get(job), lambda now: now.completion_stats.successful_count > 0)
    cloud.jobs.cancel_batch_prediction_job(name=job.name)
    assert cloud.get(job).state == JobState.JOB_STATE_CANCELLING
    final = cloud.ended(job)
    assert (final.state, final.error.code) == (JobState.JOB_STATE_CANCELLED, 1)
    done = [line for line in cloud.read(final) if "response" in line]
    assert 0 < len(done) == final.completion_stats.successful_count < 40
    with pytest.raises(exceptions.BadRequest):
        cloud.jobs.cancel_batch_prediction_job(name=job.name)


@at_root
def test_jobs_are_found_by_name_label_and_state(cloud: Cloud) -> None:
    first = cloud.run([ask("hi")])
    second = cloud.submit([ask("hi")], display_name="other", labels={"attempt": "2"})

    def names(text: str) -> list[str]:
        wanted = {"parent": PARENT, "filter": text, "page_size": 1}
        return [job.name for job in cloud.jobs.list_batch_prediction_jobs(wanted)]

    assert names("") == [second.name, first.name]
    assert names('display_name="job-1"') == [first.name]
    assert names('display_name:"oth*"') == [second.name]
    assert names("labels.attempt=2") == [second.name]
    assert names('state="JOB_STATE_SUCCEEDED" AND labels.attempt="1"') == [first.name]
    assert names('NOT display_name="other" OR labels.attempt="2"') == [second.name, first.name]
    with pytest.raises(exceptions.BadRequest):
        names("colour=red")


@at_root
def test_deleting_is_an_operation(cloud: Cloud) -> None:
    job = cloud.submit([ask("hi")])
    with pytest.raises(exceptions.BadRequest):
        cloud.jobs.delete_batch_prediction_job(name=job.name)
    cloud.ended(job)
    cloud.jobs.delete_batch_prediction_job(name=job.name).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        cloud.get(job)


@at_root
def test_bad_creates_are_refused(cloud: Cloud, simulator: Simulator) -> None:
    simulator.admin("settings", {"closed_models": ["gemini-2.0-flash"]})
    for model in ("llama", "gemini-2.0-flash"):
        with pytest.raises(exceptions.NotFound):
            cloud.submit([ask("hi")], model=f"publishers/google/models/{model}")
    with pytest.raises(exceptions.BadRequest):
        cloud.submit([ask("hi")], labels={"Upper": "x"})


@at_root
def test_a_missing_bucket_fails_the_job_later(cloud: Cloud, simulator: Simulator) -> None:
    target = {"output_uri_prefix": "gs://nowhere/out"}
    simulator.admin("settings", {"missing_buckets": ["nowhere"]})
    wanted = {"predictions_format": "jsonl", "gcs_destination": target}
    assert cloud.run([ask("hi")], output_config=wanted).error.code == 9


@at_root
@pytest.mark.parametrize(
    ("fault", "state", "answered"),
    [
        ({"kind": "expire_at"}, JobState.JOB_STATE_EXPIRED, 0),
        ({"kind": "expire_at", "fraction": 0.5}, JobState.JOB_STATE_EXPIRED, 4),
        ({"kind": "batch_failed", "code": "13"}, JobState.JOB_STATE_FAILED, 0),
        (
            {"kind": "state", "state": "JOB_STATE_PARTIALLY_SUCCEEDED"},
            JobState.JOB_STATE_PARTIALLY_SUCCEEDED,
            8,
        ),
    ],
)
def test_jobs_may_end_otherwise(
    cloud: Cloud, simulator: Simulator, fault: dict[str, Any], state: JobState, answered: int
) -> None:
    simulator.fault("vertex", "create", **fault)
    job = cloud.run([ask(f"text {number}", f"row-{number}") for number in range(8)])
    assert job.state == state
    found = cloud.read(job) if job.output_info.gcs_output_directory else []
    assert sum("response" in line for line in found) == answered


@at_root
def test_jobs_may_be_stuck_or_gone(cloud: Cloud, simulator: Simulator) -> None:
    simulator.fault("vertex", "create", "stuck", state="JOB_STATE_PAUSED")
    job = cloud.submit([ask("hi")])
    until(lambda: cloud.get(job), lambda now: now.state == JobState.JOB_STATE_PAUSED)
    cloud.jobs.cancel_batch_prediction_job(name=job.name)
    assert cloud.ended(job).state == JobState.JOB_STATE_CANCELLED
    simulator.fault("vertex", "retrieve", "gone")
    for _ in range(2):
        with pytest.raises(exceptions.NotFound):
            cloud.get(job)


@at_root
def test_the_numbers_of_states_are_the_sdks(cloud: Cloud, simulator: Simulator) -> None:
    job = cloud.run([ask("hi")])
    query = urllib.parse.urlencode({"$alt": "json;enum-encoding=int"})
    with urllib.request.urlopen(f"{simulator.url}/v1/{job.name}?{query}") as reply:
        assert json.loads(reply.read())["state"] == JobState.JOB_STATE_SUCCEEDED.value
