"""In-memory twins of the ports of the ledger. They pass the adapters' contract suites."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from functions.batch.errors import Conflict
from functions.batch.learning import Learned
from functions.batch.model import FINAL_JOB_STATUSES, Job, JobStatus, ProviderFile, Shard, now
from functions.batch.quota import Lease, QuotaUse, Waiter
from functions.batch.rows import IndexedRow, StoredAnswer


def _copied(record: Any) -> Any:
    """As from a store: through its bytes."""
    return _decoders[type(record)].decode(_encoder.encode(record))


_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(kind) for kind in (Job, Shard, ProviderFile, Learned)}


class MemoryLedger:
    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.shard_records: dict[tuple[str, str], Shard] = {}
        self.file_records: dict[tuple[str, str, str, str], ProviderFile] = {}
        self.rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.left_records: dict[tuple[str, str, str, str], ProviderFile] = {}
        self.resumed: dict[str, str] = {}
        self.missed: dict[tuple[str, str, str], str] = {}
        self.lessons: dict[tuple[str, str], dict[str, Learned]] = {}

    def create_job(self, job: Job) -> bool:
        if job.job_id in self.jobs:
            return False
        self.jobs[job.job_id] = _copied(job)
        return True

    def job(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise LookupError(job_id)
        return _copied(self.jobs[job_id])

    def update_job(self, job_id: str, changes: dict[str, object]) -> None:
        job = self.jobs.get(job_id)
        if job is None or job.status in FINAL_JOB_STATUSES:
            raise Conflict(job_id)
        self.jobs[job_id] = msgspec.structs.replace(job, **copy.deepcopy(changes))

    def change_status(
        self, job_id: str, old: JobStatus, new: JobStatus, changes: Mapping[str, object]
    ) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.status != old:
            return False
        self.jobs[job_id] = msgspec.structs.replace(job, status=new, **copy.deepcopy({**changes}))
        return True

    def resumed_at(self, provider: str) -> str | None:
        return self.resumed.get(provider)

    def resume(self, provider: str) -> None:
        self.resumed[provider] = now()

    def note_missing(self, shard: Shard) -> None:
        self.missed.setdefault((shard.provider, shard.job_id, shard.shard_id), now())

    def forget_missing(self, shard: Shard) -> None:
        self.missed.pop((shard.provider, shard.job_id, shard.shard_id), None)

    def missing(self, provider: str, since: str) -> list[tuple[str, str]]:
        return [
            (job_id, shard_id)
            for (name, job_id, shard_id), at in sorted(self.missed.items())
            if name == provider and at >= since
        ]

    def create_shard(self, shard: Shard) -> None:
        self.shard_records.setdefault((shard.job_id, shard.shard_id), _copied(shard))

    def shard(self, job_id: str, shard_id: str) -> Shard:
        if (job_id, shard_id) not in self.shard_records:
            raise LookupError(shard_id)
        return _copied(self.shard_records[job_id, shard_id])

    def shards(self, job_id: str, round_number: int | None = None) -> Iterator[Shard]:
        for (owner, _), shard in sorted(self.shard_records.items()):
            if owner == job_id and round_number in (None, shard.round):
                yield _copied(shard)

    def save_shard(self, shard: Shard) -> Shard:
        place = (shard.job_id, shard.shard_id)
        if place not in self.shard_records or self.shard_records[place].rev != shard.rev:
            raise Conflict(shard.shard_id)
        saved = msgspec.structs.replace(_copied(shard), rev=shard.rev + 1)
        self.shard_records[place] = saved
        return _copied(saved)

    def add_file(self, file: ProviderFile) -> None:
        self.file_records.setdefault(_place(file), _copied(file))

    def save_file(self, file: ProviderFile) -> None:
        self.file_records[_place(file)] = _copied(file)

    def files(self, job_id: str, shard_id: str | None = None) -> Iterator[ProviderFile]:
        for (owner, shard, _, _), file in sorted(self.file_records.items()):
            if owner == job_id and shard_id in (None, shard):
                yield _copied(file)

    def note_left(self, file: ProviderFile) -> None:
        self.left_records[_place(file)] = _copied(file)

    def forget_left(self, file: ProviderFile) -> None:
        self.left_records.pop(_place(file), None)

    def left(self, provider: str) -> Iterator[ProviderFile]:
        for _, file in sorted(self.left_records.items()):
            if file.provider == provider:
                yield _copied(file)

    def index_rows(
        self,
        job_id: str,
        results: str,
        rows: Iterable[IndexedRow],
        expires_at: int,
        *,
        beside_others: bool = False,
    ) -> None:
        for row in rows:
            digest = hashlib.sha256(row.custom_id.encode()).hexdigest()
            first = self.rows.get((job_id, digest, "ROW"), {"row": row.row})
            sort = "ROW" if first["row"] == row.row else f"ROW#{row.row}"
            found: dict[str, Any] = {"row": row.row, "answer": row.line.decode()}
            if row.length:
                found = {"row": row.row, "offset": row.offset, "length": row.length}
            self.rows[job_id, digest, sort] = found

    def learned(self, provider: str, model: str) -> Learned:
        sums = Learned()
        for lesson in self.lessons.get((provider, model), {}).values():
            sums.add(lesson)
        return sums

    def learn(self, provider: str, model: str, lesson: Learned, *, once: str) -> bool:
        lessons = self.lessons.setdefault((provider, model), {})
        if once in lessons:
            return False
        lessons[once] = _copied(lesson)
        return True


def _place(file: ProviderFile) -> tuple[str, str, str, str]:
    return file.job_id, file.shard_id, file.kind, file.id


class MemoryAnswers:
    """`known`: by digest, with the time of its expiry."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[StoredAnswer, int]] = {}

    def find(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, StoredAnswer]]:
        for digest in digests:
            answer, expires_at = self.known.get(digest, (None, 0))
            if answer is not None and expires_at > time.time():
                yield digest, answer

    def remember(self, answers: Iterable[tuple[bytes, StoredAnswer]], expires_at: int) -> None:
        for digest, answer in answers:
            self.known[digest] = (answer, expires_at)


