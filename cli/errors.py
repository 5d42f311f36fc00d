"""Every failure as one sentence that says what to do.

CliError      raised by a command, with such a sentence
`explain`     the same for what boto3 and the operating system raise
"""

from __future__ import annotations

import os

from botocore import exceptions as boto

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN_KEY = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
)
_SIGNED_OUT = (boto.SSOError, boto.TokenRetrievalError)
_UNREACHABLE = (boto.HTTPClientError, boto.EndpointConnectionError, boto.ConnectionError)

SIGN_IN = "run `aws configure` or `aws sso login`, or set AWS_PROFILE"


class CliError(Exception):
    """The message is all that the user sees."""


def error_code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: Exception) -> str | None:
    """None for an exception that no sentence is known for: a defect of ours."""
    if isinstance(error, CliError):
        return str(error)
    if isinstance(error, boto.ClientError):
        return _explain_refusal(error)
    if isinstance(error, boto.BotoCoreError):
        return _explain_client(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return None


def _explain_client(error: boto.BotoCoreError) -> str:
    if isinstance(error, _NO_CREDENTIALS):
        return f"No AWS credentials were found: {SIGN_IN}."
    if isinstance(error, _SIGNED_OUT):
        return f"The AWS sign-in is no longer valid: {SIGN_IN}."
    if isinstance(error, boto.NoRegionError):
        return "No AWS region is set: set AWS_REGION, or choose one with `aws configure`."
    if isinstance(error, boto.ProfileNotFound):
        return f"{error}: check AWS_PROFILE against `aws configure list-profiles`."
    if isinstance(error, _UNREACHABLE):
        return _explain_unreachable()
    return f"{error}."


def _explain_unreachable() -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        return (
            f"Nothing answers at {endpoint}: start the embedded cloud, "
            "or unset AWS_ENDPOINT_URL to use AWS."
        )
    return "AWS cannot be reached: check the network connection and AWS_REGION."


def _explain_refusal(error: boto.ClientError) -> str:
    code = error_code(error)
    said = str(error.response.get("Error", {}).get("Message", "")).rstrip(".") or code
    if code in _EXPIRED:
        return f"The AWS session has expired: {SIGN_IN}."
    if code in _UNKNOWN_KEY:
        return f"AWS does not accept the credentials ({code}): {SIGN_IN}."
    if code in _DENIED:
        return f"AWS denies {error.operation_name}: {said}; ask for that permission."
    if code in _THROTTLED:
        return f"AWS throttles {error.operation_name}: try again in a minute."
    return f"AWS refused {error.operation_name}: {said} ({code})."
