"""The embedded cloud leaves nothing behind, and reaches nobody's account."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.cloud import ACCOUNT, CloudError, EmbeddedCloud
from local.machine import PROJECT, neutral_env

# A shell that starts the tests in the background has SIGINT ignored, also by what they start.
SCRIPT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from local.cloud import EmbeddedCloud
cloud = EmbeddedCloud(state=Path(sys.argv[1]))
{before}
with cloud:
    print(cloud.endpoint, flush=True)
    time.sleep(60)
"""


def processes_in(folder: Path) -> list[str]:
    """Command lines of those that know of the folder, by their environment or arguments."""
    listed = subprocess.run(
        ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    own = str(os.getpid())
    lines = listed.stdout.splitlines()
    return [line for line in lines if str(folder) in line and line.split()[0] != own]


def assert_gone(folder: Path, within: float = 10) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not processes_in(folder) and not list(folder.glob("batchdrop-cloud-*")):
            return
        time.sleep(0.1)
    raise AssertionError((processes_in(folder), list(folder.glob("batchdrop-cloud-*"))))


def test_it_serves_and_leaves_nothing(tmp_path: Path) -> None:
    with EmbeddedCloud(state=tmp_path) as cloud:
        assert cloud.client("sts").get_caller_identity()["Account"] == ACCOUNT
        cloud.client("s3").create_bucket(Bucket="a-bucket")
        assert processes_in(tmp_path)
        endpoint = cloud.endpoint
    assert_gone(tmp_path, within=0.5)
    cloud.stop()
    with pytest.raises(CloudError, match="not running"):
        _ = cloud.folder
    with EmbeddedCloud(state=tmp_path) as second:
        assert second.client("s3").list_buckets()["Buckets"] == []
        assert second.endpoint != endpoint


def test_two_run_side_by_side(tmp_path: Path) -> None:
    with EmbeddedCloud(state=tmp_path) as one, EmbeddedCloud(state=tmp_path) as two:
        one.client("s3").create_bucket(Bucket="only-in-one")
        assert two.client("s3").list_buckets()["Buckets"] == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(CloudError, match=f"127.0.0.1:{port}.*\n?.*already in use"):
            EmbeddedCloud(port=port, state=tmp_path).start()
    assert_gone(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["starting", "running"])
def test_it_ends_with_its_starter(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    before = "print('starting', flush=True)" if moment == "starting" else ""
    starter = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(before=before), str(tmp_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        if moment == "starting":
            time.sleep(0.3)
        starter.send_signal(number)
        starter.wait(10)
    assert_gone(tmp_path)


def test_real_accounts_are_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real-token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.amazonaws.com")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "123456789012")
    with EmbeddedCloud(state=tmp_path) as cloud:
        env = cloud.env()
        assert env["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
        assert env["AWS_ACCESS_KEY_ID"] == ACCOUNT
        assert env["AWS_CONFIG_FILE"] == os.devnull
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            assert name not in env
        assert not {"OPENAI_API_KEY", "CDK_DEFAULT_ACCOUNT"} & set(env)
        assert cloud.client("sts").get_caller_identity()["Account"] == ACCOUNT
    assert "AWS_ENDPOINT_URL" not in neutral_env()


def test_tls_enforces_rights(tmp_path: Path) -> None:
    with EmbeddedCloud(state=tmp_path, tls=True) as cloud:
        env = cloud.env()
        assert env["AWS_ENDPOINT_URL"].startswith("https://")
        assert Path(env["NODE_EXTRA_CA_CERTS"]).is_file()
        assert Path(env["AWS_CA_BUNDLE"]).is_file()
        listing = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'])"
        command = [sys.executable, "-c", listing]
        told = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert told.stdout == "[]\n"
        stranger = env | {"AWS_ACCESS_KEY_ID": "AKIANOBODY"}
        told = subprocess.run(command, env=stranger, capture_output=True, text=True, check=False)
        assert "InvalidAccessKeyId" in told.stderr
    assert_gone(tmp_path, within=0.5)


def test_a_failed_deployment_shows_the_cdk_output(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text('{"app": "echo no stack today >&2; exit 3"}')
    with (
        EmbeddedCloud(state=tmp_path / "state") as cloud,
        pytest.raises(CloudError, match=r"`cdk deploy` failed.*\n(.*\n)*.*no stack today"),
    ):
        cloud.deploy("Thing", project=tmp_path)
    assert_gone(tmp_path / "state")
