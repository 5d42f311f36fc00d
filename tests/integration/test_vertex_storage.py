"""Files on their way to Cloud Storage and back, over HTTP."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from google.cloud.storage._media import _helpers
from google.cloud.storage._media.requests import ResumableUpload

from functions.batch.errors import AccountBlocked, Unavailable
from functions.batch.model import ProviderFile, Tag
from functions.batch.streams.lines import rows_of
from functions.providers.vertex import uploading
from functions.providers.vertex.client import VertexProvider
from tests.support.simulator import Simulator

TAG = Tag(stack="Test", job_id="j", shard_id="s", attempt=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three pieces."""
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"".join(b'{"n":%09d}\n' % n for n in range(1_500_000)))
    return path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_large_files_survive_a_bad_line(
    vertex_provider: VertexProvider, sim: Simulator, tmp_path: Path
) -> None:
    rows = [b'{"n":%d,"text":"%b"}' % (n, b"\xe2\x80\xa8" * 300_000) for n in range(20)]
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"\n".join(rows) + b"\n")
    for kind, skip in (("status", 0), ("drop_before", 1), ("drop_after", 2)):
        sim.arm(provider="gcs", operation="upload_chunk", kind=kind, status=503, skip=skip)
    sim.arm(provider="gcs", operation="content", kind="status", status=503)
    sim.arm(provider="gcs", operation="content", kind="truncate", bytes=1000, skip=1)
    (staged,) = vertex_provider.stage(path, TAG)
    assert list(rows_of(vertex_provider.answers([staged.id]))) == rows
    assert vertex_provider.stage(path, TAG) == [staged]
    assert vertex_provider.find_staged(TAG, "") == [staged]
    assert "gcs bucket" not in sim.ledger()["calls"]
    gc.collect()  # the library leaves a broken download's socket to the collector


def test_an_upload_whose_last_answer_is_lost_is_taken_for_done(
    vertex_provider: VertexProvider, sim: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"x" * 9_000_000)
    sim.arm(provider="gcs", operation="upload_chunk", kind="drop_after", skip=1)
    assert vertex_provider.stage(path, TAG) == vertex_provider.find_staged(TAG, "")


def staged(
    vertex_provider: VertexProvider, path: Path, sim: Simulator, **fault: Any
) -> Sequence[ProviderFile]:
    """After an upload that a fault acts on."""
    sim.arm(provider="gcs", operation="upload_chunk", **fault)
    return vertex_provider.stage(path, TAG)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "keep_less", "bytes": 3_333_333, "times": 99},
        {"kind": "keep_less", "bytes": 1, "times": 3},
        {"kind": "keep_less", "bytes": 0, "times": 5},
        {"kind": "keep_less", "bytes": 0, "times": 5, "skip": 1},
    ],
)
def test_an_upload_goes_on_behind_what_was_kept_of_it(
    vertex_provider: VertexProvider, sim: Simulator, path: Path, fault: dict[str, Any]
) -> None:
    """https://cloud.google.com/storage/docs/performing-resumable-uploads"""
    with patch.object(uploading, "sleep"):
        (found,) = staged(vertex_provider, path, sim, **fault)
    assert b"\n".join(vertex_provider.answers([found.id])) + b"\n" == path.read_bytes()


def test_an_upload_may_stand_still_more_than_once(
    vertex_provider: VertexProvider, sim: Simulator, path: Path
) -> None:
    # Where nothing at all is kept, each piece is asked for as well.
    sim.arm(provider="gcs", operation="upload_chunk", kind="keep_less", times=2 * 4)
    with patch.object(uploading, "sleep") as sleeps:
        (found,) = staged(vertex_provider, path, sim, kind="keep_less", skip=9, times=4)
    assert sleeps.call_count == 8
    assert b"\n".join(vertex_provider.answers([found.id])) + b"\n" == path.read_bytes()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "keep_less", "times": 99}, "came no further than 0"),
        ({"kind": "keep_less", "times": 99, "skip": 1}, "came no further than 8388608"),
        ({"kind": "status", "status": 410}, "broke off"),
        ({"kind": "status", "status": 201}, "HTTP 201"),
        ({"kind": "status", "status": 400, "skip": 1}, "broke off with HTTP 400"),
    ],
)
def test_an_upload_that_comes_to_nothing_is_done_again(
    vertex_provider: VertexProvider, sim: Simulator, path: Path, fault: dict[str, Any], said: str
) -> None:
    pauses: list[float] = []
    with (
        patch.object(uploading, "sleep", pauses.append),
        pytest.raises(Unavailable, match=said),
    ):
        staged(vertex_provider, path, sim, **fault)
    assert pauses == ([1.0, 2.0, 4.0, 8.0, 16.0] if "no further" in said else [])
    sim.reset()
    assert len(staged(vertex_provider, path, sim, kind="delay")) == 1


@pytest.mark.parametrize("operation", ["upload", "upload_chunk"])
def test_what_the_service_says_of_a_large_upload_is_told(
    vertex_provider: VertexProvider, sim: Simulator, path: Path, operation: str
) -> None:
    said = {"status": 403, "message": "No such right.", "retry_after": 77}
    sim.arm(provider="gcs", operation=operation, kind="status", **said)
    with pytest.raises(AccountBlocked, match=r"No such right\..*403") as caught:
        vertex_provider.stage(path, TAG)
    assert caught.value.retry_after == 77


def test_an_upload_has_an_end(vertex_provider: VertexProvider, sim: Simulator, path: Path) -> None:
    with (
        patch.object(uploading, "_MOST_SECONDS", 0.5),
        pytest.raises(Unavailable, match="came no further than"),
    ):
        staged(vertex_provider, path, sim, kind="keep_less", bytes=1, times=10**6)


def test_an_upload_that_ended_too_early_is_done_again(
    vertex_provider: VertexProvider, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(self: Any, *_: object, **__: object) -> None:
        self._finished = True

    monkeypatch.setattr(ResumableUpload, "transmit_next_chunk", ends)
    with pytest.raises(Unavailable, match="ended at 0 of 24000000"):
        vertex_provider.stage(path, TAG)


@pytest.mark.parametrize("status", [None, 403, 404])
def test_an_upload_that_arrived_otherwise_than_it_was_sent_is_deleted(
    vertex_provider: VertexProvider,
    sim: Simulator,
    path: Path,
    status: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If that is refused, what was wrong is told all the same."""
    if status:
        sim.arm(provider="gcs", operation="delete", kind="status", status=status)
    monkeypatch.setattr(_helpers, "prepare_checksum_digest", lambda _: "AAAAAA==")
    with pytest.raises(Unavailable, match="AAAAAA=="):
        staged(vertex_provider, path, sim, kind="delay")
    assert bool(sim.ledger()["providers"]["gcs"]["files_left"]) == (status is not None)


@pytest.mark.parametrize("size", [10, 9_000_000])
def test_what_is_there_already_is_not_written_again(
    vertex_provider: VertexProvider, path: Path, size: int
) -> None:
    path.write_bytes(b"a" * size)
    before = vertex_provider.stage(path, TAG)
    path.write_bytes(b"b" * size)
    assert vertex_provider.stage(path, TAG) == before
    assert b"".join(vertex_provider.answers([before[0].id])) == b"a" * size


def test_a_bucket_that_is_missing_is_named(
    vertex_provider: VertexProvider, sim: Simulator, tmp_path: Path
) -> None:
    sim.admin("settings", {"missing_buckets": ["batches"]})
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"x")
    with pytest.raises(AccountBlocked, match="batches"):
        vertex_provider.stage(path, TAG)
    assert vertex_provider.find_staged(TAG, "") == []
