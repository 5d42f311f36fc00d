"""Where a job's work and results lie in their buckets."""

from __future__ import annotations


def ranges(job_id: str) -> str:
    return f"{job_id}/ranges.json"


def recipe(job_id: str) -> str:
    return f"{job_id}/recipe.json"


def range_result(job_id: str, number: int, leg: int = 0) -> str:
    """Sorted by number and leg."""
    return f"{job_id}/ranges/{number:06d}.{f'leg-{leg:04d}.' if leg else ''}json"


def range_results(job_id: str) -> str:
    return f"{job_id}/ranges/"


def rows(job_id: str, origin: str, number: int) -> str:
    return f"{job_id}/rows/{origin}-{number:05d}.rows"


def part(job_id: str, origin: str) -> str:
    return f"{job_id}/parts/{origin}.part"


def failed_part(job_id: str, origin: str) -> str:
    return f"{job_id}/failed/{origin}.part"


def record_part(job_id: str, origin: str) -> str:
    return f"{job_id}/records/{origin}.part"


def unreadable_part(job_id: str, origin: str) -> str:
    return f"{job_id}/unreadable/{origin}.part"


def identities(job_id: str, origin: str) -> str:
    return f"{job_id}/identities/{origin}.part"


def deduped(job_id: str) -> str:
    return f"{job_id}/deduped.json"


def deduped_part(job_id: str, token: str, name: str, number: int) -> str:
    return f"{job_id}/deduped/{token}/{name}-{number:05d}.part"


def left_out(job_id: str, token: str, first: str) -> str:
    """`first`: the key of the first row of which it tells."""
    return f"{job_id}/deduped/{token}/left-out-{first}.keys"


def copied(job_id: str) -> str:
    return f"{job_id}/copied.json"


def copied_part(job_id: str, name: str, number: int) -> str:
    return f"{job_id}/copied/{name}-{number:05d}.part"


def shard(job_id: str, shard_id: str) -> str:
    return f"{job_id}/shards/{shard_id}.json"


def heads(job_id: str, shard_id: str) -> str:
    """What *Collect* needs of the rows that *Submit* has sent. In another form they would have
    another name: without any, the rows are read."""
    return f"{job_id}/heads/{shard_id}.v2.txt"


def prices(job_id: str) -> str:
    return f"{job_id}/prices.json"


def round_manifest(job_id: str, number: int) -> str:
    return f"{job_id}/rounds/{number:02d}.json"


def round_runs(job_id: str, number: int) -> str:
    return f"{job_id}/rounds/{number:02d}-runs.json"


def answers(job_id: str, shard_id: str) -> str:
    """What was read of a shard's answers by calls that handed over."""
    return f"{job_id}/answers/{shard_id}"


def collected(job_id: str, shard_id: str) -> str:
    return f"{job_id}/collected/{shard_id}.json"


def all_collected(job_id: str) -> str:
    return f"{job_id}/collected/"


def cut(job_id: str) -> str:
    return f"{job_id}/slices/cut.json"


def slice_items(job_id: str) -> str:
    return f"{job_id}/slices/items.json"


def slice_plan(job_id: str, number: int) -> str:
    return f"{job_id}/slices/{number:06d}-plan.json"


def slice_result(job_id: str, attempt: int, number: int) -> str:
    return f"{job_id}/slices/{number:06d}-{attempt:02d}-result.json"


def slice_head(job_id: str, number: int, name: str) -> str:
    """`name` is the result's, as in `result`."""
    return f"{job_id}/slices/{number:06d}-{name}.head"


def everything(job_id: str) -> str:
    return f"{job_id}/"


def result(job_id: str, name: str) -> str:
    """`name` is `results.jsonl`, `results.csv`, `failed.jsonl`, `failed.csv`, `invalid.txt` or
    `summary.json`."""
    return f"{job_id}/{name}"
