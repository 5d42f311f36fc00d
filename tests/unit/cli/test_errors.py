"""Every failure is one sentence on stderr and exit code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions as boto

from cli.errors import explain
from cli.stack import Stack
from local.cloud import EmbeddedCloud
from local.machine import PROJECT, free_port

Run = Callable[..., Any]


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any AWS setting."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BATCHDROP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def one_sentence(result: Any) -> str:
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def test_no_region(nobody: None, run: Run) -> None:
    assert "No AWS region" in one_sentence(run("jobs"))


def test_no_credentials(nobody: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert "No AWS credentials" in one_sentence(run("jobs"))


def test_unknown_profile(nobody: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "check AWS_PROFILE" in one_sentence(run("jobs"))


def test_no_stack(aws_env: None, run: Run) -> None:
    told = one_sentence(run("jobs", "--stack", "Elsewhere"))
    assert "There is no stack Elsewhere" in told
    assert "npx cdk deploy" in told


def test_a_stack_of_something_else(aws_env: None, cloud: EmbeddedCloud, run: Run) -> None:
    template = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    cloud.client("cloudformation").create_stack(StackName="Other", TemplateBody=template)
    assert "not a Batchdrop stack" in one_sentence(run("jobs", "--stack", "Other"))


def test_nothing_answers(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    told = explain(boto.EndpointConnectionError(endpoint_url=endpoint))
    assert told is not None
    assert told.startswith(f"Nothing answers at {endpoint}")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ExpiredToken", "session has expired"),
        ("InvalidClientTokenId", "does not accept the credentials"),
        ("AccessDenied", "denies GetObject: No"),
        ("SlowDown", "throttles GetObject"),
        ("Strange", "refused GetObject: No (Strange)"),
    ],
)
def test_refusals_by_aws(code: str, told: str) -> None:
    error = boto.ClientError({"Error": {"Code": code, "Message": "No."}}, "GetObject")
    assert told in (explain(error) or "")


def test_a_defect_is_one_sentence_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> Stack:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("cli.jobs.find_stack", broken)
    assert "Unexpected ZeroDivisionError: by zero" in one_sentence(run("jobs"))


def test_a_reader_that_leaves_early_is_no_error(cloud: EmbeddedCloud, stack: Stack) -> None:
    command = f"{sys.executable} -m cli.main jobs --json --stack {stack.name} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=cloud.env(),
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
