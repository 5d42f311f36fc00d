"""`batchdrop keys set PROVIDER`: stores a provider's API key.

It is never an argument, so that it stays out of the shell's history and of the process list.
"""

from __future__ import annotations

import getpass
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from botocore.exceptions import ClientError

from cli.errors import CliError, error_code
from cli.stack import DEFAULT_STACK, Stack, StackOption, find_stack
from cli.terminal import err

app = typer.Typer(no_args_is_help=True, help="The providers' API keys.")

MAX_BYTES = 65_536
"""Secrets Manager's limit for a secret's value."""

_VERTEX_TEXTS = ("project", "location", "bucket")
_VERTEX_FIELDS = {*_VERTEX_TEXTS, "credentials", "anonymous"}
_VERTEX_SHAPE = (
    "a JSON object with `project`, `location`, `bucket`, and either `credentials` (a "
    "workload-identity-federation or service-account document) or `anonymous`: true"
)


class Provider(StrEnum):
    openai = "openai"
    anthropic = "anthropic"
    vertex = "vertex"


_OUTPUTS = {
    Provider.openai: "OpenAISecretArn",
    Provider.anthropic: "AnthropicSecretArn",
    Provider.vertex: "VertexSecretArn",
}


@app.command("set")
def set_key(
    provider: Annotated[Provider, typer.Argument(help="Whose key it is.")],
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="Read the key from this file.")
    ] = None,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Store a provider's API key, from a prompt, from stdin or from a file."""
    key = check_key(provider, _read_key(provider, from_file))
    store_key(find_stack(stack), provider, key)
    err().print(f"The {provider.value} key is stored.")


def store_key(stack: Stack, provider: Provider, key: str) -> None:
    arn = stack.output(_OUTPUTS[provider])
    try:
        stack.aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=key)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            raise CliError(
                f"The secret for {provider.value} is gone: deploy the stack again."
            ) from error
        raise


def check_key(provider: Provider, text: str) -> str:
    """The value to store. Raises `CliError` for what cannot be a key, without repeating it."""
    value = text.removeprefix("\ufeff").strip()
    if not value:
        raise CliError(f"Key refused: it is empty; give the {provider.value} key.")
    if len(value.encode()) > MAX_BYTES:
        raise CliError(f"Key refused: it is longer than {MAX_BYTES:,} bytes.")
    if provider is Provider.vertex:
        return _check_vertex(value)
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise CliError(
            "Key refused: it has blanks, line breaks or other characters that no key has; "
            "give the key alone."
        )
    if value[0] in "{\"'":
        raise CliError(
            f"Key refused: a {provider.value} key is a plain string, without quotes or JSON."
        )
    return value


def _check_vertex(value: str) -> str:
    try:
        document: Any = json.loads(value)
    except ValueError as error:
        raise CliError(f"Key refused: it is not JSON; Vertex takes {_VERTEX_SHAPE}.") from error
    problem = _vertex_problem(document)
    if problem:
        raise CliError(f"Key refused: {problem}; Vertex takes {_VERTEX_SHAPE}.")
    return json.dumps(document)


def _vertex_problem(document: Any) -> str | None:
    if not isinstance(document, dict):
        return "it is not an object"
    fields = cast("dict[str, Any]", document)
    unknown = sorted(set(fields) - _VERTEX_FIELDS)
    if unknown:
        return f"`{unknown[0]}` is no field of it"
    for name in _VERTEX_TEXTS:
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            return f"`{name}` is missing or not a text"
    if "/" in fields["bucket"] or ":" in fields["bucket"]:
        return "`bucket` must be a bucket's name, without gs:// or a path"
    if "anonymous" in fields and not isinstance(fields["anonymous"], bool):
        return "`anonymous` is neither true nor false"
    anonymous = fields.get("anonymous") is True
    credentials = fields.get("credentials")
    if anonymous == (credentials is not None):
        return "exactly one of `credentials` and `anonymous` is needed"
    if not anonymous and not (isinstance(credentials, dict) and "type" in credentials):
        return "`credentials` is not a credentials document: it has no `type`"
    return None


def _read_key(provider: Provider, path: Path | None) -> str:
    if path is not None:
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CliError(f"{path}: it is not a text file.") from error
    if not sys.stdin.isatty():
        return sys.stdin.read()
    if provider is Provider.vertex:
        raise CliError("Vertex takes a JSON document: give it with --from-file, or on stdin.")
    return getpass.getpass(f"{provider.value} API key (not shown): ")
