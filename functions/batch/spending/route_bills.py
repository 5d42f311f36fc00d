"""What a recipe's routes cost, and what its own model would have cost for all of them."""

from __future__ import annotations

from collections.abc import Iterable

from functions.batch.model import Shard
from functions.batch.money import Bill
from functions.batch.pricing import Meter, PriceList, model_of
from functions.batch.recipe import StoredRecipe
from functions.batch.rows import Answer
from functions.batch.streams.lines import Transit
from functions.batch.work import Collected


class RouteMeters:
    """Prices the answers of one batch a second time, by the route of their row: a row that goes to
    a stronger model stays with it. Without routes nothing is priced."""

    def __init__(self, shard: Shard, recipe: StoredRecipe | None, prices: PriceList | None) -> None:
        rates = {} if prices is None else prices.rates
        self._rates = rates.get(model_of(shard.group))
        self._routes: dict[int, Meter] = {}
        self._one: Meter | None = None
        if recipe is not None and recipe.routes():
            self._one = Meter(rates.get(f"{recipe.provider}/{recipe.model}"))

    def charge(self, transit: Transit, answer: Answer) -> None:
        if self._one is not None and transit.made:
            self._route(transit).charge(answer)
            self._one.charge(answer)

    def lost(self, transit: Transit) -> None:
        if self._one is not None and transit.made:
            self._route(transit).lost()
            self._one.lost()

    def _route(self, transit: Transit) -> Meter:
        meter = self._routes.get(transit.route)
        if meter is None:
            meter = self._routes[transit.route] = Meter(self._rates)
        return meter

    @property
    def routes(self) -> dict[int, Bill]:
        return {route: meter.bill for route, meter in self._routes.items()}

    @property
    def one_model(self) -> Bill | None:
        return None if self._one is None else self._one.bill


def routed(found: Iterable[Collected]) -> tuple[dict[int, Bill], Bill]:
    """The sums over a job's shards: by route, and for the recipe's own model."""
    routes: dict[int, Bill] = {}
    one = Bill()
    for each in found:
        for route, bill in each.routes.items():
            routes.setdefault(route, Bill()).add(bill)
        if each.one_model is not None:
            one.add(each.one_model)
    return routes, one
