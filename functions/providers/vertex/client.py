"""Vertex AI's batch prediction jobs, over the official SDK's REST transport.

A job reads one object of Cloud Storage and writes others; all of them lie below
`batchdrop/<stack>/<job>/<shard>/<attempt>/`. Retries are off and every call has a timeout, which
this SDK does not give it.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from google.cloud import storage

from functions.batch.errors import Missing, Refused, Unavailable
from functions.batch.model import BatchState, Owned, ProviderFile, ProviderObject, Tag
from functions.batch.rows import Group
from functions.providers.downloads import full_blocks
from functions.providers.running import LIST_SECONDS, Running
from functions.providers.vertex import credentials
from functions.providers.vertex.failures import translated
from functions.providers.vertex.names import (
    STACK_LABEL,
    display_name,
    is_our_object,
    is_ours,
    labels,
    model_name,
    prefix,
    shard_of,
    stack_label,
    stack_prefix,
)
from functions.providers.vertex.sdk import BatchPredictionJob, JobServiceClient
from functions.providers.vertex.states import batch_state, is_dead, outcome_of
from functions.providers.vertex.storage import Bucket

TIMEOUT_SECONDS = 60.0
_CLOCK_SKEW = timedelta(minutes=10)
"""How much earlier than our intent Google's clock may say that something was created."""

_DELETED_WITHIN = 4.0
_SERVICE = "Vertex AI"
_PAGE = 100

OBJECT = "gcs_object"
JOB = "batch_job"


class Connection(msgspec.Struct, frozen=True):
    """`parent` is the project's place at Vertex."""

    jobs: JobServiceClient
    files: storage.Client
    bucket: Bucket
    parent: str

    def close(self) -> None:
        self.jobs.transport.close()
        self.files.close()


def make_client(secret: str, vertex_base_url: str = "", gcs_base_url: str = "") -> Connection:
    """Empty addresses mean Google's own. Raises `KeyMissing` for a secret that is none."""
    key = credentials.read(secret)
    identity = credentials.credentials(key)
    jobs = JobServiceClient(
        credentials=identity,
        transport="rest",
        client_options={"api_endpoint": _endpoint(vertex_base_url, key.location)},
    )
    files = storage.Client(
        project=key.project,
        credentials=identity,
        client_options={"api_endpoint": gcs_base_url.rstrip("/")} if gcs_base_url else None,
    )
    # Else each call starts a thread that asks for the bucket's own data, for the sake of traces.
    setattr(files, "_bucket_metadata_cache", None)  # noqa: B010
    parent = f"projects/{key.project}/locations/{key.location}"
    return Connection(jobs, files, Bucket(files, key.bucket), parent)


def _endpoint(base_url: str, location: str) -> str:
    if base_url:
        return base_url.rstrip("/").removesuffix("/v1")
    prefix = "" if location == "global" else f"{location}-"
    return f"https://{prefix}aiplatform.googleapis.com"


