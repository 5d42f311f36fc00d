"""The uploads, each read as it was when its event was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from itertools import accumulate
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from functions.aws.objects import code_of, read_pieces
from functions.batch.errors import InputChanged
from functions.batch.model import Job

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "PreconditionFailed", "412"})
_MOST_KEY_BYTES = 1_024
_RECIPES = ("recipe.yaml", "recipe.yml", "recipe.json")


class Inbox:
    """See `functions.batch.ports.InputFiles`. The bucket is the one that a job's event named."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def pin(self, job: Job) -> Job:
        version = job.version_id or self._version_with_etag(job)
        try:
            head = self._s3.head_object(**_where(job, version))
        except ClientError as error:
            raise _changed(error, job, "before") from error
        return msgspec.structs.replace(job, version_id=version, bytes=head["ContentLength"])

    def _version_with_etag(self, job: Job) -> str | None:
        """Events may come without a version: the newest one with the event's ETag then."""
        if job.etag is None:
            return None
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=job.bucket, Prefix=job.key
        )
        for page in pages:
            for version in page.get("Versions", ()):
                if version["Key"] == job.key and version["ETag"].strip('"') == job.etag.strip('"'):
                    found: str = version["VersionId"]
                    return None if found == "null" else found
        return None

    def recipe(self, job: Job) -> str | None:
        folder = job.key.rpartition("/")[0]
        while True:
            prefix = f"{folder}/" if folder else ""
            for name in _RECIPES:
                if self._exists(job.bucket, prefix + name):
                    return prefix + name
            if not folder:
                return None
            folder = folder.rpartition("/")[0]

    def beside(self, job: Job, key: str, most: int) -> bytes | None:
        if not _is_key(key):
            return None
        try:
            answer = self._s3.get_object(Bucket=job.bucket, Key=key)
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
        with closing(answer["Body"]) as body:
            data: bytes = body.read(most)
        return data

    def charset(self, job: Job) -> str | None:
        try:
            head = self._s3.head_object(**_where(job, job.version_id))
        except ClientError as error:
            raise _changed(error, job, "before") from error
        message = Message()
        message["Content-Type"] = head.get("ContentType", "")
        charset = message.get_param("charset")
        return charset if isinstance(charset, str) else None

    def _exists(self, bucket: str, key: str) -> bool:
        if not _is_key(key):
            return False
        try:
            self._s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in _GONE:
                return False
            raise
        return True

    def chunks(self, job: Job, start: int) -> Iterator[bytes]:
        try:
            yield from read_pieces(self._s3, start, **_where(job, job.version_id))
        except ClientError as error:
            raise _changed(error, job, "while") from error


def _is_key(key: str) -> bool:
    """Whether S3 would look for it. What is too long, or leads out of the bucket, it answers with
    400, as it does much else, and a row that names such a one would break its whole job
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)."""
    steps = accumulate(-1 if name == ".." else 1 for name in key.split("/"))
    return len(key.encode()) <= _MOST_KEY_BYTES and min(steps) >= 0


def _changed(error: ClientError, job: Job, when: str) -> Exception:
    if code_of(error) not in _GONE:
        return error
    return InputChanged(f"{job.key!r} was deleted or replaced {when} it was read. Drop it again.")


def _where(job: Job, version: str | None) -> dict[str, str]:
    where = {"Bucket": job.bucket, "Key": job.key}
    if version is not None:
        return {**where, "VersionId": version}
    return where if job.etag is None else {**where, "IfMatch": f'"{job.etag.strip(chr(34))}"'}