class MemoryQuotas:
    def __init__(self) -> None:
        self.uses: dict[str, QuotaUse] = {}
        self.held: dict[tuple[str, str, str], Lease] = {}
        self.waiting: dict[tuple[str, tuple[int, str, str]], Waiter] = {}
        self.bases: dict[tuple[str, str], int] = {}
        self.made: dict[tuple[str, int], int] = {}

    def use(self, quota: str) -> QuotaUse:
        return msgspec.structs.replace(self.uses.get(quota, QuotaUse()))

    def lease(self, lease: Lease, room: int | None, waiter: Waiter | None) -> bool:
        place = (lease.quota, lease.job_id, lease.shard_id)
        if place in self.held:
            return True
        use = self.use(lease.quota)
        if room is not None:
            if use.in_use > room:
                return False
            turn = use.turn if waiter is None else waiter.ticket
            self.uses[lease.quota] = msgspec.structs.replace(
                use, in_use=use.in_use + lease.tokens, turn=turn
            )
        self.held[place] = lease
        if waiter is not None and room is not None:
            self.leave(waiter)
        return True

    def find_lease(self, quota: str, job_id: str, shard_id: str) -> Lease | None:
        return self.held.get((quota, job_id, shard_id))

    def leases(self, quota: str) -> Iterator[Lease]:
        for (name, _, _), lease in sorted(self.held.items()):
            if name == quota:
                yield lease

    def release(self, quota: str, job_id: str, shard_id: str) -> None:
        lease = self.held.pop((quota, job_id, shard_id), None)
        if lease is not None and lease.counted:
            use = self.use(quota)
            self.uses[quota] = msgspec.structs.replace(use, in_use=use.in_use - lease.tokens)

    def ticket(self, quota: str, job_id: str, number: int) -> int:
        return self.bases.setdefault((quota, job_id), self.use(quota).turn) + number

    def line(self, quota: str, most: int) -> list[Waiter]:
        return [waiter for (name, _), waiter in sorted(self.waiting.items()) if name == quota][
            :most
        ]

    def join(self, waiter: Waiter) -> None:
        self.waiting[waiter.quota, waiter.place] = waiter

    def leave(self, waiter: Waiter) -> None:
        self.waiting.pop((waiter.quota, waiter.place), None)

    def learn(self, quota: str, limit: int, until: str) -> None:
        self.uses[quota] = msgspec.structs.replace(
            self.use(quota), learned=limit, learned_until=until
        )

    def creates(self, provider: str, window: int) -> int:
        return self.made.get((provider, window), 0)

    def count_create(self, provider: str, window: int, most: int) -> bool:
        if self.creates(provider, window) >= most:
            return False
        self.made[provider, window] = self.creates(provider, window) + 1
        return True
