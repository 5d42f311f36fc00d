"""Uploads of new objects to Cloud Storage, at once or in pieces."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from time import monotonic, sleep
from typing import IO, Any, cast

from google.api_core.exceptions import PreconditionFailed, from_http_response
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from functions.batch.errors import Unavailable

TIMEOUT = (10.0, 60.0)

PIECE_RETRY = DEFAULT_RETRY.with_timeout(60.0)
"""Of one request: it continues what was begun, and can make no second object."""

PIECE_BYTES = 8 * 1024 * 1024
"""What an upload holds in memory: a multiple of 256 KiB. Up to so many are sent at once."""

_TYPE = "application/jsonl"

_MOST_IN_VAIN = 6
"""Pieces in a row of which nothing is kept."""

_PAUSE = 1.0
"""Seconds, after the first of them; then twice as long each time."""

_MOST_SECONDS = 600
"""Of a whole upload: a gigabyte at 2 MB/s. The function ends after 900."""

_OF_THE_SESSION = frozenset({400, 413, 416})
"""In its middle, statuses that speak of the upload, not of what is in it."""


def upload(blob: Any, file: IO[bytes], size: int) -> None:
    """Nothing happens if there is such an object already. Raises what the library does for whole
    files, and `Unavailable`."""
    with suppress(PreconditionFailed):
        if size <= PIECE_BYTES:
            _upload_at_once(blob, file, size)
            return
        try:
            _upload_in_pieces(blob, file, size)
        except InvalidResponse as error:
            raise from_http_response(cast("Any", error.response)) from error


def _upload_at_once(blob: Any, file: IO[bytes], size: int) -> None:
    blob.upload_from_file(
        file,
        size=size,
        content_type=_TYPE,
        if_generation_match=0,
        checksum="crc32c",
        timeout=TIMEOUT,
        retry=PIECE_RETRY,
    )


def _upload_in_pieces(blob: Any, file: IO[bytes], size: int) -> None:
    """A service may keep fewer bytes of a piece than it was sent: the next one begins where these
    end (https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload). The
    library gives up there, so that its steps are taken here one by one."""
    begun, transport = blob._initiate_resumable_upload(
        blob.client,
        file,
        _TYPE,
        size,
        chunk_size=PIECE_BYTES,
        if_generation_match=0,
        checksum="crc32c",
        timeout=TIMEOUT,
        retry=PIECE_RETRY,
    )
    until = monotonic() + _MOST_SECONDS
    in_vain = 0
    while True:
        kept = begun.bytes_uploaded
        _send_piece(blob, begun, transport, file)
        if begun.finished:
            break
        in_vain = 0 if begun.bytes_uploaded > kept else in_vain + 1
        if in_vain == _MOST_IN_VAIN or monotonic() > until:
            raise Unavailable("upload_lost", f"The upload came no further than {kept} of {size}.")
        if in_vain:
            sleep(_PAUSE * 2 ** (in_vain - 1))
    if begun.bytes_uploaded != size:
        raise Unavailable("upload_lost", f"The upload ended at {begun.bytes_uploaded} of {size}.")


def _send_piece(blob: Any, begun: Any, transport: Any, file: IO[bytes]) -> None:
    file.seek(begun.bytes_uploaded)
    try:
        begun.transmit_next_chunk(transport, timeout=TIMEOUT)
    except InvalidResponse as error:
        status = int(cast("Any", error.response).status_code)
        if status in _OF_THE_SESSION:
            raise Unavailable("upload_lost", f"The upload broke off with HTTP {status}.") from error
        if status != HTTPStatus.PERMANENT_REDIRECT:
            raise
        begun.recover(transport)  # the answer does not say what is kept
    except DataCorruption:
        with suppress(Exception):  # what is wrong is told, and the next attempt has another name
            blob.delete(timeout=TIMEOUT, retry=None)
        raise
