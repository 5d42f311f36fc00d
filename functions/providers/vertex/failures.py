"""Google's exceptions as ours, for Vertex AI and for Cloud Storage alike.

Status and words of a call's failure: https://cloud.google.com/apis/design/errors
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, cast

import requests
import urllib3
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.exceptions import DataCorruption
from google.protobuf.json_format import ParseError

from functions.batch.errors import (
    AccountBlocked,
    Missing,
    OverCapacity,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
)
from functions.providers.waiting import retry_after

_CALL = re.compile(r"^[A-Z]+ https?://\S+: ")
"""What the library puts before Google's words."""


@contextmanager
def translated(service: str, *, creating: bool = False) -> Generator[None]:
    """`service` begins the messages; `creating`: a batch, which no object is needed for."""
    try:
        yield
    except exceptions.GoogleAPICallError as error:
        raise _from_call(error, service, creating=creating) from error
    except GoogleAuthError as error:
        raise _from_auth(error) from error
    except (
        exceptions.GoogleAPIError,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        DataCorruption,
        ParseError,
        OSError,
        ValueError,  # what the library makes of an answer that is none
    ) as error:
        raise Unavailable("no_answer", f"{service} could not be reached: {error}") from error


def _from_call(
    error: exceptions.GoogleAPICallError, service: str, *, creating: bool
) -> ProviderError:
    status = int(error.code or 500)
    response = cast("Any", error.response)
    asked = retry_after(None if response is None else response.headers.get("retry-after"))
    message = _CALL.sub("", str(error.message), count=1)
    return _from_status(status, _word(response), message, service, creating=creating, asked=asked)


def _word(response: Any) -> str:
    """The error's canonical code, such as RESOURCE_EXHAUSTED; Cloud Storage gives none."""
    with suppress(Exception):  # a gateway's page, or anything else
        return str(response.json()["error"]["status"])
    return ""


def _from_status(
    status: int,
    word: str,
    message: str,
    service: str,
    *,
    creating: bool,
    asked: float | None = None,
) -> ProviderError:
    kind = _kind(status, word, message, creating=creating)
    code = word or f"http_{status}"
    if creating and status == 404:
        code = "model_not_found"
    said = f"{service} says: {message} (HTTP {status})"
    if creating and kind is Refused:
        # The job's file is not read before the job runs: no row of it is at fault.
        return Refused(code, said, retry_after=asked, then="fail")
    return kind(code, said, retry_after=asked)


def _kind(status: int, word: str, message: str, *, creating: bool) -> type[ProviderError]:
    if status in (401, 402, 403):
        return AccountBlocked
    if status == 429:
        return OverCapacity if creating else Throttled
    if status in (408, 499) or not 400 <= status < 500:
        return Unavailable
    if status in (404, 410):
        return Refused if creating else Missing
    if status == 409 or (word == "FAILED_PRECONDITION" and "try again" in message):
        # The second: service agents of a project new to Vertex are being made.
        return Throttled
    return Refused


def _from_auth(error: GoogleAuthError) -> ProviderError:
    """A token could not be had, so that the call itself was not made."""
    if isinstance(error, TransportError) or error.retryable:
        return Unavailable("no_token", f"Google gave no access token: {error}")
    return AccountBlocked("no_token", f"Google refuses the Vertex credentials: {error}")
