"""What a function's zip contains, built without Docker: our package, its dependencies, byte code.

One bundle serves many functions. Wheels are resolved for Lambda's platform, whatever this machine
is; byte code is this interpreter's, so the Lambda runtime has to be the same minor version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import jsii
from aws_cdk import AssetHashType, BundlingOptions, BundlingOutput, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_
from uv import find_uv_bin

from infra.config import MIB, RUNNING_PYTHON

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "functions"
CONSTRAINTS = ROOT / "constraints.txt"  # pins what the requirements bring along, where it exists
ARCHIVES = ROOT / ".state" / "cache" / "bundles"
KEEP_SECONDS = 7 * 86_400
UNZIPPED_LIMIT = 200 * MIB  # Lambda's own is 250 MB, layers included
AT_ONCE = 2  # bundles that are built

Architecture = Literal["arm64", "x86_64"]
BundleName = Literal["plain", "prices", "recipes", "openai", "anthropic", "vertex"]
REQUIREMENTS: dict[BundleName, str] = {
    "plain": "requirements.txt",
    "prices": "requirements-prices.txt",
    "recipes": "requirements-recipes.txt",
    "openai": "requirements-openai.txt",
    "anthropic": "requirements-anthropic.txt",
    "vertex": "requirements-vertex.txt",
}

# The AWS services that functions call, as botocore spells their data folders.
SERVICES = (
    "dynamodb",
    "events",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "stepfunctions",
    "sts",
)
SERVICE_MODELS = ("botocore/data", "boto3/data")
NOT_FOR_RUNNING = ("bin", "boto3/examples")
# google-cloud-aiplatform brings a whole platform; the functions use its job service over REST,
# and google-cloud-storage over JSON.
NOT_FOR_JOBS = (
    "agentplatform",
    "vertexai",
    "vertex_ray",
    "google/genai",
    "google/cloud/aiplatform",
    "google/cloud/aiplatform_v1beta1",
    "google/cloud/bigquery*",
    "google/cloud/resourcemanager*",
    "google/cloud/_storage_v2",
    "google/cloud/aiplatform_v1/services/[!_j]*",
    "google/cloud/aiplatform_v1/services/j[!o]*",
    *("websockets", "anyio", "httpx", "httpcore", "h11", "sniffio", "distro", "tenacity"),
    *("docstring_parser", "pyasn1_modules", "pycparser"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
)
PRUNED: dict[BundleName, tuple[str, ...]] = {"vertex": NOT_FOR_JOBS}
INSTALLER_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json")


class BundlingError(RuntimeError):
    """A bundle could not be built; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One zip: the whole `functions` package with the dependencies that `name` calls for."""

    name: BundleName
    python: str
    architecture: Architecture

    @property
    def requirements(self) -> Path:
        return FUNCTIONS / REQUIREMENTS[self.name]

    @property
    def platform(self) -> str:
        """Python 3.11 runs on Amazon Linux 2 (glibc 2.26), newer ones on 2023 (glibc 2.34)."""
        machine = "aarch64" if self.architecture == "arm64" else "x86_64"
        return f"{machine}-manylinux_{'2_17' if self.python == '3.11' else '2_28'}"

    def fingerprint(self) -> str:
        """Of everything that the bundle is made from, so that no unchanged project is rebuilt."""
        digest = hashlib.sha256(f"{self.name} {self.python} {self.platform}".encode())
        made_from = [*_sources(), Path(__file__).resolve()]
        if CONSTRAINTS.exists():
            made_from.append(CONSTRAINTS)
        for path in sorted(made_from):
            content = path.read_bytes()
            place = path.relative_to(ROOT).as_posix()
            digest.update(f"\n{place} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def build(self, output: Path) -> None:
        """Raises `BundlingError`; prints nothing."""
        if self.python != RUNNING_PYTHON:
            raise BundlingError(
                f"Byte code for Python {self.python} cannot be compiled by {RUNNING_PYTHON}: "
                f"run app.py with Python {self.python}."
            )
        self._install(output)
        _prune(output, PRUNED.get(self.name, ()))
        _compile(output, sourceless=True)
        for source in _sources():
            target = output / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        _compile(output / "functions")
        check_size(output, name=self.name)

    def archive(self) -> Path:
        """The zip, built once for each fingerprint. Raises `BundlingError`."""
        made = ARCHIVES / f"{self.name}-{self.fingerprint()}.zip"
        if made.exists():
            return made
        ARCHIVES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ARCHIVES) as folder:
            self.build(Path(folder) / "bundle")
            half_made = Path(folder) / "bundle.zip"
            _zip(Path(folder) / "bundle", half_made)
            for older in ARCHIVES.glob(f"{self.name}-*.zip"):
                if older.stat().st_mtime < time.time() - KEEP_SECONDS:
                    older.unlink(missing_ok=True)
            half_made.replace(made)
        return made

    def code(self) -> lambda_.Code:
        return lambda_.Code.from_asset(
            str(FUNCTIONS),
            asset_hash_type=AssetHashType.CUSTOM,
            asset_hash=self.fingerprint(),
            bundling=BundlingOptions(
                image=DockerImage.from_registry("never-pulled"),  # required, though never used
                local=_Local(self),
                output_type=BundlingOutput.ARCHIVED,
            ),
        )

    def _install(self, output: Path) -> None:
        command = [find_uv_bin(), "pip", "install", "--quiet", "--no-progress", "--color", "never"]
        command += ["--link-mode", "copy", "--only-binary", ":all:"]
        command += ["--python", sys.executable, "--python-version", self.python]
        command += ["--python-platform", self.platform, "--target", str(output)]
        command += ["--requirement", str(self.requirements)]
        if CONSTRAINTS.exists():
            command += ["--constraint", str(CONSTRAINTS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BundlingError(
                f"The {self.name} bundle's dependencies could not be installed from "
                f"{self.requirements.name} (uv reads UV_DEFAULT_INDEX and UV_INDEX, not pip's "
                f"configuration):\n{done.stderr.strip()}"
            )


@jsii.implements(ILocalBundling)
class _Local:
    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        bundle = self._bundle
        try:
            archive = archives(bundle.python, bundle.architecture)[bundle.name].result()
            shutil.copyfile(archive, Path(output_dir) / "bundle.zip")
        except BundlingError as error:
            sys.exit(str(error))  # jsii would bury any other exception in 60 lines of its own
        return True


@lru_cache(maxsize=1)
def archives(python: str, architecture: Architecture) -> dict[BundleName, Future[Path]]:
    """All that a deployment needs, two at a time: one is installed while another is zipped. Each
    may have failed, see `Bundle.archive`."""
    bundles = [Bundle(name=name, python=python, architecture=architecture) for name in REQUIREMENTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {bundle.name: pool.submit(bundle.archive) for bundle in bundles}


def _sources() -> Iterator[Path]:
    """Requirement files too: a bump has to redeploy."""
    for path in FUNCTIONS.rglob("*"):
        parts = path.relative_to(FUNCTIONS).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
            yield path


def _prune(output: Path, unused: tuple[str, ...]) -> None:
    """Takes out what nothing imports: botocore alone describes 400 services in 25 MB."""
    for pattern in unused:
        for path in output.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in SERVICE_MODELS:
        for service in (output / folder).iterdir():
            if service.is_dir() and service.name not in SERVICES:
                shutil.rmtree(service)
    for folder in NOT_FOR_RUNNING:
        shutil.rmtree(output / folder, ignore_errors=True)
    for tests in [path for path in output.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests, ignore_errors=True)
    for stub in [*output.rglob("*.pyi"), *output.rglob("py.typed")]:
        stub.unlink()
    for note in INSTALLER_NOTES:
        for path in output.glob(f"*.dist-info/{note}"):
            path.unlink()
    (output / ".lock").unlink(missing_ok=True)


def _zip(folder: Path, archive: Path) -> None:
    """The same content makes the same bytes: in order, and all of 1980."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
                out.writestr(entry, path.read_bytes())


def _compile(folder: Path, *, sourceless: bool = False) -> None:
    """A zip's files carry the year 1980, so byte code must not be checked against time stamps.

    Dependencies go without their sources: half the files to unpack at a cold start, and half the
    size; ours keep theirs, for the lines in a traceback."""
    command = [sys.executable, "-m", "compileall", "-qq", "-f", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash", *(["-b"] if sourceless else [])]
    command += ["-s", str(folder.parent if not sourceless else folder), "-p", "/var/task"]
    done = subprocess.run([*command, str(folder)], capture_output=True, check=False)
    if done.returncode != 0:
        raise BundlingError(f"Some module below {folder} does not compile.")
    if sourceless:
        for source in folder.rglob("*.py"):
            source.unlink()


def check_size(output: Path, *, name: str) -> None:
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > UNZIPPED_LIMIT:
        raise BundlingError(
            f"The {name} bundle is {size / MIB:.0f} MiB unzipped; allowed is "
            f"{UNZIPPED_LIMIT / MIB:.0f} MiB, since Lambda ends at 250 MB."
        )
