"""The simulated buckets: objects on disk with generations and checksums, and unfinished uploads."""

import base64
import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import google_crc32c

from .answers import Json
from .engine import Engine
from .ledger import Thing
from .spool import CHUNK
from .timestamps import rfc3339
from .wire import ApiError


@dataclass
class Stored:
    bucket: str
    name: str
    path: Path
    size: int
    generation: int
    created: float
    crc32c: str
    md5: str
    content_type: str
    metadata: dict[str, str] | None
    metageneration: int = 1

    @property
    def id(self) -> str:
        return f"{self.bucket}/{self.name}#{self.generation}"

    def shown(self, base_url: str) -> Json:
        path = f"storage/v1/b/{quote(self.bucket)}/o/{quote(self.name, safe='')}"
        made = rfc3339(self.created)
        shown: Json = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": f"{base_url}/{path}",
            "mediaLink": f"{base_url}/download/{path}?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(self.size),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": made,
            "updated": made,
            "timeStorageClassUpdated": made,
            "timeFinalized": made,
        }
        return {**shown, "metadata": self.metadata} if self.metadata else shown

    @property
    def etag(self) -> str:
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()


@dataclass
class Upload:
    """A resumable upload whose bytes are not all there yet."""

    id: str
    bucket: str
    wanted: Json
    match: str | None
    path: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size(self) -> int:
        return self.path.stat().st_size


class Gcs:
    """Every bucket exists, except those that the settings call missing."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.objects: dict[tuple[str, str], Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.lock = threading.RLock()
        self._generation = int(time.time() * 1e6)

    def check_bucket(self, bucket: str) -> None:
        if bucket in self.engine.settings.missing_buckets:
            raise ApiError(404, "The specified bucket does not exist.", code="notFound")

    def find(self, bucket: str, name: str, generation: str | None = None) -> Stored:
        self.check_bucket(bucket)
        found = self.objects.get((bucket, name))
        if found is None or generation not in (None, str(found.generation)):
            raise ApiError(404, f"No such object: {bucket}/{name}", code="notFound")
        return found

    def check_match(self, bucket: str, name: str, match: str | None) -> None:
        """`match` is an `ifGenerationMatch`; 0 means that the object must not exist."""
        if match is None:
            return
        found = self.objects.get((bucket, name))
        if match != str(found.generation if found else 0):
            message = "At least one of the pre-conditions you specified did not hold."
            raise ApiError(412, message, code="conditionNotMet")

    def put(
        self,
        bucket: str,
        name: str,
        path: Path,
        wanted: Json | None = None,
        match: str | None = None,
        kind: str = "object",
    ) -> Stored:
        """Takes the file over; raises ApiError and removes it if the condition does not hold."""
        crc32c, md5 = _checksums(path)
        wanted = wanted or {}
        try:
            with self.lock:
                self._check_sums(wanted, crc32c, md5)
                self.check_match(bucket, name, match)
                self._generation += 1
                stored = Stored(
                    bucket,
                    name,
                    path,
                    path.stat().st_size,
                    self._generation,
                    time.time(),
                    crc32c,
                    md5,
                    str(wanted.get("contentType") or "application/octet-stream"),
                    wanted.get("metadata"),
                )
                replaced = self.objects.get((bucket, name))
                self.objects[bucket, name] = stored
        except ApiError:
            path.unlink(missing_ok=True)
            raise
        if replaced:
            self._forget(replaced)
        self.engine.ledger.created(
            Thing("gcs", kind, stored.id, f"{bucket}/{name}", stored.created, stored.size)
        )
        return stored

    def _check_sums(self, wanted: Json, crc32c: str, md5: str) -> None:
        for name, found in (("crc32c", crc32c), ("md5Hash", md5)):
            if wanted.get(name) not in (None, found):
                raise ApiError(400, f"Provided {name} does not match the content.", code="invalid")

    def delete(self, stored: Stored) -> None:
        with self.lock:
            self.objects.pop((stored.bucket, stored.name), None)
        self._forget(stored)

    def _forget(self, stored: Stored) -> None:
        stored.path.unlink(missing_ok=True)
        self.engine.ledger.deleted("gcs", stored.id, time.time())

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        with self.lock:
            found = [name for at, name in self.objects if at == bucket and name.startswith(prefix)]
        return sorted(found, key=lambda name: name.encode())


def _checksums(path: Path) -> tuple[str, str]:
    crc: Any = google_crc32c.Checksum()
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            crc.update(block)
            md5.update(block)
    return base64.b64encode(crc.digest()).decode(), base64.b64encode(md5.digest()).decode()
