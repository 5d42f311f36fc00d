"""What a provider's answers teach about the next job's: by the usage that it reports, and by the
time that it takes.

Tokens are estimated as OpenAI's o200k counts them; another tokenizer counts the same text
differently, and an answer rarely is as long as it may be. Both are learned for each provider and
model, from sums over all rows that it has answered.
"""

from __future__ import annotations

import msgspec

from functions.batch.rows import Usage, Weight
from functions.batch.turnaround import bucket_of

PRIOR_ROWS = 100
"""So many rows of evidence the estimate itself is worth. After 1,000 rows a provider that counts
twice or half as much is met within 7 %."""

PRIOR_RATIO = 0.5
"""The part of its limit that an answer takes, as long as nothing is known."""


class Learned(msgspec.Struct, kw_only=True):
    """Sums over answered rows. `tokens` were estimated, `input_tokens` reported for the same rows.

    `bounded` rows had a limit on their output, all limits together `max_output`; they used
    `bounded_output` of it. The answers without a limit (`unbounded`) had `unbounded_output`.
    `turnaround` counts batches by how long they took, see `functions.batch.turnaround`.
    """

    rows: int = 0
    tokens: int = 0
    input_tokens: int = 0
    bounded: int = 0
    max_output: int = 0
    bounded_output: int = 0
    unbounded: int = 0
    unbounded_output: int = 0
    turnaround: dict[int, int] = {}

    def note(self, weight: Weight, usage: Usage) -> None:
        """Adds one row. One whose usage says nothing teaches nothing."""
        if weight.rows != 1 or not weight.tokens or not usage.input_tokens:
            return
        self.rows += 1
        self.tokens += weight.tokens
        self.input_tokens += usage.input_tokens
        if weight.max_output:
            self.bounded += 1
            self.max_output += weight.max_output
            self.bounded_output += usage.output_tokens
        elif weight.unbounded:
            self.unbounded += weight.unbounded
            self.unbounded_output += usage.output_tokens

    def add(self, other: Learned) -> None:
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for bucket, batches in other.turnaround.items():
            self.turnaround[bucket] = self.turnaround.get(bucket, 0) + batches

    def note_turnaround(self, seconds: float) -> None:
        """Adds one batch that came to its end by itself."""
        bucket = bucket_of(seconds)
        self.turnaround[bucket] = self.turnaround.get(bucket, 0) + 1

    def factor(self) -> float:
        """By what an estimate of input tokens is to be multiplied.

        The prior is mixed in by its logarithm: a provider that counts half as much is approached
        as fast as one that counts twice as much.
        """
        if not self.tokens or not self.input_tokens:
            return 1.0
        return (self.input_tokens / self.tokens) ** (self.rows / (self.rows + PRIOR_ROWS))

    def output_ratio(self) -> float:
        """The part of its limit that an answer is expected to take, 0 to 1."""
        seen = self.bounded_output / self.max_output if self.max_output else 0.0
        expected = (self.bounded * seen + PRIOR_ROWS * PRIOR_RATIO) / (self.bounded + PRIOR_ROWS)
        return min(1.0, expected)

    def output_of_unbounded(self) -> float | None:
        """The tokens that an answer without a limit has on average; None before the first one."""
        return self.unbounded_output / self.unbounded if self.unbounded else None


SUMS: tuple[str, ...] = tuple(
    field.name for field in msgspec.structs.fields(Learned) if field.name != "turnaround"
)
