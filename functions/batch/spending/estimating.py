"""What a job will cost, before anything of it is sent: its prices, found once, and an estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil

import msgspec

from functions.batch import layout
from functions.batch.learning import PRIOR_ROWS, Learned
from functions.batch.money import Estimate
from functions.batch.money_ports import Prices
from functions.batch.ports import Objects
from functions.batch.pricing import Price, PriceList, Rates, model_of, plus, writes_unasked
from functions.batch.recipe import StoredRecipe
from functions.batch.rows import Group, Weight
from functions.batch.spending.overrides import Overrides, overridden
from functions.batch.work import Source

LOWEST_INPUT, HIGHEST_INPUT = 50, 200
"""Percent of the input tokens that were estimated: providers count the same text differently."""

SURE_LOWEST, SURE_HIGHEST = 90, 115
"""The same, once many rows have taught how the provider counts."""

MOST_UNPRICED = 100
"""Models without a price that are named: the estimate is kept in the job's item."""

BYTES_A_TOKEN = 4
"""Of input that was not weighed: sources of an earlier release."""


def stored_prices(objects: Objects, job_id: str) -> PriceList | None:
    data = objects.find(layout.prices(job_id))
    return None if data is None else msgspec.json.decode(data, type=PriceList)


def find_prices(
    job_id: str,
    groups: Iterable[Group],
    *,
    objects: Objects,
    prices: Prices,
    overrides: Sequence[Overrides],
) -> PriceList:
    """A job keeps the prices that were found first, whatever a later try would find. Those of its
    recipe's models are among them: rows may go to a stronger one later."""
    stored = stored_prices(objects, job_id)
    if stored is not None:
        return stored
    models = {(group.provider, group.model) for group in groups}
    recipe = objects.find(layout.recipe(job_id))
    if recipe is not None:
        models |= msgspec.json.decode(recipe, type=StoredRecipe).models()
    found = PriceList(
        rates={
            f"{provider}/{model}": overridden(f"{provider}/{model}", *overrides)
            or prices.rates(provider, model)
            for provider, model in sorted(models)
        }
    )
    objects.put_new(layout.prices(job_id), msgspec.json.encode(found))
    return stored_prices(objects, job_id) or found


def weigh(sources: Iterable[Source]) -> dict[Group, Weight]:
    weights: dict[Group, Weight] = {}
    for source in sources:
        weights.setdefault(source.group, Weight()).add(source.weight)
    return weights


def estimate(
    weights: Mapping[Group, Weight],
    prices: PriceList,
    *,
    allowance: int | None,
    learned: Callable[[str, str], Learned] = lambda _provider, _model: Learned(),
) -> Estimate:
    """`allowance`: the output tokens that a row without a limit of its own may use. `learned`: by
    provider and model."""
    made = Estimate(low=0, expected=0, high=0)
    for group, weight in sorted(weights.items()):
        rates = prices.rates.get(model_of(group))
        known = learned(group.provider, group.model)
        weight = _weighed(weight, rates)
        corrected = _corrected(weight, known)
        made.input_tokens += corrected.tokens
        if rates is None or not _covers(rates, weight):
            made.unpriced.append(model_of(group))
            made.low = made.expected = made.high = None
            continue
        _add(made, corrected, rates, allowance, known)
        if weight.unbounded and allowance is None:
            made.unbounded += weight.unbounded
        bound = upper_bound(group, weight, rates, upper_percent(known), allowance)
        made.high = plus(made.high, bound)
    made.unpriced = sorted(set(made.unpriced))[:MOST_UNPRICED]
    return made


def upper_percent(known: Learned) -> int:
    """By how many percent the tokens of rows, as they were estimated when they were read, are taken
    so that they are no more."""
    return ceil(known.factor() * _narrowed(HIGHEST_INPUT, SURE_HIGHEST, known))


def upper_bound(
    group: Group, weight: Weight, rates: Rates | None, percent: int, allowance: int | None
) -> int | None:
    """What the rows may cost at most: every limit on output used in full, and all that may be
    written to a prompt cache written. None where nobody knows. Not in it: searches."""
    weight = _weighed(weight, rates)
    if rates is None or not _covers(rates, weight) or (weight.unbounded and allowance is None):
        return None
    tokens = -(-weight.tokens * percent // 100)
    rows = max(weight.rows, 1)
    price = _price_for(rates.batch, tokens // rows)
    plain = price.input or 0
    dearest = max(plain, price.cache_write or 0, price.cache_write_1h or 0)
    written = rows if writes_unasked(group.provider) else weight.marked
    output = weight.max_output + weight.unbounded * (allowance or 0)
    return (
        tokens * plain
        + -(-tokens * written // rows) * (dearest - plain)
        + output * (price.output or 0)
    )


def _add(
    made: Estimate, weight: Weight, rates: Rates, allowance: int | None, known: Learned
) -> None:
    likely = int(weight.max_output * known.output_ratio())
    of_unbounded = known.output_of_unbounded()
    if of_unbounded is None and allowance is not None:
        of_unbounded = allowance * known.output_ratio()
    likely += int(weight.unbounded * (of_unbounded or 0))
    made.output_tokens += likely
    made.low = plus(made.low, _cost(rates, weight, _narrowed(LOWEST_INPUT, SURE_LOWEST, known), 0))
    if weight.unbounded and of_unbounded is None:
        made.expected = None
    else:
        made.expected = plus(made.expected, _cost(rates, weight, 100, likely))


def _narrowed(unsure: int, sure: int, known: Learned) -> int:
    """Percent: by how much of what there is to know is known."""
    return sure + (unsure - sure) * PRIOR_ROWS // (known.rows + PRIOR_ROWS)


def _corrected(weight: Weight, known: Learned) -> Weight:
    tokens = round(weight.tokens * known.factor())
    return msgspec.structs.replace(weight, tokens=tokens)


def _weighed(weight: Weight, rates: Rates | None) -> Weight:
    if weight.tokens or not weight.rows:
        return weight
    generates = rates is None or rates.batch[0].output is not None
    return msgspec.structs.replace(
        weight,
        tokens=weight.bytes // BYTES_A_TOKEN,
        unbounded=weight.rows if generates else 0,
    )


def _covers(rates: Rates, weight: Weight) -> bool:
    makes_output = weight.max_output or weight.unbounded
    price = rates.batch[0]
    return price.input is not None and (price.output is not None or not makes_output)


def _cost(rates: Rates, weight: Weight, percent: int, output: int) -> int:
    tokens = -(-weight.tokens * percent // 100)
    price = _price_for(rates.batch, tokens // max(weight.rows, 1))
    return tokens * (price.input or 0) + output * (price.output or 0)


def _price_for(prices: list[Price], tokens: int) -> Price:
    """By the average row: what single rows have is not known here."""
    return [price for price in prices if price.above == 0 or tokens > price.above][-1]
