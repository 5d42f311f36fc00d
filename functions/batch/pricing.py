"""What tokens cost. Prices are found once for each job and stored beside its work; here they are
multiplied with the usage that a provider reported.

https://platform.openai.com/docs/pricing
https://platform.claude.com/docs/en/about-claude/pricing
https://cloud.google.com/vertex-ai/generative-ai/pricing
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from functions.batch.money import Bill, PriceSource
from functions.batch.rows import Answer, Group, Usage

_MOST_COST = (1 << 63) - 1
"""Picodollars, nine million dollars. No answer costs more: what one with more tokens costs is not
known. It fits whatever it is stored in."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Picodollars for each token, null where it is not known; for requests of more than `above`
    input tokens.

    `cache_write` is for a cache of five minutes, or whatever the provider's only kind is. `kinds`
    has prices of tokens that are not text, such as `input_audio`, `cached_audio` or `output_image`,
    where they differ; `web_search` is for one search.
    """

    input: int | None
    output: int | None
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    kinds: dict[str, int] = {}
    web_search: int | None = None
    above: int = 0


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """A model's prices in real time and in a batch, each in order of `above`."""

    listed: list[Price]
    batch: list[Price]
    source: PriceSource


class PriceList(msgspec.Struct, kw_only=True):
    """By `provider/model`; null: nobody knows what the model costs."""

    rates: dict[str, Rates | None] = {}
    v: int = 1


def model_of(group: Group) -> str:
    """As overrides, bills and summaries name a model."""
    return f"{group.provider}/{group.model}"


def cost(usage: Usage, prices: Sequence[Price]) -> int | None:
    """In picodollars, or None if a price that is needed is not known.

    Crossing a tier's border changes the price of all tokens of the request.
    """
    price = prices[0]
    for tier in prices:
        if usage.input_tokens > tier.above:
            price = tier
    if (
        price.input is not None
        and price.output is not None
        and not (usage.cached_input_tokens or usage.cache_write_tokens)
        and not (usage.kinds or usage.web_searches)
        and usage.input_tokens >= 0 <= usage.output_tokens
    ):
        return usage.input_tokens * price.input + usage.output_tokens * price.output
    written_1h = usage.cache_write_1h_tokens
    written = usage.cache_write_tokens - written_1h
    cached, made = usage.cached_input_tokens, usage.output_tokens
    fresh = usage.input_tokens - cached - usage.cache_write_tokens
    total = 0
    if usage.kinds:
        text = {"input": fresh, "cached": cached, "output": made}
        total = _of_kinds(usage.kinds, price, text)
        fresh, cached, made = text.values()
    for count, each in (
        (fresh, price.input),
        (cached, price.cached_input),
        (written, price.cache_write),
        (written_1h, price.cache_write_1h),
        (made, price.output),
        (usage.web_searches, price.web_search),
    ):
        if count > 0:
            if each is None:
                return None
            total += count * each
    return total


def _of_kinds(kinds: dict[str, int], price: Price, text: dict[str, int]) -> int:
    """What tokens that are not text cost, where they have a price of their own. They are taken from
    `text`, which is by side, and has all of them at first."""
    total = 0
    for kind, count in kinds.items():
        special = price.kinds.get(kind)
        if special is None:
            continue
        side = kind.partition("_")[0]
        # Who does not say which of the cached tokens are of this kind counts them here as well.
        count = min(count, max(text[side], 0))
        total += special * count
        text[side] -= count
    return total


class PlainPrice(msgspec.Struct, frozen=True):
    """Picodollars for a token in the batch, and in real time, in the same proportion, where they
    hold for every answer of at most `most` tokens of input, and of output, that is text alone, none
    of it cached."""

    input: int
    output: int
    listed_input: int
    listed_output: int
    most: int

    def listed(self, cost: int) -> int:
        """What costs so much in the batch, in real time."""
        if self.input:
            return cost * self.listed_input // self.input
        return cost * self.listed_output // self.output if self.output else 0


