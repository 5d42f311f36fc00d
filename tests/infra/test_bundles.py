"""The zips: what changes them, what is in them, and that they run on their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from infra import bundling
from infra.bundling import (
    REQUIREMENTS,
    UNZIPPED_LIMIT,
    Bundle,
    BundleName,
    BundlingError,
    archives,
)
from infra.config import MIB, RUNNING_PYTHON

PLAIN = ("intake", "ask", "reconcile", "assemble", "cut", "slice", "join", "report", "sweep")
PLAIN += ("command", "rescue")
OF_A_PROVIDER = ("submit", "poll", "collect", "clean_up", "tidy")
HANDLERS_OF: dict[BundleName, tuple[str, ...]] = {
    "plain": PLAIN,
    "prices": ("price",),
    "recipes": ("plan", "shard"),
}
SDKS = ("openai", "anthropic", "google")
EXPECTED_MIB: dict[BundleName, int] = {
    "plain": 25,
    "prices": 35,
    "recipes": 50,
    "openai": 60,
    "anthropic": 80,
    "vertex": 180,
}
SDK_OF = {"openai": {"openai"}, "anthropic": {"anthropic"}, "vertex": {"google"}}
HERE: Literal["arm64", "x86_64"] = (
    "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
)


def bundle(
    name: BundleName = "plain",
    *,
    python: str = RUNNING_PYTHON,
    architecture: Literal["arm64", "x86_64"] = HERE,
) -> Bundle:
    return Bundle(name=name, python=python, architecture=architecture)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small `functions` folder of the test's own."""
    folder = tmp_path / "functions"
    (folder / "handlers").mkdir(parents=True)
    (folder / "handlers" / "plan.py").write_text("x = 1\n")
    (folder / "requirements.txt").write_text("msgspec\n")
    monkeypatch.setattr(bundling, "ROOT", tmp_path)
    monkeypatch.setattr(bundling, "FUNCTIONS", folder)
    monkeypatch.setattr(bundling, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(bundling, "__file__", str(tmp_path / "bundling.py"))
    (tmp_path / "bundling.py").write_text("")
    return tmp_path


def test_an_unchanged_project_keeps_its_fingerprint(copied: Path) -> None:
    before = bundle().fingerprint()
    (copied / "functions" / "__pycache__").mkdir()
    (copied / "functions" / "__pycache__" / "plan.pyc").write_bytes(b"any")
    (copied / "functions" / ".plan.py.swp").write_text("any")
    (copied / "README.md").write_text("any")
    os.utime(copied / "functions" / "handlers" / "plan.py", (1, 1))
    assert bundle().fingerprint() == before


@pytest.mark.parametrize(
    "changed",
    [
        "functions/handlers/plan.py",
        "functions/handlers/new.py",
        "functions/requirements.txt",
        "constraints.txt",
        "bundling.py",
    ],
)
def test_whatever_goes_in_changes_the_fingerprint(copied: Path, changed: str) -> None:
    before = bundle().fingerprint()
    (copied / changed).write_text("x = 2\n")
    assert bundle().fingerprint() != before


def test_a_moved_file_changes_the_fingerprint(copied: Path) -> None:
    before = bundle().fingerprint()
    (copied / "functions/handlers/plan.py").rename(copied / "functions/handlers/plans.py")
    assert bundle().fingerprint() != before


def test_bundles_for_different_targets_differ() -> None:
    prints = [
        bundle(name, python=python, architecture=architecture).fingerprint()
        for name in REQUIREMENTS
        for python in ("3.11", "3.13")
        for architecture in ("arm64", "x86_64")
    ]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    ("python", "architecture", "target"),
    [
        ("3.11", "arm64", "aarch64-manylinux_2_17"),
        ("3.11", "x86_64", "x86_64-manylinux_2_17"),
        ("3.12", "x86_64", "x86_64-manylinux_2_28"),
        ("3.14", "arm64", "aarch64-manylinux_2_28"),
    ],
)
def test_wheels_fit_the_runtimes_glibc(
    python: str, architecture: Literal["arm64", "x86_64"], target: str
) -> None:
    assert bundle(python=python, architecture=architecture).platform == target


def test_byte_code_is_this_interpreters(tmp_path: Path) -> None:
    with pytest.raises(BundlingError, match=r"3\.99 cannot be compiled by"):
        bundle(python="3.99").build(tmp_path)


