"""The steps that touch every row, over files, and what each is held against."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.files import PIECE, FileInputs, FileObjects, pieces
from bench.kinds import CHANGES
from bench.shapes import spelled, templates
from functions.batch.model import Job, Shard, now
from functions.batch.ports import Provider
from functions.batch.sending.shard_files import row_id, shard_rows, write_requests
from functions.handlers.provider_wiring import DIALECTS
from functions.providers.downloads import answer_blocks
from tests.support.driver import World
from tests.support.ledger_twins import MemoryLedger
from tests.support.money_twins import MemoryPrices, rates_of
from tests.support.twins import MemoryObjects

JOB = "01KAMNYR7Q-bench"
INPUT = "input.jsonl"
NO_CANARY = 1 << 62
"""Rows: all shards of the job are open at once, as after its canary."""
MODELS = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "vertex": "gemini-2.5-flash",
}

_STREAMED = {"openai": 1 << 20, "anthropic": 1 << 20}


class PreparedAnswers:
    """A provider whose outputs are files, in such pieces as its client has them streamed."""

    def __init__(self, provider: str) -> None:
        self._size = _STREAMED.get(provider, PIECE)

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        for output in outputs:
            yield from answer_blocks(pieces(Path(output), size=self._size), "The provider")


class Saved(msgspec.Struct):
    """What of the ledger the next step needs."""

    jobs: list[Job]
    shards: list[Shard]


class Bench:
    """A job in a folder, a process for each step. `kind`: a provider, for plain chat, or one of
    `bench.kinds`."""

    def __init__(self, folder: Path, kind: str, *, split_bytes: int) -> None:
        self.folder = folder
        self.provider = provider = kind.partition("/")[0]
        self._change = CHANGES.get(kind)
        self.input = folder / "inbox" / INPUT
        self.objects = FileObjects(folder / "work")
        self.results = FileObjects(folder / "results")
        (folder / "answers").mkdir(parents=True, exist_ok=True)
        self.input.parent.mkdir(exist_ok=True)
        self.world = World(
            dialects=DIALECTS,
            providers={provider: lambda: cast("Provider", PreparedAnswers(provider))},
            inputs=FileInputs(self.input.parent),
            work=cast("MemoryObjects", self.objects),
            results=cast("MemoryObjects", self.results),
            prices=MemoryPrices({f"{provider}/{MODELS[provider]}": rates_of(0.25, 2.0)}),
            split_bytes=split_bytes,
            canary_above=NO_CANARY,
        )
        saved = folder / "ledger.json"
        if saved.exists():
            self._load(msgspec.json.decode(saved.read_bytes(), type=Saved))

    @property
    def ledger(self) -> MemoryLedger:
        return self.world.ledger

    def _load(self, saved: Saved) -> None:
        self.ledger.jobs = {job.job_id: job for job in saved.jobs}
        self.ledger.shard_records = {(each.job_id, each.shard_id): each for each in saved.shards}

    def saved(self) -> Saved:
        return Saved(list(self.ledger.jobs.values()), list(self.ledger.shard_records.values()))

    def save(self) -> None:
        (self.folder / "ledger.json").write_bytes(msgspec.json.encode(self.saved()))

    # What is measured.

    def shard(self) -> None:
        for piece in msgspec.json.decode(self.objects.get(f"{JOB}/ranges.json")):
            self.world.shard(JOB, piece)

    def submit(self) -> None:
        for shard in self.ledger.shards(JOB):
            self.submit_one(shard)

    def submit_one(self, shard: Shard) -> None:
        """But for the provider, who gets the file."""
        path = self.folder / "requests.jsonl"
        write_requests(shard, self.world.work, self.world.dialect(self.provider), path)
        path.unlink()

    def collect(self) -> None:
        collector = self.world.collector(self.provider)
        for shard in self.ledger.shards(JOB):
            collector.collect(JOB, shard.shard_id)

    def assemble(self) -> None:
        self.world.assembler().assemble(JOB)

    # What comes before.

    def make_input(self, rows: int) -> None:
        made = [row for row, _ in templates(self.provider, self._change)]
        with self.input.open("wb", buffering=1 << 20) as file:
            for number, row in zip(range(rows), cycle(made), strict=False):
                file.write(spelled(row, b"ticket-%09d" % number) + b"\n")
        job = Job(job_id=JOB, bucket="inbox", key=INPUT, bytes=0, created_at=now())
        self.ledger.create_job(self.world.inputs.pin(job))
        self.world.plan(JOB)
        self.save()

    def open_round(self) -> None:
        """As if every batch had ended; answers come in no order."""
        assert self.world.admit(JOB) == "start"
        self.world.open_round(JOB, 1)
        made = [answer for _, answer in templates(self.provider, self._change)]
        for shard in self.ledger.shards(JOB):
            keys = [row.key for row in shard_rows(shard, self.world.work)]
            random.Random(1).shuffle(keys)
            path = self.folder / "answers" / shard.shard_id
            with path.open("wb", buffering=1 << 20) as file:
                for key, answer in zip(keys, cycle(made), strict=False):
                    file.write(spelled(answer, row_id(shard, key, 1).encode()) + b"\n")
            shard.status = "ended"
            shard.batch_id, shard.complete, shard.outputs = "batch", True, [str(path)]
            self.ledger.save_shard(shard)
        self.save()

    # So that a step can run again.

    def undo(self, step: str, before: Saved) -> None:
        folders = {
            "shard": ("ranges", "rows", "parts"),
            "submit": ("heads",),
            "collect": ("collected", "parts"),
        }
        for name in folders.get(step, ()):
            self.objects.forget(f"{JOB}/{name}")
        if step == "assemble":
            self.results.forget(JOB)
        self.world.ledger = MemoryLedger()
        self._load(msgspec.convert(msgspec.to_builtins(before), Saved))

    # What it is held against.

    def answer_files(self) -> list[Path]:
        return sorted((self.folder / "answers").iterdir())

    def read_by(self, step: str) -> list[Path]:
        """The files whose lines the step is about."""
        match step:
            case "shard" | "submit":
                return [self.input]
            case "collect":
                return self.answer_files()
            case _:
                return [self.results.folder / JOB / "results.jsonl"]

    def copy(self, step: str) -> None:
        """Line by line, the limit of what Python can do."""
        with (self.folder / "copied").open("wb") as out:
            for path in self.read_by(step):
                with path.open("rb") as file:
                    for line in file:
                        out.write(line)

    def tutorial(self, step: str) -> None:
        {"collect": self._tutorial_collect, "assemble": self._tutorial_assemble}.get(
            step, self._tutorial_send
        )()

    def _tutorial_send(self) -> None:
        with self.input.open() as file, (self.folder / "copied").open("w") as out:
            for number, line in enumerate(file):
                row = json.loads(line)
                row["custom_id"] = f"row-{number}"
                out.write(json.dumps(row) + "\n")

    def _tutorial_collect(self) -> None:
        """The answers in a dict, read back in the order of the rows."""
        answers: dict[str, dict[str, Any]] = {}
        for path in self.answer_files():
            with path.open() as file:
                for line in file:
                    answer = json.loads(line)
                    answers[answer.get("custom_id") or answer["key"]] = answer
        with (self.folder / "copied").open("w") as out:
            for number, name in enumerate(sorted(answers)):
                answer = answers[name]
                line = {"row": number, "status": "succeeded", "response": answer}
                out.write(json.dumps(line) + "\n")

    def _tutorial_assemble(self) -> None:
        (path,) = self.read_by("assemble")
        with path.open() as file, (self.folder / "copied").open("w") as out:
            for number, line in enumerate(file):
                row = json.loads(line)
                row["row"] = number
                out.write(json.dumps(row) + "\n")

    def forget_copy(self) -> None:
        (self.folder / "copied").unlink(missing_ok=True)
