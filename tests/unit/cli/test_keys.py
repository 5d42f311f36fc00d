from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CliError
from cli.keys import Provider, check_key
from cli.stack import Stack

VERTEX = {"project": "p", "location": "us-central1", "bucket": "b", "anonymous": True}


def stored(stack: Stack, output: str) -> str:
    secrets = stack.aws.client("secretsmanager")
    return secrets.get_secret_value(SecretId=stack.output(output))["SecretString"]


def test_a_key_is_read_from_stdin_without_its_line_break(
    stack: Stack, run: Callable[..., Any]
) -> None:
    result = run("keys", "set", "openai", given="sk-secret-1\n")
    assert result.exit_code == 0
    assert stored(stack, "OpenAISecretArn") == "sk-secret-1"
    assert "sk-secret-1" not in result.output


def test_a_key_is_read_from_a_file(stack: Stack, run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "vertex.json"
    file.write_text(json.dumps(VERTEX, indent=1))
    assert run("keys", "set", "vertex", "--from-file", str(file)).exit_code == 0
    assert json.loads(stored(stack, "VertexSecretArn")) == VERTEX


def test_a_key_is_never_an_argument(run: Callable[..., Any]) -> None:
    result = run("keys", "set", "openai", "sk-secret")
    assert result.exit_code == 2


def test_a_missing_file_is_one_sentence(run: Callable[..., Any], aws_env: None) -> None:
    result = run("keys", "set", "openai", "--from-file", "/nowhere/key")
    assert result.exit_code == 1
    assert result.stderr == "/nowhere/key: No such file or directory\n"


def test_a_stack_of_an_older_version_has_no_such_secret(
    run: Callable[..., Any], stack: Stack
) -> None:
    result = run("keys", "set", "anthropic", given="sk-ant-1")
    assert result.exit_code == 1
    assert "has no output AnthropicSecretArn" in result.stderr


@pytest.mark.parametrize(
    "text", ["", " \n", "two words", "line\nbreak", '"quoted"', '{"key": 1}', "ключ", "a" * 70_000]
)
def test_what_cannot_be_a_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(CliError, match=r"^Key refused") as refused:
        check_key(Provider.openai, text)
    assert not text.strip() or text not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"project": None}, "`project`"),
        ({"bucket": "gs://b"}, "without gs://"),
        ({"anonymous": "yes"}, "neither true nor false"),
        ({"anonymous": False}, "exactly one"),
        ({"credentials": {"type": "service_account"}}, "exactly one"),
        ({"anonymous": False, "credentials": {}}, "no `type`"),
        ({"region": "x"}, "`region` is no field"),
    ],
)
def test_a_vertex_document_is_checked(change: dict[str, Any], why: str) -> None:
    with pytest.raises(CliError, match=why):
        check_key(Provider.vertex, json.dumps(VERTEX | change))


@pytest.mark.parametrize("text", ["sk-1", "[1]", "null", '"text"'])
def test_a_vertex_key_is_an_object(text: str) -> None:
    with pytest.raises(CliError, match=r"not JSON|not an object"):
        check_key(Provider.vertex, text)


def test_vertex_credentials_are_accepted() -> None:
    document = {name: VERTEX[name] for name in ("project", "location", "bucket")}
    document |= {"credentials": {"type": "external_account"}}
    assert json.loads(check_key(Provider.vertex, json.dumps(document))) == document
