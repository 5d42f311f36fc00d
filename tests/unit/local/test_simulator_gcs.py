"""Cloud Storage's part of the simulator, driven by google-cloud-storage only."""
# pyright: basic

import io
import os
from collections.abc import Iterator

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import InvalidOperation
from google.cloud import storage
from google.oauth2.credentials import Credentials

from local.simulator.process import Simulator

MIB = 1 << 20


@pytest.fixture
def bucket(simulator: Simulator) -> Iterator[storage.Bucket]:
    client = storage.Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"{simulator.url}/gcs"},
    )
    yield client.bucket("work")
    client.close()


def test_small_objects_go_up_and_come_down(bucket: storage.Bucket) -> None:
    blob = bucket.blob("a folder/Grüße+1%.jsonl")
    blob.metadata = {"attempt": "1"}
    blob.upload_from_string(b"hello", content_type="application/jsonl")
    assert blob.download_as_bytes() == b"hello"
    found = bucket.get_blob(blob.name)
    assert found is not None
    assert (found.size, found.content_type) == (5, "application/jsonl")
    assert found.metadata == {"attempt": "1"}
    assert found.download_as_bytes(start=1, end=3) == b"ell"
    assert found.download_as_bytes() == b"hello"


def test_large_objects_go_up_in_chunks(bucket: storage.Bucket, simulator: Simulator) -> None:
    data = os.urandom(11 * MIB + 17)
    blob = bucket.blob("big", chunk_size=2 * MIB)
    simulator.fault("gcs", "upload_chunk", "status", status=503, skip=2)
    simulator.fault("gcs", "upload_chunk", "drop_after", skip=4)
    blob.upload_from_file(io.BytesIO(data), size=len(data), checksum="crc32c")
    back = io.BytesIO()
    blob.download_to_file(back)
    assert back.getvalue() == data
    with bucket.blob("big").open("rb", chunk_size=MIB) as reader:
        assert reader.read() == data


def test_objects_of_unknown_length_can_be_written(bucket: storage.Bucket) -> None:
    for size in (0, 10, 3 * MIB):
        with bucket.blob(f"stream-{size}").open("wb", chunk_size=MIB) as writer:
            writer.write(b"x" * size)  # pyright: ignore[reportArgumentType]
        assert bucket.blob(f"stream-{size}").download_as_bytes() == b"x" * size
        with bucket.blob(f"stream-{size}").open("rb") as reader:
            assert len(reader.read()) == size


def test_objects_are_listed_with_prefix_and_pages(bucket: storage.Bucket) -> None:
    names = [f"out/{number}.jsonl" for number in range(5)] + ["out/deep/x", "other"]
    for name in names:
        bucket.blob(name).upload_from_string(b"x")
    listed = bucket.list_blobs(prefix="out/", page_size=2)
    assert [blob.name for blob in listed] == sorted(names)[1:]
    flat = bucket.list_blobs(prefix="out/", delimiter="/")
    assert len(list(flat)) == 5
    assert flat.prefixes == {"out/deep/"}


def test_creating_only_works_once(bucket: storage.Bucket) -> None:
    for size in (10, 9 * MIB):
        blob = bucket.blob(f"once-{size}", chunk_size=MIB)
        blob.upload_from_string(b"x" * size, if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed):
            blob.upload_from_string(b"y", if_generation_match=0)
    assert bucket.blob("once-10").download_as_bytes() == b"x" * 10


def test_missing_things_are_404(bucket: storage.Bucket, simulator: Simulator) -> None:
    assert bucket.get_blob("nothing") is None
    for call in (bucket.blob("nothing").delete, bucket.blob("nothing").download_as_bytes):
        with pytest.raises(exceptions.NotFound):
            call()
    simulator.admin("settings", {"missing_buckets": ["work"]})
    with pytest.raises(exceptions.NotFound):
        bucket.blob("x").upload_from_string(b"x")
    assert not bucket.exists()


def test_the_ledger_lists_what_is_left(bucket: storage.Bucket, simulator: Simulator) -> None:
    for name in ("kept", "deleted", "kept"):
        bucket.blob(name).upload_from_string(b"x")
    bucket.blob("deleted").delete()
    books = simulator.ledger()["providers"]["gcs"]
    assert [thing["name"] for thing in books["files_left"]] == ["work/kept"]


def test_a_token_may_be_required(bucket: storage.Bucket, simulator: Simulator) -> None:
    simulator.admin("settings", {"require_google_token": True})
    with pytest.raises(InvalidOperation, match="Anonymous"):
        bucket.blob("x").upload_from_string(b"x")
    client = storage.Client(
        project="p",
        credentials=Credentials(token="token"),
        client_options={"api_endpoint": f"{simulator.url}/gcs"},
    )
    client.bucket("work").blob("x").upload_from_string(b"x")
    client.close()


def test_an_emulator_host_without_a_path_works(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", simulator.url)
    client = storage.Client(project="p")
    client.bucket("work").blob("x").upload_from_string(b"x")
    assert client.bucket("work").blob("x").download_as_bytes() == b"x"
    client.close()
