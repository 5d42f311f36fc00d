"""The arrows between the rooms: handlers → use cases → ports ← adapters."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from functions.handlers.provider_wiring import PUT_OFF

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "functions"
BATCH = FUNCTIONS / "batch"
SDKS = {"openai", "anthropic", "google", "vertexai"}
LOADED_SDKS = {"openai", "anthropic", "google.auth", "google.api_core", "google.genai", "vertexai"}
PLAIN = ["intake", "plan", "shard", "ask", "reconcile", "assemble", "report", "sweep"]
PLAIN += ["cut", "slice", "join", "dedupe", "remember", "command", "rescue"]
WITH_PROVIDER = ["submit", "poll", "collect", "clean_up"]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize(
    "path", sorted(BATCH.rglob("*.py")), ids=lambda p: p.relative_to(BATCH).as_posix()
)
def test_the_domain_knows_neither_aws_nor_a_provider(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names | {"msgspec", "functions"}, name
        assert top != "functions" or name.startswith("functions.batch"), name


ARROWS: dict[str, set[str]] = {
    "words": set(),  # the modules in no room: every room may use them, and they use none
    "streams": set(),
    "reading": {"streams"},
    "repeats": {"streams", "reading"},
    "spending": {"streams", "reading", "repeats"},
    "sending": {"streams", "repeats", "spending"},
    "collecting": {"streams", "reading", "spending", "sending"},
    "results": {"streams", "reading", "repeats", "spending"},
    "upkeep": {"spending", "sending"},
}


def rooms_used(path: Path) -> set[str]:
    used: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("functions.batch."):
                used.add(name.split(".")[2])
    return used & {folder.name for folder in BATCH.iterdir() if folder.is_dir()}


@pytest.mark.parametrize(
    "path", sorted(BATCH.rglob("*.py")), ids=lambda p: p.relative_to(BATCH).as_posix()
)
def test_arrows_between_the_rooms_of_the_domain(path: Path) -> None:
    room = "words" if path.parent == BATCH else path.parent.name
    assert rooms_used(path) <= ARROWS[room] | {room}


def test_no_arrow_leads_back() -> None:
    assert {path.parent.name for path in BATCH.glob("*/*.py")} == ARROWS.keys() - {"words"}
    TopologicalSorter(ARROWS).prepare()


@pytest.mark.parametrize("path", sorted((FUNCTIONS / "recipes").glob("*.py")), ids=lambda p: p.name)
def test_recipes_know_neither_aws_nor_an_sdk(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in SDKS | {"boto3", "botocore"}, name
        assert top != "functions" or name.startswith(
            ("functions.batch", "functions.recipes", "functions.providers")
        ), name


@pytest.mark.parametrize("path", sorted((FUNCTIONS / "aws").glob("*.py")), ids=lambda p: p.name)
def test_aws_adapters_know_only_the_domain(path: Path) -> None:
    for name in imports(path):
        assert not name.startswith("functions.") or name.startswith(
            ("functions.batch", "functions.aws")
        ), name
        assert name.split(".")[0] not in SDKS, name


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for name in (
            *("dialect.py", "answers.py", "fields.py"),
            *("tokens.py", "content.py", "media.py"),
        )
        for path in (FUNCTIONS / "providers").rglob(name)
    ),
    ids=lambda p: f"{p.parent.name}/{p.name}",
)
def test_line_shapes_need_no_sdk(path: Path) -> None:
    for name in imports(path):
        assert name.split(".")[0] in sys.stdlib_module_names | {"msgspec", "functions"}, name


def loaded_by(module: str, **variables: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", [*PLAIN, "price", *WITH_PROVIDER])
def test_importing_a_handler_needs_no_environment_and_loads_no_sdk(name: str) -> None:
    loaded = loaded_by(f"functions.handlers.{name}")
    assert not {name for name in loaded if name.startswith(tuple(LOADED_SDKS))}
    assert not loaded & {"infra", "cli", "local", "tests"}


@pytest.mark.parametrize(
    ("name", "provider", "sdk"),
    [
        *((name, "openai", {"openai"}) for name in WITH_PROVIDER),
        ("submit", "anthropic", {"anthropic"}),
        ("submit", "vertex", {"google.auth", "google.api_core"}),
    ],
)
def test_a_providers_functions_load_its_sdk_as_they_start(
    name: str, provider: str, sdk: set[str]
) -> None:
    """And no other's. Lambda gives a whole core to what runs before the first event."""
    loaded = loaded_by(f"functions.handlers.{name}", PROVIDER=provider)
    assert loaded & LOADED_SDKS == sdk
    assert set(PUT_OFF[provider]) <= loaded


def test_a_strangers_variable_of_that_name_changes_nothing() -> None:
    """The infrastructure imports the handlers too, in whatever shell it is deployed from."""
    loaded = loaded_by("functions.handlers.submit", PROVIDER="somebody")
    assert not loaded & LOADED_SDKS


def test_there_is_no_room_for_odds_and_ends() -> None:
    names = {path.stem for path in FUNCTIONS.rglob("*")}
    assert not names & {"utils", "helpers", "common", "core", "shared", "misc"}
