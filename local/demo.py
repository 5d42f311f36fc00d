"""`make demo`: deploys to the embedded cloud, drops the examples, and shows what came back.

What it runs is what a person would: the CDK's command line and `batchdrop`. Whatever ends it, a
failed step, Ctrl-C, SIGTERM or `kill -9`, ends everything that it started as well.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.cloud import CloudError, EmbeddedCloud, running_simulator
from local.guard import Guarded
from local.machine import PROJECT, STATE
from local.recipe_examples import DATA, ROWS, head_of_sheet, sheet_problem, uploading_after

STACK = "Batchdrop"
FOLDER = STATE / "demo"
WAIT_SCALE = 0.02
BATCH_SECONDS = 5.0

_FILE_COUNTS = ("created", "deleted", "left")

console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """The demo did not show what it promises; the message says what."""


@dataclass(frozen=True)
class Provider:
    """A provider whose key is set. `settings` are context keys and the simulator's paths."""

    name: str
    key: str
    settings: Mapping[str, str]


_GOOGLE = {"project": "demo", "location": "us-central1", "bucket": "demo", "anonymous": True}
PROVIDERS = (
    Provider("openai", "sk-demo-key-for-the-simulator", {"openai_base_url": "/openai/v1"}),
    Provider("anthropic", "sk-demo-key-for-the-simulator", {"anthropic_base_url": "/anthropic"}),
    Provider("vertex", json.dumps(_GOOGLE), {"vertex_base_url": "/vertex", "gcs_base_url": "/gcs"}),
)


@dataclass(frozen=True)
class Example:
    """An input and how its job must end. `rows` is the input's number of rows; `recipe` lies beside
    it where they are rows of data, and may ask for a `sheet`."""

    path: Path
    rows: int
    status: str
    invalid: int = 0
    recipe: Path | None = None

    @property
    def sheet(self) -> bool:
        return self.recipe is not None and "csv: true" in self.recipe.read_text()


def main() -> int:
    # Python leaves SIGINT ignored where a shell started it in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    started = time.monotonic()
    try:
        run()
    except (CloudError, DemoError) as error:
        console.print(f"[red]The demo failed:[/red] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted: everything that the demo started has been stopped.")
        return 130
    console.print(f"Done in {time.monotonic() - started:.0f} s. Nothing is left running.")
    return 0


def run() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    requests = make_examples(FOLDER / "inputs")
    tables = make_tables(FOLDER / "inputs")
    examples = [*requests, *tables]
    with starting_cloud() as cloud:
        with starting_simulator(cloud) as simulator:
            outputs = deploy(cloud, simulator)
            for provider in PROVIDERS:
                set_key(cloud, provider)
            jobs = submit(cloud, [example.path for example in requests])
            jobs += submit_tables(cloud, outputs["InboxBucket"], tables)
            watch(cloud, jobs)
            folders = [fetch(cloud, job) for job in jobs]
        summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
        show(summaries, folders)
        for example, summary, folder in zip(examples, summaries, folders, strict=True):
            check(example, summary, folder)
        console.print()
        with step("Stopping the embedded cloud and deleting its files"):
            cloud.stop()


def make_examples(folder: Path) -> list[Example]:
    with step("Making examples from the standard library's docstrings"):
        _run_script("make_examples.py", "--out", str(folder))
        good = [
            Example(folder / name, count_rows(folder / name), "succeeded")
            for name in ("docstrings.jsonl", "claude.jsonl", "gemini.jsonl", "mixed.jsonl")
        ]
        dirty = folder / "dirty.jsonl"
        return [
            *good,
            Example(dirty, count_rows(dirty), "partial", invalid=5),
        ]


def make_tables(folder: Path) -> list[Example]:
    """Rows of data, some of which cannot be sent, each file beside its recipe."""
    with step(f"Making {len(DATA)} tables of {ROWS} rows, with recipes"):
        _run_script("make_data.py", "--out", str(folder), "--rows", str(ROWS))
        unfit = json.loads((folder / "expected.json").read_text())
        return [
            Example(path, ROWS, "partial", unfit[path.name], path.parent / "recipe.yaml")
            for path in (folder / name for name in DATA)
        ]


