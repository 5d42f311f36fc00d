"""What the demo expects of its examples, and that its check sees when it does not come."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.batch.outcomes import range_results
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from functions.recipes.adapter import RecipeFiles
from local import recipe_examples
from local.demo import DemoError, Example, check, make_tables
from local.recipe_examples import ROWS, head_of_sheet, read_sheet, sheet_problem, uploading_after
from tests.support.driver import World
from tests.support.echo_provider import EchoProvider

NAMES = ("results.jsonl", "results.csv", "summary.json")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return make_tables(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def tickets(tables: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `batchdrop results` would write of the first one's job."""
    example, folder = tables[0], tmp_path_factory.mktemp("tickets")
    echo = EchoProvider()
    world = World(dialects=(OpenAIDialect(),), providers={"openai": lambda: echo})
    assert example.recipe is not None
    world.on_wait = lambda _: world.inputs.others.update(
        {"tickets/recipe.yaml": example.recipe.read_bytes() if example.recipe else b""}
    )
    job = world.drop("tickets/tickets.csv", example.path.read_bytes())
    world.run(job)
    for name in NAMES:
        (folder / name).write_bytes(world.results.get(f"{job}/{name}"))
    return folder


def copied(folder: Path, to: Path) -> Path:
    for name in NAMES:
        (to / name).write_bytes((folder / name).read_bytes())
    return to


def test_the_table_comes_back_as_the_demo_expects_it(tables: list[Example], tickets: Path) -> None:
    check(tables[0], json.loads((tickets / "summary.json").read_text()), tickets)
    header, first, *_ = head_of_sheet(tickets)
    assert header == "ticket_id | from | text | status | text | error | cost_usd"
    assert first.startswith("T-1 | ")
    assert "succeeded | echo" in first
    assert len(head_of_sheet(tickets)) == 4


@pytest.mark.parametrize(
    ("number", "sheet"), [(1, True), (2, False), (3, True)], ids=["changes", "corpus", "phrases"]
)
def test_the_records_are_as_many_as_the_demo_expects(
    tables: list[Example], number: int, sheet: bool
) -> None:
    example = tables[number]
    assert example.recipe is not None
    folder = example.path.parent.name
    dialects = (OpenAIDialect(), AnthropicDialect(), VertexDialect())
    world = World(dialects=dialects, providers={})
    world.inputs.others[f"{folder}/recipe.yaml"] = example.recipe.read_bytes()
    job = world.drop(f"{folder}/{example.path.name}", example.path.read_bytes())
    world.plan(job)
    world.shard(job, {"range": 0, "start": 0, "end": None})
    [found] = range_results(world.work, job)
    assert (found.rows, found.invalid) == (ROWS, example.invalid)
    assert 0 < example.invalid < ROWS
    assert example.sheet == sheet


def test_the_glossary_of_an_example_is_long_enough_to_be_cached(tables: list[Example]) -> None:
    example = tables[3]
    assert example.recipe is not None
    prefix = RecipeFiles().prepare("recipe.yaml", example.recipe.read_bytes(), "data").prefix
    assert prefix is not None
    [(_, least)] = prefix.least.items()
    assert (prefix.tokens or 0) > 1.1 * least


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("T-7,", "T-8,", "has 'T-8' where 'T-7' belongs"),
        (",succeeded,", ",failed,", "does not have the rows of results.jsonl"),
        ("error,cost_usd", "error,cost", "the columns of results.csv are"),
    ],
)
def test_a_wrong_sheet_is_seen(
    tables: list[Example], tickets: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    folder = copied(tickets, tmp_path)
    text = (folder / "results.csv").read_bytes().decode()
    (folder / "results.csv").write_bytes(text.replace(old, new, 1).encode())
    with pytest.raises(DemoError, match=r"tickets\.csv: ") as raised:
        check(tables[0], json.loads((folder / "summary.json").read_text()), folder)
    assert words in str(raised.value)


def test_a_missing_sheet_and_an_empty_answer_are_seen(tickets: Path, tmp_path: Path) -> None:
    folder = copied(tickets, tmp_path)
    columns, *rows = read_sheet(folder)
    next(row for row in rows if row[3] == "succeeded")[4] = ""
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows([columns, *rows])
    assert "which succeeded" in (sheet_problem(folder) or "")
    (folder / "results.csv").unlink()
    assert sheet_problem(folder) == "there is no results.csv"


class Bucket:
    """Has `awaited` from the third look on."""

    def __init__(self, *, code: str = "404", never: bool = False) -> None:
        self.calls: list[str] = []
        self._code = code
        self._never = never

    def head_object(self, **given: Any) -> None:
        self.calls.append(f"head {given['Key']}")
        if self._never or len(self.calls) < 3:
            raise ClientError({"Error": {"Code": self._code}}, "HeadObject")

    def put_object(self, **given: Any) -> None:
        self.calls.append(f"put {given['Key']} {given['Body'].decode()}")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipe_examples, "LOOK_SECONDS", 0.01)
    (tmp_path / "recipe.yaml").write_text("model: m")
    return tmp_path / "recipe.yaml"


def test_the_recipe_is_uploaded_after_its_data(recipe: Path) -> None:
    bucket = Bucket()
    with uploading_after(bucket, "inbox", "t/t.csv", recipe, "t/recipe.yaml"):
        pass
    assert bucket.calls == [*["head t/t.csv"] * 3, "put t/recipe.yaml model: m"]


def test_data_that_never_comes_is_not_waited_for_for_ever(recipe: Path) -> None:
    bucket = Bucket(never=True)
    with (
        pytest.raises(TimeoutError, match=r"t was not uploaded within 0\.05 s"),
        uploading_after(bucket, "inbox", "t", recipe, "r", seconds=0.05),
    ):
        pass
    with (
        pytest.raises(ClientError),
        uploading_after(Bucket(code="403"), "inbox", "t", recipe, "r"),
    ):
        pass


def test_what_fails_meanwhile_ends_the_waiting(recipe: Path) -> None:
    bucket = Bucket(never=True)
    with pytest.raises(DemoError), uploading_after(bucket, "inbox", "t", recipe, "r"):
        raise DemoError("no")
    time.sleep(0.05)
    looked = len(bucket.calls)
    time.sleep(0.05)
    assert len(bucket.calls) == looked