def test_what_cannot_be_installed_is_said(copied: Path, tmp_path: Path) -> None:
    (copied / "functions/requirements.txt").write_text("no-such-wheel @ file:///nowhere.whl\n")
    with pytest.raises(BundlingError, match=r"(?s)plain bundle.*requirements\.txt.*nowhere"):
        bundle().build(tmp_path / "out")


def test_one_that_cannot_be_built_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def archive(self: Bundle) -> Path:
        if self.name == "prices":
            raise BundlingError("no wheels")
        return Path(f"{self.name}-{self.python}.zip")

    monkeypatch.setattr(Bundle, "archive", archive)
    archives.cache_clear()
    found = archives("3.11", "arm64")
    assert set(found) == set(REQUIREMENTS)
    assert found["plain"].result() == Path("plain-3.11.zip")
    with pytest.raises(BundlingError, match="no wheels"):
        found["prices"].result()
    archives.cache_clear()


def test_a_bundle_that_lambda_would_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(b"x" * 2 * MIB)
    monkeypatch.setattr(bundling, "UNZIPPED_LIMIT", MIB)
    with pytest.raises(BundlingError, match="plain bundle is 2 MiB unzipped; allowed is 1 MiB"):
        bundling.check_size(tmp_path, name="plain")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[BundleName, Path]:
    made: dict[BundleName, Path] = {}
    for name in REQUIREMENTS:
        made[name] = tmp_path_factory.mktemp(name)
        bundle(name).build(made[name])
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUIREMENTS)
def test_a_bundle_runs_on_its_own(built: dict[BundleName, Path], name: BundleName) -> None:
    """With nothing else on the path, no environment, and nothing written beside the sources."""
    handlers = HANDLERS_OF.get(name, OF_A_PROVIDER)
    imports = "; ".join(f"import functions.handlers.{handler}" for handler in handlers)
    imports += "".join(f"; import {sdk}" for sdk in SDK_OF.get(name, ()))
    before = sorted(built[name].rglob("*"))
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(built[name])!r}); {imports}",
        ],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(built[name].rglob("*")) == before, "byte code was compiled again"


@pytest.mark.slow
def test_recipes_are_read_rendered_and_held_against_their_schema(
    built: dict[BundleName, Path],
) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from functions.recipes.adapter import RecipeFiles\n"
        "files = RecipeFiles()\n"
        "text = (b'provider: openai\\nmodel: m\\nprompt: Is {{ text }} it?\\n'\n"
        "        b'response_schema: {type: object}')\n"
        "maker = files.maker(files.prepare('recipe.yaml', text, 'data'))\n"
        'print(maker.make([b\'{"text": "this"}\'])[0].line.decode())\n'
        "maker.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(built["recipes"])],
        env={},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Is this it?" in done.stdout
    fits = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from functions.recipes.schemas import checker\n"
        'assert checker(b\'{"type": "object"}\')(b\'"[]"\')'
    )
    for name in ("openai", "anthropic", "vertex"):
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", fits, str(built[name])], env={}, check=True
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_size_of_a_bundle(built: dict[BundleName, Path], name: BundleName) -> None:
    size = sum(path.stat().st_size for path in built[name].rglob("*") if path.is_file())
    assert size < EXPECTED_MIB[name] * MIB < UNZIPPED_LIMIT


@pytest.mark.slow
def test_only_a_providers_bundle_has_its_sdk(built: dict[BundleName, Path]) -> None:
    for name, root in built.items():
        assert {sdk for sdk in SDKS if (root / sdk).exists()} == SDK_OF.get(name, set()), name


@pytest.mark.slow
def test_what_is_left_out(built: dict[BundleName, Path]) -> None:
    for root in built.values():
        services = {path.name for path in (root / "botocore/data").iterdir() if path.is_dir()}
        assert services == set(bundling.SERVICES)
        for pattern in ("*.pyi", "*.dist-info/RECORD", "bin/*"):
            assert list(root.rglob(pattern)) == [], pattern
        assert list(root.glob("boto3-*.dist-info/METADATA"))


@pytest.mark.slow
def test_a_client_of_every_service_can_be_made(built: dict[BundleName, Path]) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import boto3; "
        "print([boto3.client(name, region_name='eu-west-1').meta.endpoint_url "
        "for name in sys.argv[2:]])"
    )
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(built["plain"]), *bundling.SERVICES],
        env={"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        check=True,
        capture_output=True,
    )
