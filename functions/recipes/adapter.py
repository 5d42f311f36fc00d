"""Meets `functions.batch.ports.Recipes`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from functions.batch.money import JobLimits
from functions.batch.ports import RequestMaker, RowKind
from functions.batch.recipe import StoredRecipe

if TYPE_CHECKING:
    from functions.recipes.model import Recipe


def _limits(recipe: Recipe) -> JobLimits:
    """Dollars as they were written: a float's shortest form is what people typed."""
    return JobLimits(
        max_cost_usd=_exact(recipe.max_cost_usd),
        approve_above_usd=_exact(recipe.approve_above_usd),
        prices={
            model: {name: Decimal(repr(price)) for name, price in prices.items()}
            for model, prices in recipe.prices.items()
        },
    )


def _exact(dollars: float | None) -> Decimal | None:
    return None if dollars is None else Decimal(repr(dollars))


class RecipeFiles:
    def prepare(self, key: str, data: bytes, rows: RowKind) -> StoredRecipe:
        # Reading a recipe takes pydantic and YAML, rendering one neither.
        from functions.recipes import caching, checking

        recipe = checking.read_recipe(key, data)
        if rows == "data":
            checking.check_for_data(key, recipe)
            recipe = recipe.model_copy(update={"endpoint": checking.endpoint_of(recipe)})
        else:
            checking.check_for_native(key, recipe, gemini=rows == "gemini")
        return StoredRecipe(
            key=key,
            content=msgspec.Raw(msgspec.json.encode(recipe.model_dump())),
            makes_requests=rows == "data",
            provider=recipe.provider,
            model=recipe.model,
            id=recipe.id,
            csv=recipe.output.csv,
            index=recipe.output.index,
            response_schema=msgspec.Raw(msgspec.json.encode(recipe.response_schema)),
            escalate_to=recipe.escalate_to,
            limits=_limits(recipe),
            prefix=caching.shared_prefix(recipe),
            canary=recipe.canary == "auto",
            dedupe=recipe.dedupe,
        )

    def maker(self, recipe: StoredRecipe) -> RequestMaker:
        # So that a function which makes no requests need not carry what renders them.
        from functions.recipes.process import RenderProcess

        return RenderProcess(bytes(recipe.content))
