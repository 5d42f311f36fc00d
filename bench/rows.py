"""How fast rows pass, and in how much memory: `make bench`.

Each provider's rows go through the use cases that the deployed functions call, with validation,
token estimates and prices, over files instead of buckets; S3 and the network are not in it. Each
step is held against copying the file it is about (the input, the answers, the results) line by
line, and against `json.loads` and `json.dumps` as in the providers' tutorials. The three take turns
in one process on one core; seconds are of CPU, ratios are medians.

Memory is the peak of a process that does one step once, beyond what its imports took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.kinds import CHANGES
from bench.shapes import PROVIDERS
from infra.allocator import ALLOCATOR

STEPS = ("shard", "submit", "collect", "assemble")
WAY = ("input", "shard", "open", "submit", "collect", "assemble")
WORDS = {
    "shard": "sharding",
    "submit": "submitting",
    "collect": "collecting",
    "assemble": "assembling",
}
SCRATCH = Path(__file__).resolve().parents[1] / ".state" / "bench"
SPLIT_BYTES = 1 << 29
MIB = 1 << 20


def peak() -> int:
    """Bytes of memory that this process had at most; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def timed(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def pin_to_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(step: str, provider: str, folder: Path, rows: int, runs: int) -> dict[str, Any]:
    """In a process of its own. Without runs: once, for its memory."""
    from bench.steps import Bench

    imported = peak()
    bench = Bench(folder, provider, split_bytes=SPLIT_BYTES)
    if step == "input":
        bench.make_input(rows)
        return {}
    if step == "open":
        bench.open_round()
        return {}
    before = bench.saved()
    work: Callable[[], None] = getattr(bench, step)
    seconds = [timed(work)]
    memory = {"imported": imported, "peak": peak()}
    copies: list[float] = []
    tutorials: list[float] = []
    if runs:
        seconds.clear()
    for _ in range(runs):
        copies.append(timed(lambda: bench.copy(step)))
        bench.forget_copy()
        bench.undo(step, before)
        seconds.append(timed(work))
        tutorials.append(timed(lambda: bench.tutorial(step)))
        bench.forget_copy()
    size = sum(path.stat().st_size for path in bench.read_by(step))
    bench.save()
    return {
        **memory,
        "bytes": size,
        "seconds": seconds,
        "copies": copies,
        "tutorials": tutorials,
    }


def in_a_process(step: str, provider: str, folder: Path, rows: int, runs: int) -> dict[str, Any]:
    order = [sys.executable, "-m", "bench.rows", "--step", step, "--folder", str(folder)]
    order += ["--provider", provider, "--rows", str(rows), "--runs", str(runs)]
    environment = {**os.environ, **ALLOCATOR}
    done = subprocess.run(order, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def job(provider: str, rows: int, runs: int, steps: tuple[str, ...] = STEPS) -> dict[str, Any]:
    """All steps of one job, each in its process; what each measured."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        for step in WAY:
            measured = in_a_process(
                step, provider, Path(folder), rows, runs if step in steps else 0
            )
            if step in STEPS:
                found[step] = measured
    return found


def print_speed(provider: str, rows: int, found: dict[str, Any]) -> None:
    for step in STEPS:
        each = found[step]
        ours = median(each["seconds"])
        copied = median(
            copy / mine for copy, mine in zip(each["copies"], each["seconds"], strict=True)
        )
        tutorial = median(
            other / mine for other, mine in zip(each["tutorials"], each["seconds"], strict=True)
        )
        print(
            f"| {WORDS[step]} | {provider} | {each['bytes'] / rows:,.0f} "
            f"| {median(each['copies']) / rows * 1e6:.1f} | {ours / rows * 1e6:.1f} "
            f"| {rows / ours:,.0f} | {each['bytes'] / ours / 1e6:,.0f} "
            f"| {copied:.2f} | {tutorial:.1f} |",
            flush=True,
        )


def print_memory(provider: str, sizes: list[int], found: list[dict[str, Any]]) -> None:
    for step in STEPS:
        peaks = [each[step]["peak"] for each in found]
        above = max(each[step]["peak"] - each[step]["imported"] for each in found)
        cells = " | ".join(f"{peak / MIB:.0f}" for peak in peaks)
        print(
            f"| {WORDS[step]} | {provider} | {found[0][step]['imported'] / MIB:.0f} | {cells} "
            f"| {peaks[-1] / peaks[0]:.2f} | {above / MIB:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rows", description=__doc__)
    parser.add_argument(
        "--provider",
        choices=[*PROVIDERS, *CHANGES],
        action="append",
        help="not all of them; or rows of another kind than plain chat",
    )
    parser.add_argument("--kinds", action="store_true", help="rows of all other kinds")
    parser.add_argument("--rows", type=int, default=20_000, help="of which the speed is taken")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[100_000, 1_000_000], help="rows, for the memory"
    )
    parser.add_argument(
        "--memory-of",
        choices=PROVIDERS,
        action="append",
        help="whose memory is taken; by default Vertex's, which has the largest shards",
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    pin_to_one_core()
    providers: list[str] = options.provider or list(CHANGES if options.kinds else PROVIDERS)
    if options.step:
        tempfile.tempdir = str(options.folder)
        measured = measure(options.step, providers[0], options.folder, options.rows, options.runs)
        print(json.dumps(measured))
        return
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"{datetime.now(UTC):%d %B %Y}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, one of {os.cpu_count()} cores, load {load}\n\n"
        "| step | provider | bytes a row | copy, µs | step, µs | rows/s | MB/s "
        "| of the copy's speed | times the tutorial's |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    for provider in providers:
        print_speed(provider, options.rows, job(provider, options.rows, options.runs))
    if options.sizes:
        sizes = " | ".join(f"{size:,} rows" for size in options.sizes)
        print(
            f"\n| step | provider | imports, MiB | {sizes} | last to first | above imports |\n"
            f"|---|---|--:|{'--:|' * len(options.sizes)}--:|--:|"
        )
        for provider in options.memory_of or ["vertex"]:
            found = [job(provider, size, 0) for size in options.sizes]
            print_memory(provider, options.sizes, found)


if __name__ == "__main__":
    main()
