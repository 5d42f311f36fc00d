"""Turns the event of an upload into a job: exactly one, however often it is delivered."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

import msgspec

from functions.batch.ledger_ports import Ledger
from functions.batch.model import Job, now
from functions.batch.ports import Workflows

_RECIPES = ("recipe.yaml", "recipe.yml", "recipe.json")
_FILES_FOLDER = "_files/"
LEDGER_MARGIN_DAYS = 60
"""The ledger remembers a job for longer than its results are kept."""


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One `Object Created` event; `sequencer` orders the uploads to one key."""

    bucket: str
    key: str
    size: int
    sequencer: str
    etag: str | None = None
    version_id: str | None = None


def job_id(upload: Upload) -> str:
    """A readable beginning and a hash: the same for every delivery of the event, another for a
    new upload to the same key. At most 41 characters of `[a-z0-9-]`."""
    name = upload.key.rsplit("/", 1)[-1].split(".", 1)[0].lower()
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:24].strip("-") or "job"
    identity = "\0".join((upload.bucket, upload.key, upload.sequencer))
    return f"{slug}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def is_job(key: str) -> bool:
    """Recipes, folders, and the documents that rows refer to are not jobs."""
    if key.endswith("/") or key.rsplit("/", 1)[-1] in _RECIPES:
        return False
    return f"/{_FILES_FOLDER}" not in f"/{key}"


def take_in(
    upload: Upload, *, ledger: Ledger, workflows: Workflows, retention_days: int
) -> str | None:
    """The id of the upload's job, or None if the object is none.

    The record is written before the workflow starts, and a redelivery starts it again only while
    nothing has happened yet: starting is idempotent by name, but names are forgotten in time.
    """
    if not is_job(upload.key):
        return None
    identity = job_id(upload)
    keep = (retention_days + LEDGER_MARGIN_DAYS) * 86_400
    job = Job(
        job_id=identity,
        bucket=upload.bucket,
        key=upload.key,
        bytes=upload.size,
        version_id=upload.version_id,
        etag=upload.etag,
        created_at=now(),
        expires_at=int(datetime.now(UTC).timestamp()) + keep,
    )
    if ledger.create_job(job) or ledger.job(identity).status == "planning":
        workflows.start_job(identity)
    return identity
