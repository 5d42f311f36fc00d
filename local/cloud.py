"""The embedded cloud: MiniStack on loopback, started for one use and gone without a trace.

    with EmbeddedCloud(wait_scale=0.02) as cloud:
        cloud.bootstrap()
        outputs = cloud.deploy(context={"openai_base_url": "http://127.0.0.1:8080/openai/v1"})
        cloud.client("s3").upload_file("a.jsonl", outputs["InboxBucket"], "a.jsonl")

Nothing here can reach a real account: `env()` starts from the user's environment without its
AWS settings and profiles, and points every client at loopback. The server, its functions and the
CDK command line run guarded (`local.guard`); everything they write lies in one folder, in memory
where there is plenty of it, else below `.state/`, and is deleted with it.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import botocore.session
from botocore.config import Config

from local.guard import Guarded, remove_folder
from local.machine import (
    PROJECT,
    STATE,
    free_port,
    machine_architecture,
    neutral_env,
    roomy_memory,
)

ACCOUNT = "000000000000"
REGION = "us-east-1"
START_SECONDS = 60.0
_WARM_SECONDS = 45
"""For which a function's processes, 70 MiB each, stay when nobody calls them, but for one."""

# Neither boto3 nor botocore has complete types.
_boto3: Any = boto3
_botocore: Any = botocore.session
# A session made with these reads no profile, whatever AWS_PROFILE says.
_NO_PROFILE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class CloudError(Exception):
    """The embedded cloud, or a deployment to it, failed; the message holds the end of its log."""


