"""Reads one range of an input and stores its rows, sorted, in as many calls as it takes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import msgspec

from functions.batch import layout
from functions.batch.deadline import Remaining, unlimited
from functions.batch.errors import BadRecipe, InputChanged
from functions.batch.ledger_ports import Ledger
from functions.batch.model import Job, Reason
from functions.batch.ports import Dialect, InputFiles, Objects, Recipes
from functions.batch.reading.data_rows import (
    Documents,
    line_rows,
    make,
    table_rows,
)
from functions.batch.reading.legs import LOOK_AT_DATA, MOST_DATA, WORTH_A_LEG, Leg
from functions.batch.reading.range_input import RangeInput, RangeOfInput
from functions.batch.reading.row_sorter import RowSorter
from functions.batch.reading.tables import BadTable, Table
from functions.batch.reading.unpacking import MAX_UNZIPPED_BYTES, Unreadable
from functions.batch.recipe import StoredRecipe
from functions.batch.rows import Caps
from functions.batch.streams.lines import Oversized, rows_of
from functions.batch.work import RangeResult, Rest


def shard_range(
    job: Job,
    piece: RangeOfInput,
    *,
    ledger: Ledger,
    inputs: InputFiles,
    objects: Objects,
    dialects: Sequence[Dialect],
    recipes: Recipes,
    caps: Caps,
    remaining: Remaining = unlimited,
    max_unzipped_bytes: int = MAX_UNZIPPED_BYTES,
) -> RangeResult | None:
    """Stores the range's rows and returns what it held; once stored, it is not read again.

    Where the time that is `remaining` does not suffice, what is returned is a leg that has a
    `rest`: the same call again goes on with it.

    An input that cannot be read to its end rejects the job (None): nothing was sent yet.
    """
    source = RangeInput(job, piece, inputs, max_unzipped_bytes)
    reader = _Reader(job, piece.number, source, Documents(job, inputs), recipes, objects)
    last: RangeResult | None = None
    for number in count():
        key = layout.range_result(job.job_id, piece.number, number)
        stored = objects.find(key)
        if stored is not None:
            last = msgspec.json.decode(stored, type=RangeResult)
        elif last is not None and remaining() < WORTH_A_LEG and not reader.fresh:
            return last
        else:
            try:
                last = reader.read(number, last, Leg(remaining), dialects, caps)
            except (Unreadable, InputChanged, BadTable, BadRecipe) as error:
                reason = Reason(error.code, str(error))
                ledger.update_job(job.job_id, {"verdict": "rejected", "reason": reason})
                return None
            objects.put(key, msgspec.json.encode(last))
        if last.rest is None:
            return last
    raise AssertionError("unreachable")


class _Reader:
    """Of one range of an input. `fresh`: it has read no leg of it yet."""

    def __init__(
        self,
        job: Job,
        number: int,
        source: RangeInput,
        documents: Documents,
        recipes: Recipes,
        objects: Objects,
    ) -> None:
        self.fresh = True
        self._job = job
        self._number = number
        self._source = source
        self._documents = documents
        self._recipes = recipes
        self._objects = objects
        self._recipe: StoredRecipe | None = None

    def read(
        self,
        number: int,
        before: RangeResult | None,
        leg: Leg,
        dialects: Sequence[Dialect],
        caps: Caps,
    ) -> RangeResult:
        if self.fresh:
            found = self._objects.find(layout.recipe(self._job.job_id))
            if found is not None:
                self._recipe = msgspec.json.decode(found, type=StoredRecipe)
        self.fresh = False
        with (
            tempfile.TemporaryDirectory() as directory,
            closing(
                RowSorter(
                    self._job,
                    self._number,
                    self._objects,
                    dialects,
                    caps,
                    Path(directory),
                    self._recipe,
                    leg=number,
                    first=0 if before is None else before.span.end,
                )
            ) as sorter,
        ):
            rest = None if before is None else before.rest
            if self._recipe is None or not self._recipe.makes_requests:
                for block in self._source.blocks(leg, rest):
                    if isinstance(block, Oversized):
                        sorter.take(block)
                    else:
                        sorter.take_all(block)
            else:
                leg.most, leg.look = MOST_DATA, LOOK_AT_DATA
                self._make_requests(self._recipe, leg, rest, sorter)
            return sorter.finish(leg.rest)

    def _make_requests(
        self, recipe: StoredRecipe, leg: Leg, rest: Rest | None, sorter: RowSorter
    ) -> None:
        with closing(self._recipes.maker(recipe)) as maker:
            if self._source.is_csv:
                table = Table(self._source.chunks(0), recipe.encoding, self._source.chunks)
                sorter.columns = dict.fromkeys(table.columns)
                rows = table_rows(table, recipe)
                if rest is not None:
                    table.go_to(rest.place)
                rows = leg.records(table, rows)
            else:
                lines = rows_of(self._source.blocks(leg, rest))
                rows = line_rows(lines, sorter.dialects, sorter.columns if recipe.csv else None)
            make(rows, maker, sorter, self._documents)