class VertexProvider:
    """See `functions.batch.ports.Provider`. A staged object is named for its attempt; every
    object below a shard's prefix is the shard's."""

    name = "vertex"
    uses_staged_files = True
    keeps_together = True
    batch_kind: str | None = JOB

    def __init__(self, connection: Connection) -> None:
        self._jobs: Any = connection.jobs
        self._bucket = connection.bucket
        self._parent = connection.parent
        self._running = Running(self._newest)

    def stage(self, path: Path, tag: Tag) -> list[ProviderObject]:
        address = self._bucket.upload(path, f"{prefix(tag)}{tag.attempt}/input.jsonl")
        return [ProviderObject(kind=OBJECT, id=address)]

    def find_staged(self, tag: Tag, since: str) -> list[ProviderObject]:
        found = self._bucket.list(self._bucket.address(prefix(tag)))
        return [ProviderObject(kind=OBJECT, id=address) for address in found]

    def create(
        self, path: Path | None, tag: Tag, group: Group, staged: Sequence[str], rows: int
    ) -> str:
        output = self._bucket.address(f"{prefix(tag)}{tag.attempt}/output")
        job = BatchPredictionJob(
            {
                "display_name": display_name(tag),
                "model": model_name(group.model),
                "labels": labels(tag),
                "input_config": {
                    "instances_format": "jsonl",
                    "gcs_source": {"uris": [staged[0]]},
                },
                "output_config": {
                    "predictions_format": "jsonl",
                    "gcs_destination": {"output_uri_prefix": output},
                },
            }
        )
        with translated(_SERVICE, creating=True):
            made = self._jobs.create_batch_prediction_job(
                parent=self._parent,
                batch_prediction_job=job,
                retry=None,
                timeout=TIMEOUT_SECONDS,
            )
        if not made.name:
            raise Unavailable("odd_answer", f"{_SERVICE}'s answer to a create holds no name.")
        return made.name

    def find_batches(self, tag: Tag, since: str, rows: int) -> list[str]:
        earliest = datetime.fromisoformat(since) - _CLOCK_SKEW
        request = {
            "parent": self._parent,
            "filter": f'display_name="{display_name(tag)}"',
            "page_size": _PAGE,
        }
        with translated(_SERVICE):
            jobs = self._jobs.list_batch_prediction_jobs(
                request=request, retry=None, timeout=TIMEOUT_SECONDS
            )
            found = {
                job.name: is_dead(job)
                for job in jobs
                if (job.create_time or earliest) >= earliest and is_ours(job.labels, tag)
            }
        return [name for name, dead in found.items() if not dead] or list(found)

    def running(self, batch_id: str) -> BatchState | None:
        return self._running.state(batch_id)

    def poll(self, batch_id: str) -> BatchState:
        job = self._job(batch_id)
        return batch_state(job, self._left(job) if outcome_of(job) is not None else [])

    def _newest(self, pages: int) -> Iterator[tuple[str, BatchState]]:
        request = {"parent": self._parent, "page_size": _PAGE}
        with translated(_SERVICE):
            jobs = self._jobs.list_batch_prediction_jobs(
                request=request, retry=None, timeout=LIST_SECONDS
            )
            for job in islice(jobs, pages * _PAGE):
                if outcome_of(job) is None:
                    yield job.name, batch_state(job, [])

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        """Of all files, whatever they are called: a line that is no answer does no harm."""
        for output in outputs:
            if output.startswith("gs://"):
                yield from full_blocks(self._bucket.chunks(output))

    def cancel(self, batch_id: str) -> None:
        """A job that has ended meanwhile needs no cancelling."""
        try:
            with translated(_SERVICE):
                self._jobs.cancel_batch_prediction_job(
                    name=batch_id, retry=None, timeout=TIMEOUT_SECONDS
                )
        except Refused:
            return

    def delete(self, file: ProviderFile) -> None:
        """A job's deletion takes time. One that is not done in seconds is told, and asked for
        again later: then the job is gone, or the deletion was not to be."""
        if file.kind == OBJECT:
            self._bucket.delete(file.id)
            return
        with translated(_SERVICE):
            self._jobs.delete_batch_prediction_job(
                name=file.id, retry=None, timeout=TIMEOUT_SECONDS
            )
        ends = time.monotonic() + _DELETED_WITHIN
        while self._exists(file.id):
            if time.monotonic() > ends:
                raise Unavailable("deleting", f"{_SERVICE} is still deleting {file.id}.")
            time.sleep(0.5)

    def owned(self, stack: str, since: str) -> Iterator[Owned]:
        for address, made in self._bucket.dated(self._bucket.address(stack_prefix(stack))):
            which = shard_of(address)
            if which is not None:
                yield Owned(
                    kind=OBJECT, id=address, created_at=made, job_id=which[0], shard_id=which[1]
                )
        request = {
            "parent": self._parent,
            "filter": f'labels.{STACK_LABEL}="{stack_label(stack)}"',
            "page_size": _PAGE,
        }
        with translated(_SERVICE):
            for job in self._jobs.list_batch_prediction_jobs(
                request=request, retry=None, timeout=TIMEOUT_SECONDS
            ):
                marks = job.labels
                made = (job.create_time or datetime.now(UTC)).isoformat()
                if marks.get(STACK_LABEL) == stack_label(stack) and made >= since:
                    yield Owned(
                        kind=JOB,
                        id=job.name,
                        created_at=made,
                        job_id=marks["batchdrop_job"],
                        shard_id=marks["batchdrop_shard"],
                    )

    def _job(self, name: str) -> Any:
        with translated(_SERVICE):
            return self._jobs.get_batch_prediction_job(
                name=name, retry=None, timeout=TIMEOUT_SECONDS
            )

    def _exists(self, name: str) -> bool:
        try:
            self._job(name)
        except Missing:
            return False
        return True

    def _left(self, job: Any) -> list[ProviderObject]:
        """What has to be deleted once the job has ended: what it wrote, and the job."""
        asked = job.output_config.gcs_destination.output_uri_prefix
        told = job.output_info.gcs_output_directory
        found = dict.fromkeys(self._below(asked) + self._below(told))
        objects = [ProviderObject(kind=OBJECT, id=address) for address in found]
        return [*objects, ProviderObject(kind=JOB, id=job.name)]

    def _below(self, directory: str) -> list[str]:
        """Objects of a directory of ours. Any other is left alone: they are to be deleted."""
        return self._bucket.written(directory.rstrip("/")) if is_our_object(directory) else []
