"""What the demo puts on the screen: its steps, and what came back."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.machine import PROJECT
from local.recipe_examples import head_of_sheet

_FILE_COUNTS = ("created", "deleted", "left")

console = Console(highlight=False, soft_wrap=True)


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


def show(summaries: Sequence[dict[str, Any]], folders: Sequence[Path]) -> None:
    table = Table(title="What came back", title_justify="left", title_style="bold")
    table.box, table.pad_edge, table.collapse_padding = box.SIMPLE_HEAD, False, True
    table.add_column(
        "job", no_wrap=True, max_width=24
    )  # the one that gives way where the terminal is narrow
    table.add_column("status", no_wrap=True, min_width=len("succeeded"))
    for title in ("rows", "succeeded", "failed", "invalid", "batches"):
        table.add_column(title, justify="right", no_wrap=True, min_width=max(len(title), 6))
    for summary in summaries:
        rows = summary["rows"]
        numbers = (rows["total"], rows["succeeded"], rows["failed"], rows["invalid"])
        cells = [summary["job_id"], summary["status"], *(f"{number:,}" for number in numbers)]
        table.add_row(*cells, str(len(summary["batches"])))
    console.print(table)
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
        console.print(f"\n[bold]{escape(shown(folder))}/[/bold]")
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


def shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))