def _run_script(name: str, *arguments: str) -> None:
    made = subprocess.run(
        [sys.executable, str(PROJECT / "examples" / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise DemoError(f"no examples: {made.stderr.strip()}")


def count_rows(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


@contextmanager
def starting_cloud() -> Generator[EmbeddedCloud]:
    with EmbeddedCloud(wait_scale=WAIT_SCALE) as cloud:
        console.print(f"[green]✓[/green] The embedded cloud runs at {cloud.endpoint}")
        console.print(
            f"  Its workflows' waits are shortened to {WAIT_SCALE:.0%}: a poll every 30 s "
            f"happens every {30 * WAIT_SCALE:.1f} s. No account, no network, no bill."
        )
        yield cloud


@contextmanager
def starting_simulator(cloud: EmbeddedCloud) -> Generator[str]:
    with running_simulator(cloud, batch_seconds=BATCH_SECONDS) as address:
        console.print(
            f"[green]✓[/green] The provider simulator runs at {address}; "
            f"its batches take about {BATCH_SECONDS:.0f} s, not hours"
        )
        yield address


def deploy(cloud: EmbeddedCloud, simulator: str) -> Mapping[str, str]:
    """The stack's outputs."""
    context = {
        setting: simulator + path
        for provider in PROVIDERS
        for setting, path in provider.settings.items()
    }
    with step("cdk bootstrap"):
        cloud.bootstrap()
    with step(f"cdk deploy {STACK}") as progress:

        def on_line(line: str) -> None:
            if " | " in line and "_COMPLETE" in line:
                progress(" ".join(line.split(" | ", 2)[1].split()) + " resources")

        return cloud.deploy(STACK, context, on_line=on_line)


def set_key(cloud: EmbeddedCloud, provider: Provider) -> None:
    batchdrop(cloud, "keys", "set", provider.name, given=provider.key)


def submit(cloud: EmbeddedCloud, paths: Sequence[Path]) -> list[str]:
    return _jobs(batchdrop(cloud, "submit", *map(_shown, paths), keep=True), len(paths))


def _jobs(told: str, files: int) -> list[str]:
    jobs = told.split()
    if len(jobs) != files:
        raise DemoError(f"{files} files became {len(jobs)} jobs: {' '.join(jobs)}")
    return jobs


def submit_tables(cloud: EmbeddedCloud, inbox: str, tables: Sequence[Example]) -> list[str]:
    """The first one before its recipe, for which its job waits."""
    early, *others = tables
    jobs = [submit_before_recipe(cloud, inbox, early)]
    for table in others:
        assert table.recipe is not None
        paths = (_shown(table.path), _shown(table.recipe), "--prefix", table.path.parent.name)
        jobs += _jobs(batchdrop(cloud, "submit", *paths, keep=True), 1)
    return jobs


def submit_before_recipe(cloud: EmbeddedCloud, inbox: str, table: Example) -> str:
    assert table.recipe is not None
    folder = table.path.parent.name
    key, data = f"{folder}/{table.recipe.name}", f"{folder}/{table.path.name}"
    path = _shown(table.path)
    try:
        with uploading_after(cloud.client("s3"), inbox, data, table.recipe, key):
            told = batchdrop(cloud, "submit", path, "--prefix", folder, keep=True)
    except TimeoutError as error:
        raise DemoError(str(error)) from error
    console.print(f"  its recipe came after it, as {escape(f's3://{inbox}/{key}')}")
    return _jobs(told, 1)[0]


def watch(cloud: EmbeddedCloud, jobs: Sequence[str]) -> None:
    batchdrop(cloud, "watch", *jobs, accept=(0, 1))


def fetch(cloud: EmbeddedCloud, job: str) -> Path:
    folder = FOLDER / job
    batchdrop(cloud, "results", job, "--out", _shown(folder), keep=True)
    return folder


def batchdrop(
    cloud: EmbeddedCloud,
    *arguments: str,
    given: str | None = None,
    keep: bool = False,
    accept: Sequence[int] = (0,),
) -> str:
    """Runs the command line as it is; its stdout, if `keep`, else it goes to the screen."""
    console.print(f"[bold cyan]$ batchdrop {escape(' '.join(arguments))}[/bold cyan]")
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as stdin:
        with os.fdopen(sink, "wb") as typed:
            typed.write((given or "").encode())
        with Guarded(
            [sys.executable, "-m", "cli.main", *arguments],
            env=cloud.env(),
            cwd=PROJECT,
            stdin=stdin,
            stdout=subprocess.PIPE if keep else None,
        ) as command:
            said = command.output.read().decode() if command.output else ""
            code = command.wait()
    if code not in accept:
        log = cloud.log.read_text(errors="replace").splitlines()[-15:]
        told = "\n".join(["", "The embedded cloud's log ends:", *log]) if log else ""
        raise DemoError(f"`batchdrop {arguments[0]}` ended with exit code {code}.{told}")
    return said


def show(summaries: Sequence[dict[str, Any]], folders: Sequence[Path]) -> None:
    table = Table(title="What came back", title_justify="left", title_style="bold")
    for title in ("job", "status", "rows", "succeeded", "failed", "invalid", "batches"):
        justify = "left" if title in ("job", "status") else "right"
        table.add_column(title, justify=justify, no_wrap=True)
    for summary in summaries:
        rows = summary["rows"]
        numbers = (rows["total"], rows["succeeded"], rows["failed"], rows["invalid"])
        cells = [summary["job_id"], summary["status"], *(f"{number:,}" for number in numbers)]
        table.add_row(*cells, str(len(summary["batches"])))
    console.print(table, width=max(console.width, 100))
    files = [summary["provider_files"] for summary in summaries]
    created, deleted, left = (sum(each[name] for each in files) for name in _FILE_COUNTS)
    total = sum(summary["rows"]["total"] for summary in summaries)
    batches = sum(len(summary["batches"]) for summary in summaries)
    console.print(f"Rows: {total:,}. Batches: {batches}.")
    show_cost([summary["cost"] for summary in summaries])
    show_caches([summary["cache"] for summary in summaries if "cache" in summary])
    console.print(
        f"Provider files: {created} created, {deleted} deleted, [bold]{left} left[/bold]."
    )
    for folder in folders:
        console.print(f"\n[bold]{escape(_shown(folder))}/[/bold]")
        _show_some(folder)


def show_cost(costs: Sequence[dict[str, Any]]) -> None:
    """What the simulator's tokens would have cost, had they been real."""
    names = ("estimated_usd", "actual_usd", "list_usd", "saved_usd")
    sums = {name: sum(cost[name] or 0 for cost in costs) for name in names}
    unknown = sum(cost["actual_usd"] is None for cost in costs)
    told = (
        f"At today's prices: ${sums['actual_usd']:.4f} in batches, ${sums['list_usd']:.4f} in real "
        f"time, [bold]${sums['saved_usd']:.4f} saved[/bold]; ${sums['estimated_usd']:.4f} was "
        "estimated before anything was sent."
    )
    console.print(told + (f" {unknown} jobs have no known price." if unknown else ""))


def show_caches(caches: Sequence[dict[str, Any]]) -> None:
    """Of the recipe whose rows share a glossary."""
    read = sum(cache["cached_input_tokens"] for cache in caches)
    saved = sum(cache["saved_usd"] or 0 for cache in caches)
    if read:
        console.print(f"Prompt caches: {read:,} tokens read from them, ${saved:.4f} saved.")


def _show_some(folder: Path) -> None:
    names = ", ".join(sorted(path.name for path in folder.iterdir()))
    console.print(f"  {names}", markup=False)
    with (folder / "results.jsonl").open("rb") as lines:
        picked = [json.loads(line) for _, line in zip(range(3), lines, strict=False)]
    for result in picked:
        error: dict[str, str] = result["error"] or {"message": "(no text: see its response)"}
        told = result["text"] or error["message"]
        line = f"row {result['row']} {result['status']}: {' '.join(str(told).split())}"
        console.print(f"  {line[:110]}", markup=False)
    if (folder / "results.csv").is_file():
        console.print("  results.csv:")
        for line in head_of_sheet(folder):
            console.print(f"    {line}", markup=False)


def check(example: Example, summary: dict[str, Any], folder: Path) -> None:
    """Raises `DemoError` unless every row came back once and nothing stayed at the provider."""
    name = example.path.name
    rows, files = summary["rows"], summary["provider_files"]
    wanted = (example.status, example.rows, example.invalid, 0)
    got = (summary["status"], rows["total"], rows["invalid"], rows["failed"])
    if got != wanted:
        raise DemoError(
            f"{name}: expected status, rows, invalid, failed {wanted}, got {got}; "
            f"reason: {summary['reason']}"
        )
    with (folder / "results.jsonl").open("rb") as lines:
        numbers = [json.loads(line)["row"] for line in lines]
    if numbers != list(range(example.rows)):
        raise DemoError(f"{name}: results.jsonl does not hold each row once, in order")
    problem = sheet_problem(folder) if example.sheet else None
    if problem is not None:
        raise DemoError(f"{name}: {problem}")
    if files["left"] or files["created"] != files["deleted"]:
        raise DemoError(f"{name}: provider files are left behind: {files}")


class Progress:
    """Called with a word on how far a step is; shown where the terminal can."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._status = console.status(title) if console.is_terminal else None

    def __call__(self, text: str) -> None:
        if self._status is not None:
            self._status.update(f"{self._title} [dim]{escape(text)}[/dim]")

    def start(self) -> None:
        if self._status is not None:
            self._status.start()

    def stop(self) -> None:
        if self._status is not None:
            self._status.stop()


@contextmanager
def step(title: str) -> Generator[Progress]:
    started = time.monotonic()
    progress = Progress(title)
    progress.start()
    try:
        yield progress
    except BaseException:
        progress.stop()
        console.print(f"[red]✗[/red] {title}")
        raise
    progress.stop()
    console.print(f"[green]✓[/green] {title} [dim]({time.monotonic() - started:.1f} s)[/dim]")


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
