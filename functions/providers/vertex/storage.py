"""One bucket of Cloud Storage: requests go up to it, predictions come back from it.

Objects are named `gs://bucket/name`, so that an address says all there is to know. The client's
own retries are off, but for the pieces of an upload and of a download.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.cloud import storage

from functions.batch.errors import AccountBlocked, Missing, Unavailable
from functions.providers.vertex.failures import translated
from functions.providers.vertex.uploading import PIECE_RETRY, TIMEOUT, upload

CHUNK_BYTES = 8 * 1024 * 1024
"""What a download holds in memory."""

_SCHEME = "gs://"
_SERVICE = "Cloud Storage"


class Bucket:
    def __init__(self, client: storage.Client, name: str) -> None:
        self._client: Any = client
        self._bucket: Any = self._client.bucket(name)
        self.name = name

    def address(self, name: str) -> str:
        return f"{_SCHEME}{self.name}/{name}"

    def upload(self, path: Path, name: str) -> str:
        """Returns the new object's address. One that is there already under that name is ours:
        an upload whose answer was lost."""
        try:
            with translated(_SERVICE), path.open("rb") as file:
                upload(self._bucket.blob(name), file, path.stat().st_size)
        except Missing as error:
            self._after_lost_upload(name, error)
        return self.address(name)

    def _after_lost_upload(self, name: str, error: Missing) -> None:
        """Either the bucket is not there, or the upload's session: forgotten, or done with."""
        try:
            found = self._list(self.address(name))
        except Missing:
            raise AccountBlocked(
                "bucket_missing",
                f"The bucket {self.name}, which the Vertex key names, does not exist.",
            ) from error
        if self.address(name) not in found:
            raise Unavailable("upload_lost", f"The upload broke off: {error.message}") from error

    def list(self, prefix: str) -> list[str]:
        """All addresses that begin so. A bucket that is gone has none."""
        try:
            return self._list(prefix)
        except Missing:
            return []

    def written(self, prefix: str) -> list[str]:
        """The same, of what a job wrote: answers that were paid, so that their bucket's absence is
        for a person to mend."""
        try:
            return self._list(prefix)
        except Missing as error:
            raise AccountBlocked(
                "bucket_missing", f"{prefix}, where a job's answers are, does not exist."
            ) from error

    def _list(self, prefix: str) -> list[str]:
        bucket, name = _parted(prefix)
        with translated(_SERVICE):
            found = self._client.list_blobs(bucket, prefix=name, timeout=TIMEOUT, retry=None)
            return [f"{_SCHEME}{bucket}/{blob.name}" for blob in found]

    def dated(self, prefix: str) -> Iterator[tuple[str, str]]:
        """All addresses that begin so, each with the time of its creation. Raises `Missing`."""
        bucket, name = _parted(prefix)
        with translated(_SERVICE):
            for blob in self._client.list_blobs(bucket, prefix=name, timeout=TIMEOUT, retry=None):
                made = blob.time_created or datetime.now(UTC)
                yield f"{_SCHEME}{bucket}/{blob.name}", made.isoformat()

    def chunks(self, address: str) -> Iterator[bytes]:
        """The object's bytes, of one generation from beginning to end. A service may send less than
        it was asked for, or all of it. Raises `Missing`."""
        blob = self._blob(address)
        with translated(_SERVICE):
            blob.reload(timeout=TIMEOUT, retry=PIECE_RETRY)
        start = 0
        while start < blob.size:
            with translated(_SERVICE):
                piece = blob.download_as_bytes(
                    start=start,
                    end=min(start + CHUNK_BYTES, blob.size) - 1,
                    raw_download=True,
                    checksum=None,  # it covers whole objects only
                    if_generation_match=blob.generation,
                    timeout=TIMEOUT,
                    retry=PIECE_RETRY,
                )
            if not piece:
                raise Unavailable("cut_off", f"{address} ends at byte {start} of {blob.size}.")
            yield piece
            start += len(piece)

    def delete(self, address: str) -> None:
        """Raises `Missing`."""
        blob = self._blob(address)
        with translated(_SERVICE):
            blob.delete(timeout=TIMEOUT, retry=None)

    def _blob(self, address: str) -> Any:
        """Of whichever bucket: the key may name another one by now."""
        bucket, name = _parted(address)
        return self._client.bucket(bucket).blob(name)


def _parted(address: str) -> tuple[str, str]:
    bucket, _, name = address.removeprefix(_SCHEME).partition("/")
    return bucket, name
