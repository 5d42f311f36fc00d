"""The simulator as a program: how it starts, ends, speaks TLS and keeps a journal."""

import json
import os
import signal
import ssl
import subprocess
import urllib.error
from pathlib import Path

import httpx2
import openai
import pytest

from local.simulator.process import running, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_files_are_removed_at_the_end(tmp_path: Path, number: signal.Signals) -> None:
    with running(environment={"TMPDIR": str(tmp_path)}) as simulator:
        with openai.OpenAI(api_key="sk-1", base_url=f"{simulator.url}/openai/v1") as client:
            client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
        assert list(tmp_path.glob("simulator-*/*"))
        os.kill(simulator.pid, number)
        until(lambda: list(tmp_path.iterdir()), lambda left: not left)


def test_it_keeps_a_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with (
        running("--journal", str(journal)) as simulator,
        openai.OpenAI(
            api_key="sk-1", base_url=f"{simulator.url}/openai/v1", max_retries=0
        ) as client,
    ):
        client.files.list()
        simulator.fault("openai", "list", "drop_before")
        with pytest.raises(openai.APIConnectionError):
            client.batches.list()
    calls = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(call["operation"], call["status"]) for call in calls] == [
        ("list_files", 200),
        ("list", 0),
    ]
    assert calls[1]["faults"] == ["drop_before"]


def test_it_serves_over_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    make += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make += ["-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(make, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate with")
    with running("--certfile", str(certificate), "--keyfile", str(key)) as simulator:
        assert simulator.url.startswith("https://")
        trusting = httpx2.Client(verify=ssl.create_default_context(cafile=str(certificate)))
        with openai.OpenAI(
            api_key="sk-1", base_url=f"{simulator.url}/openai/v1", http_client=trusting
        ) as client:
            file = client.files.create(file=("a.jsonl", b"{}\n" * 100_000), purpose="batch")
            assert len(client.files.content(file.id).read()) == 300_000


def test_unknown_settings_and_faults_are_refused(tmp_path: Path) -> None:
    with running() as simulator:
        for path in ("settings", "faults"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                simulator.admin(path, {"nonsense": 1})
            caught.value.close()
            assert caught.value.code == 400
        assert simulator.admin("settings", {"shuffle": False})["shuffle"] is False
        simulator.fault("openai", "create", "stuck", times=2)
        assert len(simulator.admin("faults")["armed"]) == 1
        assert simulator.admin("faults", method="DELETE") == {"armed": []}
