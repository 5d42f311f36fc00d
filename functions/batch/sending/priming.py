"""One row of a shared prefix goes first, in a batch of its own: it writes the cache that the others
read.

A cache can be read when the first answer that writes it has begun. Rows that run before that write
it too, and a write for an hour costs 20 times a read. The row that goes first is one of the job's
own and its answer counts, so that it costs nothing more; but the job waits for one more batch.
https://platform.claude.com/docs/en/build-with-claude/batch-processing#using-prompt-caching-with-message-batches
"""

from __future__ import annotations

from collections.abc import Iterable

from functions.batch.money import DOLLAR
from functions.batch.pricing import PriceList, Rates, model_of
from functions.batch.recipe import SharedPrefix, StoredRecipe
from functions.batch.rows import Group
from functions.batch.spending.canary import cut
from functions.batch.spending.estimating import weigh
from functions.batch.work import Head, Source

KEPT_SECONDS = 3_600
"""A cache that is kept for less is likely gone when the next batch begins."""

MISSES = 10
"""Percent of the rows that write, where none went first: between 2 and 70, says Anthropic."""

LEAST_SAVED = DOLLAR // 20
"""Picodollars: what one more batch costs at AWS, about a cent, and something for its time."""


def split(
    sources: Iterable[Source], recipe: StoredRecipe, prices: PriceList | None
) -> tuple[list[Source], list[Source]]:
    """The rows that go first, one of each group where that pays, and all others. If it pays for
    none, nothing is held back."""
    ordered = sorted(sources, key=lambda source: source.first)
    missing = _paying(ordered, recipe, prices)
    first: list[Source] = []
    held: list[Source] = []
    for source in ordered:
        if source.group not in missing or source.opening is None:
            held.append(source)
            continue
        missing.remove(source.group)
        if source.weight.rows == 1:
            first.append(source)
            continue
        one, rest = cut(source, Head(last=source.first, weight=source.opening))
        first.append(one)
        held.append(rest)
    return (first, held) if first else (held, [])


def _paying(
    sources: Iterable[Source], recipe: StoredRecipe, prices: PriceList | None
) -> set[Group]:
    """Of the groups that rows of data became: requests that stood among them share nothing."""
    prefix = recipe.prefix
    if prefix is None or prices is None:
        return set()
    models = {recipe.model, *(route.model for route in recipe.routes())}
    return {
        group
        for group, weight in weigh(sources).items()
        if group.provider == recipe.provider
        and group.model in models
        and saved(prefix, group, weight.rows, prices.rates.get(model_of(group))) > LEAST_SAVED
    }


def saved(prefix: SharedPrefix, group: Group, rows: int, rates: Rates | None) -> int:
    """Picodollars, by the prefix's estimated tokens; 0 where nothing is cached, where the cache
    does not outlive a batch, or where nobody knows the prices."""
    tokens = prefix.tokens or 0
    if prefix.kept_seconds < KEPT_SECONDS or tokens < prefix.least.get(group.model, 0):
        return 0
    price = None if rates is None else rates.batch[0]
    if price is None or price.cache_write_1h is None or price.cached_input is None:
        return 0
    misses = -(-max(rows - 1, 0) * MISSES // 100)
    return misses * tokens * (price.cache_write_1h - price.cached_input)
