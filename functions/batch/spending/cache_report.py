"""What a prompt cache did for a job, as its summary tells it."""

from __future__ import annotations

from collections.abc import Sequence

from functions.batch.model import Shard
from functions.batch.money import dollars
from functions.batch.recipe import SharedPrefix, StoredRecipe
from functions.batch.spending.costs import total


def cache_report(recipe: StoredRecipe | None, shards: Sequence[Shard]) -> dict[str, object]:
    """For jobs whose recipe asks for a cache, and for those that used one all the same; else
    nothing. `saved_usd` is against the same tokens without a cache, in the same batches."""
    bill = total(shards)
    prefix = None if recipe is None else recipe.prefix
    if prefix is None and not bill.cached_input_tokens and not bill.cache_write_tokens:
        return {}
    tokens = bill.input_tokens
    return {
        "cache": {
            "cached_input_tokens": bill.cached_input_tokens,
            "cache_write_tokens": bill.cache_write_tokens,
            "hit_rate": round(bill.cached_input_tokens / tokens, 4) if tokens else None,
            "saved_usd": None if bill.unpriced else dollars(bill.cache_saved),
            "note": None if prefix is None else _note(prefix, shards),
        }
    }


def _note(prefix: SharedPrefix, shards: Sequence[Shard]) -> str | None:
    """Why nothing was cached, where the prefix is to blame. Its tokens are an estimate: what a
    provider reports says more."""
    if prefix.tokens is None:
        return "system is a template, so rows share no beginning that could be cached."
    used = {
        shard.model
        for shard in shards
        if shard.bill and (shard.bill.cached_input_tokens or shard.bill.cache_write_tokens)
    }
    asked = {shard.model for shard in shards if shard.bill and shard.bill.rows} - used
    needed = [
        f"{model} needs {prefix.least[model]:,}"
        for model in sorted(asked)
        if prefix.least.get(model, 0) > prefix.tokens
    ]
    if not needed:
        return None
    about = round(prefix.tokens, -1)
    return (
        f"The beginning that rows share has about {about:,} tokens, too few to be cached: "
        f"{', '.join(needed)}."
    )
