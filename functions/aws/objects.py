"""S3 as streams: bounded ranged reads that resume, multipart writes that appear whole."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from functions.batch.errors import UploadGone
from functions.batch.work import Piece

PIECE = 8 * 1024 * 1024
_TRIES = 5
_TRANSFER = TransferConfig(multipart_threshold=PIECE * 2, multipart_chunksize=PIECE * 2)
_BROKEN = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, ConnectionError, OSError)


def code_of(error: ClientError) -> str:
    """Of an AWS error, such as `NoSuchKey`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def read_pieces(s3: Any, start: int = 0, **where: str) -> Iterator[bytes]:
    """The bytes of one object from `start` on, 8 MiB at a time. `where`: Bucket, Key and what
    pins the version (`VersionId` or `IfMatch`).

    Raises `ClientError`; a piece whose body breaks off is asked for again.
    """
    position = start
    while True:
        try:
            data, total = _piece(s3, position, where)
        except ClientError as error:
            if code_of(error) in ("InvalidRange", "416"):
                return
            raise
        if data:
            yield data
        position += len(data)
        if position >= total:
            return


def _piece(s3: Any, position: int, where: dict[str, str], size: int = PIECE) -> tuple[bytes, int]:
    for attempt in range(1, _TRIES + 1):
        answer = s3.get_object(**where, Range=f"bytes={position}-{position + size - 1}")
        try:
            data: bytes = answer["Body"].read()
        except _BROKEN:
            if attempt == _TRIES:
                raise
            continue
        if "VersionId" not in where:
            where["IfMatch"] = answer["ETag"]
        content_range: str = answer.get("ContentRange", "")
        if content_range:
            return data, int(content_range.rpartition("/")[2])
        # A store may ignore the range and send the whole object.
        return data[position : position + size], len(data)
    raise AssertionError("unreachable")


class S3Objects:
    """One bucket. See `functions.batch.ports.Objects`."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    def get(self, key: str) -> bytes:
        return b"".join(self.chunks(key))

    def find(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            raise

    def put(self, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_new(self, key: str, data: bytes) -> None:
        try:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if code_of(error) not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise

    def chunks(self, key: str, start: int = 0) -> Iterator[bytes]:
        return read_pieces(self._s3, start, Bucket=self.bucket, Key=key)

    def read(self, key: str, start: int, size: int) -> bytes | None:
        where = {"Bucket": self.bucket, "Key": key}
        try:
            return _piece(self._s3, start, where, size)[0][:size]
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            if code_of(error) in ("InvalidRange", "416"):
                return b""
            raise

    def upload(self, path: Path, key: str) -> None:
        self._s3.upload_file(str(path), self.bucket, key, Config=_TRANSFER)

    @contextmanager
    def writer(self, key: str) -> Generator[_Multipart]:
        upload = _Multipart(self._s3, self.bucket, key)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def keys(self, prefix: str) -> Iterator[str]:
        for key, _ in self.sizes(prefix):
            yield key

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                yield entry["Key"], int(entry["Size"])

    def delete(self, keys: Iterable[str]) -> None:
        waiting = iter(keys)
        while some := list(islice(waiting, 1_000)):
            answer = self._s3.delete_objects(
                Bucket=self.bucket,
                Delete={"Objects": [{"Key": key} for key in some], "Quiet": True},
            )
            if errors := answer.get("Errors"):
                first = errors[0]
                raise RuntimeError(
                    f"{len(errors)} work files were not deleted; {first.get('Key')}: "
                    f"{first.get('Code')} {first.get('Message')}"
                )

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def begin(self, key: str) -> str:
        return self._s3.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]

    def put_piece(self, key: str, upload: str, number: int, data: bytes) -> str:
        with _upload_gone(key):
            answer = self._s3.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=data
            )
        return answer["ETag"]

    def complete(self, key: str, upload: str, pieces: Sequence[Piece]) -> None:
        parts = [{"ETag": piece.tag, "PartNumber": piece.number} for piece in pieces]
        with _upload_gone(key):
            self._s3.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    def abandon(self, prefix: str) -> None:
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        for page in pages:
            for upload in page.get("Uploads", ()):
                where = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                with suppress(UploadGone), _upload_gone(upload["Key"]):
                    self._s3.abort_multipart_upload(Bucket=self.bucket, **where)


@contextmanager
def _upload_gone(key: str) -> Generator[None]:
    try:
        yield
    except ClientError as error:
        if code_of(error) in ("NoSuchUpload", "404"):
            raise UploadGone(f"The upload of {key} has ended.") from error
        raise


class _Multipart:
    """A file to write to. Small ones become one PutObject."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._s3 = s3
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = io.BytesIO()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        self._buffer.write(data)
        # An upload has at most 10,000 parts: they grow, so that 400 GB fit.
        if self._buffer.tell() >= PIECE * (1 + len(self._parts) // 1_000):
            self._send()

    def _send(self) -> None:
        if self._upload_id is None:
            self._upload_id = self._s3.create_multipart_upload(**self._where)["UploadId"]
        number = len(self._parts) + 1
        answer = self._s3.upload_part(
            **self._where,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=self._buffer.getvalue(),
        )
        self._parts.append({"ETag": answer["ETag"], "PartNumber": number})
        self._buffer = io.BytesIO()

    def finish(self) -> None:
        if self._upload_id is None:
            self._s3.put_object(**self._where, Body=self._buffer.getvalue())
            return
        if self._buffer.tell():
            self._send()
        self._s3.complete_multipart_upload(
            **self._where, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
        )

    def abort(self) -> None:
        """Best effort: a lifecycle rule ends uploads that nobody ended."""
        if self._upload_id is None:
            return
        try:
            self._s3.abort_multipart_upload(**self._where, UploadId=self._upload_id)
        except (ClientError, BotoCoreError):
            return
