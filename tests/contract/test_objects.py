from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.response import StreamingBody
from urllib3.exceptions import ProtocolError

from functions.aws.inbox import Inbox
from functions.aws.objects import PIECE, S3Objects
from functions.batch.errors import InputChanged, UploadGone
from functions.batch.model import Job
from functions.batch.ports import Objects, PieceObjects
from functions.batch.results.pieces import LEAST_PIECE
from functions.batch.work import Piece


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}/"


def test_what_is_put_is_read(objects: Objects, prefix: str) -> None:
    key = f"{prefix}a+b %41.json"
    assert objects.find(key) is None
    objects.put(key, b"one")
    objects.put_new(key, b"two")
    assert objects.get(key) == objects.find(key) == b"one"
    objects.put(key, b"three")
    assert b"".join(objects.chunks(key)) == b"three"
    objects.put_new(f"{prefix}new", b"n")
    assert objects.get(f"{prefix}new") == b"n"
    assert objects.uri("k") == "s3://contract/k"


def test_a_piece_is_read_as_far_as_there_are_bytes(objects: Objects, prefix: str) -> None:
    key = f"{prefix}piece"
    objects.put(key, b"0123456789")
    assert objects.read(key, 0, 1) == b"0"
    assert objects.read(key, 3, 4) == b"3456"
    assert objects.read(key, 8, 12) == b"89"
    assert objects.read(key, 10, 10) == b""
    assert objects.read(f"{prefix}none", 0, 5) is None


def test_an_empty_object_has_no_chunks_to_speak_of(objects: Objects, prefix: str) -> None:
    objects.put(f"{prefix}empty", b"")
    assert b"".join(objects.chunks(f"{prefix}empty")) == b""


def test_a_written_object_appears_whole_or_not_at_all(objects: Objects, prefix: str) -> None:
    piece = b"0123456789abcdef" * 4096 * 24  # 1.5 MiB
    with objects.writer(f"{prefix}big") as out:
        for _ in range(13):
            out.write(piece)
    assert objects.get(f"{prefix}big") == piece * 13
    with objects.writer(f"{prefix}none"):
        pass
    assert objects.find(f"{prefix}none") == b""

    def broken() -> None:
        with objects.writer(f"{prefix}broken") as out:
            for _ in range(7):
                out.write(piece)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        broken()
    assert objects.find(f"{prefix}broken") is None


def test_uploads_listings_and_deletes(objects: Objects, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"from disk")
    for number in range(5):
        objects.upload(path, f"{prefix}{number}")
    assert list(objects.keys(prefix)) == [f"{prefix}{number}" for number in range(5)]
    objects.delete(f"{prefix}{number}" for number in (0, 3, 9))
    assert len(list(objects.keys(prefix))) == 3
    assert objects.get(f"{prefix}4") == b"from disk"


