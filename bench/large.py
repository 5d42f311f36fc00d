"""A large input goes the whole way, over files: `python -m bench.large`. Not in `make bench`.

It is read in ranges, sent in shards, collected, and its results are put together in slices; then
every line of the results is read again, and every row has to be there, once, in its place. Nothing
of it stays on the disk, of which it takes six times the input.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.files import pieces
from bench.rows import MIB, SCRATCH, SPLIT_BYTES, peak
from bench.shapes import PROVIDERS, ROW_BYTES
from bench.steps import JOB, Bench
from functions.batch.sending.reconcile import Round
from functions.batch.streams.lines import iter_lines
from infra.allocator import ALLOCATOR


class Line(msgspec.Struct):
    row: int
    custom_id: str
    status: str


def unaccounted(results: Path, rows: int) -> str:
    """What is wrong with a results file of so many rows, or nothing."""
    decode = msgspec.json.Decoder(Line).decode
    number = 0
    for line in iter_lines(pieces(results)):
        assert isinstance(line, bytes)
        found = decode(line)
        wanted = Line(number, f"ticket-{number:09d}", "succeeded")
        if found != wanted:
            return f"line {number} is {found}, not {wanted}"
        number += 1
    return "" if number == rows else f"{number} lines, not {rows}"


class LargeJob:
    def __init__(self, folder: Path, provider: str, rows: int, one_call: int) -> None:
        self.bench = Bench(folder, provider, split_bytes=SPLIT_BYTES)
        self.rows = rows
        self.bench.world.one_call = one_call

    def run(self) -> None:
        bench, world = self.bench, self.bench.world
        print("| step | calls | longest, s | all, s | peak so far, MiB |\n|---|--:|--:|--:|--:|")
        bench.make_input(self.rows)
        ranges = msgspec.json.decode(bench.objects.get(f"{JOB}/ranges.json"))
        self._timed("shard", [lambda each=each: world.shard(JOB, each) for each in ranges])
        bench.open_round()
        shards = list(bench.ledger.shards(JOB))
        self._timed("submit", [lambda each=each: bench.submit_one(each) for each in shards])
        collector = world.collector(bench.provider)
        self._timed(
            "collect",
            [lambda each=each: collector.collect(JOB, each.shard_id) for each in shards],
        )
        for shard in bench.ledger.shards(JOB):
            shard.status = "cleaned"
            bench.ledger.save_shard(shard)
        opened: list[Round] = []
        self._timed("reconcile", [lambda: opened.append(world.open_round(JOB, 2))])
        assert opened[0].run == "slices", "the results fit one call: take more rows"
        cutter, slicer, joiner = world.cutter(), world.slicer(), world.joiner()
        self._timed("cut", [lambda: cutter.cut(JOB)])
        slices = world.slices_of(cutter.cut(JOB))
        self._timed("slice", [lambda each=each: slicer.assemble(JOB, each) for each in slices])
        self._timed("join", [lambda: joiner.join(JOB)])

    def _timed(self, step: str, calls: list[Callable[[], object]]) -> None:
        seconds: list[float] = []
        for call in calls:
            begun = time.process_time()
            call()
            seconds.append(time.process_time() - begun)
        print(
            f"| {step} | {len(calls)} | {max(seconds):.1f} | {sum(seconds):.1f} "
            f"| {peak() / MIB:.0f} |",
            flush=True,
        )

    def check(self) -> None:
        results = self.bench.results.folder / JOB
        wrong = unaccounted(results / "results.jsonl", self.rows)
        assert not wrong, wrong
        counted = self.bench.ledger.job(JOB).rows
        assert counted is not None
        assert (counted.total, counted.succeeded) == (self.rows, self.rows)
        left = sorted(path.name for path in results.iterdir())
        assert left == ["results.jsonl"], left


def main() -> None:
    if not ALLOCATOR.items() <= os.environ.items():  # what a process begins with
        again = [sys.executable, "-m", "bench.large", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **ALLOCATOR})
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--provider", choices=PROVIDERS, default="openai")
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument(
        "--one-call", type=float, default=1, help="gigabytes of parts that one call would take"
    )
    options = parser.parse_args()
    rows = int(options.gigabytes * 1e9 / ROW_BYTES)
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{datetime.now(UTC):%d %B %Y}, {rows:,} rows of {options.provider}, load {load}\n")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        tempfile.tempdir = folder
        job = LargeJob(Path(folder), options.provider, rows, int(options.one_call * 1e9))
        job.run()
        job.check()
        size = job.bench.input.stat().st_size
    print(f"\n{size:,} bytes went in; {rows:,} rows came out, each once, in its place.")


if __name__ == "__main__":
    main()
