"""Records of room at a provider that jobs share, see `functions.batch.sending.reserving`."""

from __future__ import annotations

import msgspec


class Lease(msgspec.Struct, kw_only=True):
    """Enqueued tokens that a shard holds of a quota, from before its batch is created until the
    batch has ended. `counted`: the quota had a limit, so that its sum includes them."""

    quota: str
    job_id: str
    shard_id: str
    tokens: int
    at: str
    counted: bool = False
    v: int = 1


class Waiter(msgspec.Struct, kw_only=True):
    """A shard's place in a quota's line. A lower ticket goes first; a place is lost at `until`, so
    that a shard which died holds nobody up."""

    quota: str
    job_id: str
    shard_id: str
    ticket: int
    tokens: int
    until: str
    v: int = 1

    @property
    def place(self) -> tuple[int, str, str]:
        return self.ticket, self.job_id, self.shard_id


class QuotaUse(msgspec.Struct, kw_only=True):
    """A quota's counted tokens in use, the ticket that was served last, and a limit that a refusal
    has taught, until it is worth another try."""

    in_use: int = 0
    turn: int = 0
    learned: int | None = None
    learned_until: str = ""
    v: int = 1
