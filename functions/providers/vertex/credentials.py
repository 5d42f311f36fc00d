"""The Vertex secret: which project, location and bucket to use, and as whom.

`{"project", "location", "bucket", "credentials" or "anonymous": true}`. With workload identity
federation nothing in it is secret: the function's own AWS role is exchanged for a token, from the
variables that Lambda sets (https://cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds).
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import re
from typing import Any

import google.auth.aws
import msgspec
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from functions.batch.errors import KeyMissing

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_COMMAND = "batchdrop keys set vertex"
_PROJECT = re.compile(r"[A-Za-z0-9.:_-]+")
_LOCATION = re.compile(r"[a-z0-9-]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+")


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    project: str
    location: str
    bucket: str
    credentials: dict[str, Any] | None = None
    anonymous: bool = False


def read(secret: str) -> Secret:
    """Raises `KeyMissing` that names what is wrong, and repeats nothing of the secret."""
    try:
        found = msgspec.json.decode(secret, type=Secret)
    except msgspec.ValidationError as error:
        raise _bad(str(error)) from error
    except msgspec.DecodeError as error:
        raise _bad("it is not JSON") from error
    if not found.project.strip():
        raise _bad("`project` is empty")
    if not _PROJECT.fullmatch(found.project):
        raise _bad("`project` is no project's id or number")
    if not _LOCATION.fullmatch(found.location):
        raise _bad("`location` is no region such as us-central1, nor global")
    if not _BUCKET.fullmatch(found.bucket):
        raise _bad("`bucket` must be a bucket's name, without gs:// or a path")
    if found.anonymous == (found.credentials is not None):
        raise _bad("exactly one of `credentials` and `anonymous` is needed")
    return found


def credentials(secret: Secret) -> Credentials:
    """Raises `KeyMissing`."""
    document = secret.credentials
    if document is None:
        return AnonymousCredentials()
    try:
        match document.get("type"):
            case "external_account":
                return google.auth.aws.Credentials.from_info(document, scopes=SCOPES)
            case "service_account":
                made = service_account.Credentials.from_service_account_info(
                    document, scopes=SCOPES
                )
                made.sign_bytes(b"")  # a key of another kind than RSA is read, but cannot sign
                return made
            case _:
                problem = "`credentials.type` is neither external_account nor service_account"
    except (GoogleAuthError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = type(error).__name__ if isinstance(error, (KeyError, TypeError)) else str(error)
        problem = f"`credentials` is not a complete {document['type']} document ({said})"
        raise _bad(problem) from error
    raise _bad(problem)


def _bad(problem: str) -> KeyMissing:
    return KeyMissing(
        "bad_key",
        f"The Vertex key cannot be used: {problem}. Set it with: {_COMMAND}",
    )