class BreakingS3:
    """Breaks off every other body in its middle."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.calls = 0

    def get_object(self, **where: Any) -> Any:
        self.calls += 1
        answer = self._s3.get_object(**where)
        if self.calls % 2:
            raw = _BrokenRaw()
            answer["Body"] = StreamingBody(raw, answer["ContentLength"])
        return answer


class _BrokenRaw:
    def read(self, *_: Any) -> bytes:
        raise ProtocolError("Connection broken", ConnectionResetError())

    def close(self) -> None: ...


def test_a_read_that_breaks_off_goes_on_where_it_stood(s3: Any, prefix: str) -> None:
    data = bytes(range(256)) * (PIECE // 256) + b"the rest"
    S3Objects(s3, "contract").put(f"{prefix}big", data)
    breaking = BreakingS3(s3)
    assert b"".join(S3Objects(breaking, "contract").chunks(f"{prefix}big")) == data
    assert breaking.calls == 4


def test_two_uploads_to_one_key_are_two_inputs(s3: Any, prefix: str) -> None:
    key = f"{prefix}a.jsonl"
    tags = [
        s3.put_object(Bucket="contract", Key=key, Body=data)["ETag"] for data in (b"old", b"newer")
    ]
    inbox = Inbox(s3)
    for etag, data in zip(tags, (b"old", b"newer"), strict=True):
        job = inbox.pin(
            Job(job_id="j", bucket="contract", key=key, bytes=0, created_at="", etag=etag)
        )
        assert job.bytes == len(data)
        assert b"".join(inbox.chunks(job, 0)) == data
        assert b"".join(inbox.chunks(job, 1)) == data[1:]
        assert list(inbox.chunks(job, 99)) == []


def test_an_input_that_is_gone_is_said_to_be(s3: Any, prefix: str) -> None:
    job = Job(job_id="j", bucket="contract", key=f"{prefix}x", bytes=0, created_at="", etag="no")
    with pytest.raises(InputChanged):
        Inbox(s3).pin(job)
    with pytest.raises(InputChanged):
        list(Inbox(s3).chunks(job, 0))


def test_a_recipe_is_found_in_the_folder_or_above(s3: Any, prefix: str) -> None:
    def job(key: str) -> Job:
        return Job(job_id="j", bucket="contract", key=key, bytes=0, created_at="")

    inbox = Inbox(s3)
    assert inbox.recipe(job(f"{prefix}a/b/c.csv")) is None
    s3.put_object(Bucket="contract", Key=f"{prefix}recipe.yaml", Body=b"x")
    assert inbox.recipe(job(f"{prefix}a/b/c.csv")) == f"{prefix}recipe.yaml"
    s3.put_object(Bucket="contract", Key=f"{prefix}a/b/recipe.json", Body=b"x")
    assert inbox.recipe(job(f"{prefix}a/b/c.csv")) == f"{prefix}a/b/recipe.json"


def test_what_lies_beside_an_upload(s3: Any, prefix: str) -> None:
    job = Job(job_id="j", bucket="contract", key=f"{prefix}a/t.csv", bytes=1, created_at="")
    inbox = Inbox(s3)
    s3.put_object(Bucket="contract", Key=job.key, Body=b"x", ContentType="text/csv; charset=cp1252")
    assert inbox.charset(job) == "cp1252"
    s3.put_object(Bucket="contract", Key=job.key, Body=b"x", ContentType="text/csv")
    assert inbox.charset(job) is None
    s3.put_object(Bucket="contract", Key=f"{prefix}recipe.yml", Body=b"model: m")
    assert inbox.recipe(job) == f"{prefix}recipe.yml"
    assert inbox.beside(job, f"{prefix}recipe.yml", 100) == b"model: m"
    assert inbox.beside(job, f"{prefix}recipe.yml", 5) == b"model"
    assert inbox.beside(job, f"{prefix}recipe.json", 5) is None
    s3.delete_object(Bucket="contract", Key=job.key)
    with pytest.raises(InputChanged, match="before it was read"):
        inbox.charset(job)


def test_any_place_of_an_object_is_read(objects: Objects, prefix: str) -> None:
    key = f"{prefix}placed"
    objects.put(key, b"0123456789")
    assert b"".join(objects.chunks(key, 4)) == b"456789"
    assert objects.read(key, 2, 3) == b"234"
    assert objects.read(key, 8, 30) == b"89"
    assert objects.read(key, 10, 5) == b""
    assert list(objects.sizes(prefix)) == [(key, 10)]


def test_several_write_one_object(objects: PieceObjects, prefix: str) -> None:
    """In any order, some twice, and it appears whole."""
    key = f"{prefix}pieces"
    upload = objects.begin(key)
    last = objects.put_piece(key, upload, 9_000, b"end")
    objects.put_piece(key, upload, 7, b"-" * LEAST_PIECE)
    first = objects.put_piece(key, upload, 7, b"x" * LEAST_PIECE)
    objects.put_piece(key, upload, 8, b"left out")
    assert objects.find(key) is None
    pieces = [Piece(7, first, LEAST_PIECE), Piece(9_000, last, 3)]
    objects.complete(key, upload, pieces)
    assert objects.get(key) == b"x" * LEAST_PIECE + b"end"
    with pytest.raises(UploadGone):
        objects.put_piece(key, upload, 7, b"late")
    with suppress(UploadGone):  # a store may know it as done
        objects.complete(key, upload, pieces)
    assert objects.get(key) == b"x" * LEAST_PIECE + b"end"


def test_what_is_not_completed_is_abandoned(objects: PieceObjects, prefix: str) -> None:
    kept = objects.begin(f"{prefix}kept/a")
    uploads = [(key, objects.begin(key)) for key in (f"{prefix}left/a", f"{prefix}left/b")]
    objects.put_piece(*uploads[0], 1, b"a")
    objects.abandon(f"{prefix}left/")
    objects.abandon(f"{prefix}left/")
    for key, upload in uploads:
        with pytest.raises(UploadGone):
            objects.put_piece(key, upload, 2, b"b")
    objects.put_piece(f"{prefix}kept/a", kept, 1, b"a")
