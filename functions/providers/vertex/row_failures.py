"""What Vertex says of a row that it did not answer: in words, as JSON, or in both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

import msgspec

_FOR_GOOD = frozenset(
    {
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
    }
)
_CODES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_PHRASES = {
    "bad request": "INVALID_ARGUMENT",
    "too many requests": "RESOURCE_EXHAUSTED",
    "internal server error": "INTERNAL",
    "bad gateway": "UNAVAILABLE",
    "service unavailable": "UNAVAILABLE",
    "gateway timeout": "DEADLINE_EXCEEDED",
    "unauthorized": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "not found": "NOT_FOUND",
}


class RowFailure(msgspec.Struct, gc=False):
    code: int | str | None = None
    status: str | None = None
    message: str | None = None


class _Wrapped(msgspec.Struct, gc=False):
    error: RowFailure


_string = msgspec.json.Decoder(str)
_error = msgspec.json.Decoder(RowFailure)
_wrapped = msgspec.json.Decoder(_Wrapped)
_WORD = re.compile(r"[A-Z]{2,}(?:_[A-Z]+)*")


def told(raws: Iterable[bytes], status: bytes) -> tuple[RowFailure | None, bytes]:
    """The error that a line tells of, in whichever of its forms, as JSON or as the words of its
    status; and its body if it has one."""
    for raw in (*raws, status):
        error = _decoded(raw)
        if error is not None:
            return error, raw
    with suppress(msgspec.MsgspecError):
        return _from_words(_string.decode(status))
    return None, b"null"


def _from_words(status: str) -> tuple[RowFailure | None, bytes]:
    """`Bad Request: {"error": {…}}`, or any part of that."""
    words, brace, rest = status.partition("{")
    body = (brace + rest).encode()
    error = _decoded(body)
    if error is not None:
        return error, body
    if not status.strip():
        return None, b"null"
    known = _PHRASES.get(words.strip(" :").lower())
    spelled = next((word for word in _WORD.findall(status) if word in _CODES.values()), None)
    return RowFailure(status=known or spelled, message=status.strip()), b"null"


def _decoded(body: bytes) -> RowFailure | None:
    """An error as JSON, bare or under `error`."""
    for decoder in (_wrapped, _error):
        with suppress(msgspec.MsgspecError):
            found = decoder.decode(body)
            error = found.error if isinstance(found, _Wrapped) else found
            if error.code or error.status or error.message:
                return error
    return None


def code_of(error: RowFailure) -> str:
    if error.status:
        return error.status
    if isinstance(error.code, int):
        return _CODES.get(error.code, f"code_{error.code}")
    return error.code or ("unknown" if error.message else "no_answer")


def verdict_of(code: str) -> Literal["failed", "again", "resend"]:
    """Codes form an open set: only those that speak of the request itself are for good."""
    if code == "CANCELLED":
        return "resend"
    return "failed" if code in _FOR_GOOD else "again"
