"""Reads an object from services that keep to a range, and from some that do not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from functions.batch.errors import Unavailable
from functions.batch.streams.lines import rows_of
from functions.providers.vertex import storage
from functions.providers.vertex.client import VertexProvider, make_client

KEY = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}
LINES = [b'{"n": %d}' % n for n in range(40)]
WHOLE = b"\n".join(LINES)
PIECE = 64

Sent = Callable[[int, int], bytes]
"""What is sent of the bytes from one place to another, the latter included."""


@contextmanager
def bucket(sent: Sent) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("range")
            if asked is None:
                told = {"name": "o", "bucket": "batches", "generation": "1"}
                data = json.dumps({**told, "size": str(len(WHOLE))}).encode()
                self.send_response(200)
            else:
                first, last = asked.removeprefix("bytes=").split("-")
                data = sent(int(first), int(last))
                self.send_response(206)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def read(url: str) -> list[bytes]:
    with closing(make_client(json.dumps(KEY), url, f"{url}/gcs")) as connection:
        blocks = VertexProvider(connection).answers(["gs://batches/o"])
        return list(rows_of(blocks))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CHUNK_BYTES", PIECE)


@pytest.mark.parametrize(
    "sent",
    [
        lambda first, last: WHOLE[first : last + 1],
        lambda first, last: WHOLE[first : min(first + 7, last + 1)],
        lambda _first, _last: WHOLE,
    ],
    ids=["what was asked for", "less", "all of it"],
)
def test_an_object_is_read_once_whatever_is_sent_of_it(sent: Sent) -> None:
    with bucket(sent) as url:
        assert read(url) == LINES


def test_an_object_that_ends_too_early_is_not_taken_for_whole() -> None:
    with (
        bucket(lambda first, last: WHOLE[first : last + 1] if first < 2 * PIECE else b"") as url,
        pytest.raises(Unavailable, match="ends at byte 128"),
    ):
        read(url)
