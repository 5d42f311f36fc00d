"""A shard whose workflow ended before it was cleaned goes on from its record in the ledger, later
and later, and not for ever."""

from __future__ import annotations

import msgspec

from functions.batch.ledger_ports import Ledger
from functions.batch.model import GAVE_UP, MAX_RESENDS, Refusal, Shard

MAX_READS = 36
"""How often a shard's workflow may go again to read answers that are there, and paid. With hours
between that is a week; OpenAI and Anthropic keep them for four."""

_LONGEST_DELAY = 3_600
_LONGEST_READ_DELAY = 6 * 3_600


class Rerun(msgspec.Struct, kw_only=True):
    """`run` counts the shard's executions. `unread`: its batch has ended, and its provider does not
    give out the answers."""

    shard_id: str
    provider: str
    run: int
    unread: bool = False

    @property
    def most(self) -> int:
        return MAX_READS if self.unread else MAX_RESENDS

    @property
    def is_last(self) -> bool:
        """It is to end with what there is; and so is another, should it break off too."""
        return self.run > self.most

    @property
    def delay_seconds(self) -> int:
        return min(30 * 2**self.run, _LONGEST_READ_DELAY if self.unread else _LONGEST_DELAY)


def next_run(shard: Shard, runs: int) -> Rerun | None:
    """After so many; None for a shard that is cleaned, or has had its last one."""
    unread = shard.unread and shard.status == "ended"
    before = Rerun(shard_id=shard.shard_id, provider=shard.provider, run=runs, unread=unread)
    if shard.status == "cleaned" or runs > before.most + 1:
        return None
    return msgspec.structs.replace(before, run=runs + 1)


def give_up(shard: Shard, ledger: Ledger) -> None:
    if shard.refusal is None and shard.status not in ("collected", "cleaned"):
        why = (
            f"Its provider did not give out the shard's answers for a week ({MAX_READS} tries)."
            if shard.unread
            else f"The shard's workflow broke off {MAX_RESENDS} times; its log says why."
        )
        shard.refusal = Refusal(code=GAVE_UP, message=why, then="fail")
        ledger.save_shard(shard)
