"""A report that runs again, once the work files are gone, still says what only these knew."""

from __future__ import annotations

import json

from tests.support import deduped_job, recipe_job
from tests.support.echo_provider import EchoProvider
from tests.support.twin_provider import TwinProvider


def test_what_was_not_sent_is_still_told(twin: TwinProvider) -> None:
    world = deduped_job.world_of(twin)
    job = deduped_job.dropped(world, ["a", "b", "a"])
    first = world.run(job)
    assert first["dedupe"]["within_the_job"] == 1
    assert not list(world.work.keys(""))
    world.reporter().report(job, None)
    assert json.dumps(world.summary(job)) == json.dumps(first)


def test_which_way_rows_went_is_still_told(echo: EchoProvider) -> None:
    routes = [{"when": "lang == 'de'", "model": "german"}]
    world = recipe_job.world_of(echo, recipe_job.RECIPE, routes=routes)
    job = world.drop("r.csv", b"id,lang,text\n1,en,short\n2,de,kurz\n3,de,kurz\n")
    first = world.run(job)
    assert [way["rows"] for way in first["routes"]] == [2, 1]
    assert not list(world.work.keys(""))
    world.reporter().report(job, None)
    assert json.dumps(world.summary(job)) == json.dumps(first)