class Priced(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An answer's tokens, and what they cost in the batch and in real time, in picodollars; null:
    unknown. Both or none are known. `cache_saved`: see `Bill`."""

    usage: Usage
    actual: int | None = None
    listed: int | None = None
    cache_saved: int = 0


class Meter:
    """Prices the answers of one batch, and sums them up. `plain`: null where what plain answers
    cost is not known, or not so simple."""

    def __init__(self, rates: Rates | None) -> None:
        self._rates = rates
        self.plain = None if rates is None else _plain(rates)
        self.bill = Bill(source=None if rates is None else rates.source)

    def priced(self, usage: Usage) -> Priced:
        """Without charging it."""
        rates = self._rates
        if rates is None:
            return Priced(usage)
        prices = rates.listed if usage.at_list else rates.batch
        actual, listed = cost(usage, prices), cost(usage, rates.listed)
        if actual is None or listed is None:
            return Priced(usage)
        saved = 0
        if usage.cached_input_tokens or usage.cache_write_tokens:
            saved = (cost(_uncached(usage), prices) or actual) - actual
        if max(actual, listed, abs(saved)) > _MOST_COST:
            return Priced(usage)
        return Priced(usage, actual, listed, saved)

    def charge_plain(self, rows: int, given: int, made: int) -> None:
        """Answers with so many tokens together, where `plain` is known."""
        assert self.plain is not None
        bill = self.bill
        bill.rows += rows
        bill.input_tokens += given
        bill.output_tokens += made
        bill.actual += given * self.plain.input + made * self.plain.output
        bill.listed += given * self.plain.listed_input + made * self.plain.listed_output

    def charge_all(self, several: Sequence[Priced]) -> None:
        bill = self.bill
        usages = [each.usage for each in several]
        bill.rows += len(usages)
        bill.input_tokens += sum([usage.input_tokens for usage in usages])
        bill.cached_input_tokens += sum([usage.cached_input_tokens for usage in usages])
        bill.cache_write_tokens += sum([usage.cache_write_tokens for usage in usages])
        bill.output_tokens += sum([usage.output_tokens for usage in usages])
        bill.at_list += sum([usage.at_list for usage in usages])
        bill.actual += sum([each.actual or 0 for each in several])
        bill.listed += sum([each.listed or 0 for each in several])
        bill.unpriced += sum([each.actual is None for each in several])
        bill.cache_saved += sum([each.cache_saved for each in several])

    def charge(self, answer: Answer) -> tuple[int | None, int | None]:
        """What the answer cost, and what it costs in real time; None: unknown.

        A failure without usage was not billed. An answer without usage was, but nobody knows how
        much, unless the model is free.
        """
        usage = answer.usage
        if usage is not None:
            priced = self.priced(usage)
        elif answer.verdict != "succeeded":
            return 0, 0
        elif self._rates is not None and _is_free(self._rates):
            priced = Priced(Usage(), 0, 0)
        else:
            priced = Priced(Usage())
        self.charge_all([priced])
        return priced.actual, priced.listed

    def lost(self) -> None:
        """For a row that may have been answered, and billed, where nobody can read it."""
        self.bill.rows += 1
        self.bill.unpriced += 1


def _plain(rates: Rates) -> PlainPrice | None:
    batch, listed = rates.batch[0], rates.listed[0]
    if batch.input is None or batch.output is None:
        return None
    if listed.input is None or listed.output is None:
        return None
    if batch.input == batch.output == 0 != listed.input + listed.output:
        return None
    if batch.input * listed.output != batch.output * listed.input:
        return None
    prices = (batch.input, batch.output, listed.input, listed.output)
    borders = [tier.above for tier in (*rates.batch, *rates.listed) if tier.above]
    return PlainPrice(*prices, min([_MOST_COST // (2 * max(*prices, 1)), *borders]))


def half_of(price: Price, *, stacks: bool) -> Price:
    """A batch's price where only the list price is known; halves are rounded up. Searches are not
    discounted. `stacks`: cached tokens get both discounts, else the better one of them."""

    def of_cached(cached: int, plain: int | None) -> int:
        half = -(-cached // 2)
        return half if stacks or plain is None else min(cached, -(-plain // 2))

    kinds = {
        kind: of_cached(each, price.kinds.get(_paired(kind)))
        if kind.startswith("cached_")
        else -(-each // 2)
        for kind, each in price.kinds.items()
    }
    cached = price.cached_input
    return Price(
        input=_half(price.input),
        output=_half(price.output),
        cached_input=None if cached is None else of_cached(cached, price.input),
        cache_write=_half(price.cache_write),
        cache_write_1h=_half(price.cache_write_1h),
        kinds=kinds,
        web_search=price.web_search,
        above=price.above,
    )


def stacks(provider: str) -> bool:
    """Whether the discounts for batches and for cached tokens add up; Google's do not."""
    return provider != "vertex"


def writes_unasked(provider: str) -> bool:
    """Whether the provider may write any prompt to its cache, and charge for that; Anthropic is
    asked to, and Google charges for reading and keeping alone."""
    return provider == "openai"


def _half(amount: int | None) -> int | None:
    return None if amount is None else -(-amount // 2)


def _uncached(usage: Usage) -> Usage:
    kinds: dict[str, int] = {}
    for kind, count in (usage.kinds or {}).items():
        paired = _paired(kind)
        kinds[paired] = kinds.get(paired, 0) + count
    return msgspec.structs.replace(
        usage,
        cached_input_tokens=0,
        cache_write_tokens=0,
        cache_write_1h_tokens=0,
        kinds=kinds or None,
    )


def _paired(kind: str) -> str:
    """What tokens of a kind that came from a cache would be without one."""
    return f"input_{kind.removeprefix('cached_')}" if kind.startswith("cached_") else kind


def _is_free(rates: Rates) -> bool:
    return all(price.input == price.output == 0 for price in rates.listed)


def plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
