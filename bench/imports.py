"""What each function's zip weighs, and how long its handler takes to import: `make bench`.

A handler is imported as Lambda would, in a fresh interpreter with its own bundle as the only path,
and is held against the bare import of the SDKs that it uses, AWS's and the provider's: the import
statements of our modules without our modules, plus what `provider_wiring.preload` asks of the SDK.
Both alternate, five times or more, after one run that warms the disk cache. Seconds are of CPU: an
import waits for nothing then, and other programs on the machine disturb it less. Ends with exit
code 1 if a handler is over `ALLOWED`.

There is one exception to "bare". Of google-cloud-aiplatform the bundle has the job service alone,
which `functions.providers.vertex.sdk` enters without running the package around it: what that
saves does not count in the handler's favour.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from functions.handlers.provider_wiring import PUT_OFF
from infra.bundling import REQUIREMENTS, Bundle, BundleName
from infra.config import MIB, RUNNING_PYTHON
from local.machine import machine_architecture

ALLOWED = 1.25
ENOUGH_SECONDS = 6.0
OF_A_PROVIDER = ("submit", "poll", "collect", "clean_up", "tidy")
OF_A_JOB = {"prices": ("price",), "recipes": ("plan", "shard")}
NOT_HANDLERS = ("__init__", "wiring", "provider_wiring", "steps", "deadline")
SDKS = (
    *("boto3", "botocore", "aws_lambda_powertools", "genai_prices"),
    *("openai", "anthropic", "google", "httpx2", "requests", "urllib3"),
)
ENTERED = "functions.providers.vertex.sdk"

TIMED = """
import sys, time
sys.path.insert(0, sys.argv[1])
begun = time.process_time()
exec(sys.argv[2])
print(time.process_time() - begun)
"""
LOADED = """
import json, sys
sys.path.insert(0, sys.argv[1])
exec(sys.argv[2])
print(json.dumps({name: module.__file__ for name, module in sys.modules.items()
                  if name.startswith("functions") and module.__file__}))
"""


@dataclass
class Handler:
    name: str
    bundle: str
    root: Path
    bare: str
    """Import statements, of SDKs alone."""
    seconds: list[float] = field(default_factory=list[float])
    bare_seconds: list[float] = field(default_factory=list[float])

    @property
    def code(self) -> str:
        return f"import functions.handlers.{self.name}"

    @property
    def ratio(self) -> float:
        return median(self.seconds) / median(self.bare_seconds)

    def measure(self) -> None:
        self.seconds.append(self._timed(self.code))
        self.bare_seconds.append(self._timed(self.bare))

    def warm_up(self) -> None:
        self._timed(self.code)

    def is_sure(self, runs: int) -> bool:
        """Short times scatter more: they are taken more often."""
        return len(self.seconds) >= runs and sum(self.seconds) >= ENOUGH_SECONDS

    def _timed(self, code: str) -> float:
        return float(run(TIMED, self.root, code, self.bundle))


def run(script: str, root: Path, code: str, bundle: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(root), code],
        env={"PROVIDER": bundle} if bundle in PUT_OFF else {},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{code} fails in the {bundle} bundle:\n{done.stderr}")
    return done.stdout


def handlers_of(bundle: str) -> list[str]:
    if bundle != "plain":
        return list(OF_A_JOB.get(bundle, OF_A_PROVIDER))
    others = {*OF_A_PROVIDER, *NOT_HANDLERS}.union(*OF_A_JOB.values())
    folder = Path(__file__).resolve().parent.parent / "functions/handlers"
    return sorted({path.stem for path in folder.glob("*.py")} - others)


def bare_import(name: str, bundle: str, root: Path) -> str:
    loaded: dict[str, str] = json.loads(
        run(LOADED, root, f"import functions.handlers.{name}", bundle)
    )
    statements = [f"import {ENTERED}"] if ENTERED in loaded else []
    for module, path in sorted(loaded.items()):
        if module != ENTERED:
            statements += sdk_imports(ast.parse(Path(path).read_text()))
    statements += [f"import {module}" for module in PUT_OFF.get(bundle, ())]
    return "\n".join(dict.fromkeys(statements))


def sdk_imports(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.Import(names=[ast.alias(name=module)]):
                pass
            case ast.ImportFrom(module=str(module), level=0):
                pass
            case _:
                continue
        if module.split(".")[0] in SDKS:
            yield ast.unparse(node)


def unpack(bundle: BundleName, folder: Path) -> Path:
    """Unpacks the bundle for this machine, and prints its line of the table."""
    architecture = "arm64" if machine_architecture() == "arm64" else "x86_64"
    made = Bundle(name=bundle, python=RUNNING_PYTHON, architecture=architecture).archive()
    root = folder / bundle
    with zipfile.ZipFile(made) as archive:
        archive.extractall(root)
    files = [path for path in root.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    zipped = made.stat().st_size
    print(f"| {bundle} | {size / MIB:.1f} | {zipped / MIB:.1f} | {len(files):,} |", flush=True)
    return root


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=5, help="at least so many, of which the median is shown"
    )
    parser.add_argument("--bundle", choices=REQUIREMENTS, action="append", help="not all of them")
    arguments = parser.parse_args()
    runs: int = arguments.runs
    bundles: list[BundleName] = arguments.bundle or list(REQUIREMENTS)
    print(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores\n\n"
        "| bundle | unzipped, MiB | zip, MiB | files |\n|---|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        roots = {bundle: unpack(bundle, Path(folder)) for bundle in bundles}
        handlers = [
            Handler(name, bundle, root, bare_import(name, bundle, root))
            for bundle, root in roots.items()
            for name in handlers_of(bundle)
        ]
        for handler in handlers:
            handler.warm_up()
        while unsure := [handler for handler in handlers if not handler.is_sure(runs)]:
            for handler in unsure:
                handler.measure()
    print("\n| bundle | handler | import, s | its SDKs alone, s | ratio |\n|---|---|--:|--:|--:|")
    for handler in handlers:
        times = f"{median(handler.seconds):.2f} | {median(handler.bare_seconds):.2f}"
        print(f"| {handler.bundle} | `{handler.name}` | {times} | {handler.ratio:.2f} |")
    over = [f"{each.bundle}/{each.name}" for each in handlers if each.ratio > ALLOWED]
    if over:
        print(f"\nOver {ALLOWED}: {', '.join(over)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