class EmbeddedCloud:
    """Step Functions' waits and retry intervals are multiplied by `wait_scale`.

    `tls` serves HTTPS and enforces IAM, as AWS does; plain HTTP lets every caller do everything.
    """

    def __init__(
        self,
        *,
        wait_scale: float = 1.0,
        tls: bool = False,
        port: int | None = None,
        state: Path | None = None,
    ) -> None:
        self.wait_scale = wait_scale
        self.tls = tls
        self._fixed_port = port
        self._state = state or roomy_memory() or STATE
        self._port = 0
        self._identity = ""
        self._folder: Path | None = None
        self._server: Guarded | None = None
        self._trust: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def folder(self) -> Path:
        """Its own temporary folder, deleted when it stops."""
        if self._folder is None:
            raise CloudError("the embedded cloud is not running")
        return self._folder

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def env(self) -> dict[str, str]:
        """For any AWS client, the CDK and `batchdrop`: this cloud and no other."""
        return (
            neutral_env()
            | {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": ACCOUNT,
                "AWS_SECRET_ACCESS_KEY": "embedded",
            }
            | self._trust
        )

    def client(self, service: str) -> Any:
        """A boto3 client; also right while the user's own AWS settings are in `os.environ`."""
        session = _boto3.Session(botocore_session=_botocore.Session(session_vars=_NO_PROFILE))
        return session.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="embedded",
            verify=self._trust.get("AWS_CA_BUNDLE", False) if self.tls else None,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "max_attempts": 4},
                proxies={},
                s3={"addressing_style": "path"},
            ),
        )

    def start(self) -> None:
        attempts = 1 if self._fixed_port else 3
        try:
            for attempt in range(1, attempts + 1):
                self._port = self._fixed_port or free_port()
                if self._launch():
                    return
                said = self._tail(self.log)
                self.stop()
                taken = "already in use" in said or "Errno 98" in said or "Errno 48" in said
                if attempt == attempts or not taken:
                    raise CloudError(f"the embedded cloud did not start on {self.endpoint}: {said}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server and its functions' processes and deletes their folder; idempotent."""
        server, self._server = self._server, None
        folder, self._folder = self._folder, None
        if server is not None:
            server.stop()
        if folder is not None:
            remove_folder(folder)
        self._trust = {}

    def bootstrap(self) -> None:
        self._cdk("bootstrap", "--app", "", f"aws://{ACCOUNT}/{REGION}")

    def deploy(
        self,
        stack_name: str = "Batchdrop",
        context: Mapping[str, str] | None = None,
        *,
        project: Path = PROJECT,
        app: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, str]:
        """The stack's outputs. `app` is `cdk.json`'s unless given; `on_line` gets each line of
        the CDK's output as it comes."""
        settings = {"stack_name": stack_name, "lambda_architecture": machine_architecture()}
        settings |= dict(context or {})
        arguments = [part for pair in settings.items() for part in ("-c", f"{pair[0]}={pair[1]}")]
        if app is not None:
            arguments += ["--app", app]
        with tempfile.TemporaryDirectory(prefix="deploy-", dir=self.folder) as own:
            outputs = Path(own) / "outputs.json"
            arguments += ["--require-approval", "never", "--progress", "events"]
            arguments += ["--output", f"{own}/cdk.out", "--outputs-file", str(outputs)]
            self._cdk("deploy", stack_name, *arguments, project=project, on_line=on_line)
            found: dict[str, dict[str, str]] = json.loads(outputs.read_text())
        return found.get(stack_name, {})

    def _cdk(
        self,
        *arguments: str,
        project: Path = PROJECT,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        program = PROJECT / "node_modules" / ".bin" / "cdk"
        if not program.exists():
            raise CloudError("the CDK command line is not installed: run `make setup`")
        command = [str(program), *arguments, "--ci", "--no-notices", "--no-color"]
        said: list[str] = []
        env = self.env() | self._own_tmp()
        with Guarded(
            command, env=env, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as cdk:
            for line in _lines(cdk):
                said.append(line)
                if on_line is not None:
                    on_line(line)
            code = cdk.wait()
        if code != 0:
            told = "\n".join(said[-60:])
            raise CloudError(f"`cdk {arguments[0]}` failed with exit code {code}:\n{told}")

    def _launch(self) -> bool:
        """False if the server ended before it answered, with its reason in the log."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="batchdrop-cloud-", dir=self._state))
        self._identity = f"embedded-{uuid.uuid4().hex}"
        if self.tls:
            self._trust = self._make_certificate()
        with self.log.open("wb") as log:
            self._server = Guarded(
                [sys.executable, "-m", "ministack"],
                env=self._server_env(),
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                remove=self._folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._server.ended() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.05)
        raise CloudError(f"the embedded cloud did not answer in {START_SECONDS:.0f} seconds")

    def _server_env(self) -> dict[str, str]:
        env = self.env()
        # With an endpoint of their own, functions would not be told to trust the certificate.
        del env["AWS_ENDPOINT_URL"]
        return (
            env
            | {
                "GATEWAY_PORT": str(self._port),
                "BIND_HOST": "127.0.0.1",
                "IOT_MTLS_ENABLED": "0",
                "MINISTACK_EDITION": self._identity,
                "LAMBDA_EXECUTOR": "local",
                "LAMBDA_WARM_TTL_SECONDS": str(_WARM_SECONDS),
                "STATE_DIR": str(self.folder / "state"),
                "S3_DATA_DIR": str(self.folder / "s3"),
                "LOG_LEVEL": "WARNING",
                "SFN_WAIT_SCALE": str(self.wait_scale),
            }
            | ({"USE_SSL": "1", "AUTH": "true"} if self.tls else {})
            | self._own_tmp()
        )

    def _own_tmp(self) -> dict[str, str]:
        return {name: str(self._folder) for name in ("TMPDIR", "TMP", "TEMP")}

    def _make_certificate(self) -> dict[str, str]:
        """Has the server's own code write its certificate, before the server needs it, because
        the functions inherit the server's environment."""
        if shutil.which("openssl") is None:
            raise CloudError("the embedded cloud needs the `openssl` command for TLS: install it")
        code = (
            "from ministack.core import tls; cert, _ = tls.resolve_tls_material();"
            "print(cert); print(tls.ca_bundle_path(cert) or cert)"
        )
        made = subprocess.run(
            [sys.executable, "-c", code],
            env=neutral_env() | self._own_tmp(),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise CloudError(f"no certificate for the embedded cloud: {made.stderr.strip()}")
        certificate, bundle = made.stdout.split("\n")[:2]
        return {
            "AWS_CA_BUNDLE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "NODE_EXTRA_CA_CERTS": certificate,
        }

    def _answers(self) -> bool:
        """Whether it is this server that answers, and not another one on the same port."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls:
            trusted = ssl.create_default_context(cafile=self._trust["NODE_EXTRA_CA_CERTS"])
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(f"{self.endpoint}/_ministack/health", timeout=2) as answer:
                return json.load(answer).get("edition") == self._identity
        except (OSError, ValueError):
            return False

    @staticmethod
    def _tail(log: Path, lines: int = 30) -> str:
        if not log.exists():
            return ""
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _lines(command: Guarded) -> Iterator[str]:
    if command.output is not None:
        for raw in command.output:
            yield raw.decode(errors="replace").rstrip()


@contextmanager
def running_simulator(cloud: EmbeddedCloud, *, batch_seconds: float = 5.0) -> Generator[str]:
    """The provider simulator's address, `http://127.0.0.1:PORT`, while the context lasts."""
    log = cloud.folder / "simulator.log"
    command = [sys.executable, "-m", "local.simulator", "--port", "0"]
    command += ["--batch-seconds", str(batch_seconds)]
    with log.open("wb") as sink:
        simulator = Guarded(
            command, env=cloud.env(), cwd=PROJECT, stdout=sink, stderr=subprocess.STDOUT
        )
    with simulator:
        yield _announced_address(simulator, log)


def _announced_address(simulator: Guarded, log: Path) -> str:
    announcement = "simulator listening on "
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and simulator.ended() is None:
        for line in log.read_text(errors="replace").splitlines(keepends=True):
            if line.startswith(announcement) and line.endswith("\n"):
                return line.removeprefix(announcement).strip()
        time.sleep(0.05)
    raise CloudError(f"the provider simulator did not start:\n{log.read_text(errors='replace')}")
