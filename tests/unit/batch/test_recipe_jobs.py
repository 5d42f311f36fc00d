"""Whole jobs of rows of data, from the drop to `results.csv`."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch.rows import Caps
from functions.recipes.adapter import RecipeFiles
from tests.support.echo_provider import EchoProvider, last_text
from tests.support.lines import body, jsonl, line
from tests.support.recipe_job import RECIPE, SCHEMA, sheet, world_of


def test_a_csv_comes_back_with_columns() -> None:
    """With rows rendered in a process of its own, as deployed."""
    echo = EchoProvider()
    prices = {"openai/small": {"input": 0.3, "output": 1}}
    world = world_of(echo, RECIPE, max_cost_usd=2.55, approve_above_usd=1, prices=prices)
    world.recipes = RecipeFiles()
    data = b'id,text\n1,=a\n2,"b\nc"\n3\n4,-5\n'
    job = world.drop("in/t.csv", data)
    summary = world.run(job)
    assert summary["status"] == "partial"
    assert summary["rows"] == {"total": 4, "succeeded": 3, "failed": 0, "invalid": 1}
    assert [last_text(sent) for sent in echo.bodies] == ["Sort =a", "Sort b\nc", "Sort -5"]
    header, *rows = sheet(world, job)
    assert header == ["id", "text", "status", "text", "error", "cost_usd"]
    assert [row[:4] for row in rows] == [
        ["1", "'=a", "succeeded", "echo Sort =a"],
        ["2", "b\nc", "succeeded", "echo Sort b\nc"],
        ["", "", "invalid", ""],
        ["4", "-5", "succeeded", "echo Sort -5"],
    ]
    assert [each["custom_id"] for each in world.result_lines(job)] == ["1", "2", None, "4"]
    assert summary["outputs"]["csv"] == f"s3://results/{job}/results.csv"
    assert summary["outputs"]["failed"] is None
    assert world.results.get(f"{job}/invalid.txt") == b"3\n"
    limits = world.ledger.job(job).limits
    assert limits is not None
    assert (limits.max_cost_usd, limits.approve_above_usd) == (Decimal("2.55"), 1)
    assert limits.prices == {"openai/small": {"input": Decimal("0.3"), "output": 1}}


CELLS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10
) | st.sampled_from(["", "=x", "'", "a,b", '"q"', "x\ny", "-1"])


@settings(max_examples=40)
@given(
    texts=st.lists(CELLS, min_size=1, max_size=25),
    compressed=st.booleans(),
    as_csv=st.booleans(),
    cap=st.integers(1, 6),
    stubborn=st.integers(1, 4),
)
def test_an_answer_never_moves_to_another_row(
    texts: list[str], compressed: bool, as_csv: bool, cap: int, stubborn: int
) -> None:
    """Through shards of any size, shuffled answers, and rows that go again."""
    echo = EchoProvider()
    tries: dict[str, int] = {}

    def say(sent: dict[str, Any]) -> str:
        text = last_text(sent)
        tries[text] = tries.get(text, 0) + 1
        if tries[text] == 1 and len(text) % stubborn == 0:
            return "no JSON"
        return json.dumps({"kind": "bug", "of": text})

    echo.say = say
    world = world_of(
        echo, RECIPE, response_schema=SCHEMA, prompt="{{ id }}:{{ text }}", escalate_to="big"
    )
    world.caps = Caps(rows=cap)
    out = io.StringIO()
    if as_csv:
        csv.writer(out).writerows([["id", "text"], *enumerate(texts)])
    else:
        rows = [{"id": f"{number}", "text": text} for number, text in enumerate(texts)]
        out.write("".join(json.dumps(row) + "\n" for row in rows))
    data = out.getvalue().encode()
    name = "a.csv" if as_csv else "a.jsonl"
    job = world.drop(
        name + (".gz" if compressed else ""), gzip.compress(data) if compressed else data
    )
    world.run(job)
    lines = world.result_lines(job)
    assert [each["custom_id"] for each in lines] == [f"{number}" for number in range(len(texts))]
    for number, (each, text) in enumerate(zip(lines, texts, strict=True)):
        assert json.loads(each["text"])["of"] == f"{number}:{text}"
        assert each["row"] == number
    columns = [[_unguarded(cell) for cell in row[:2]] for row in sheet(world, job)[1:]]
    assert columns == [[f"{number}", text] for number, text in enumerate(texts)]


def _unguarded(cell: str) -> str:
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def test_an_empty_table_is_rejected_though_it_was_cancelled(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    job = world.drop("t.csv", b"id,text\n")
    world.ledger.update_job(job, {"cancel_requested": True})
    summary = world.run(job)
    assert (summary["status"], summary["reason"]["code"]) == ("rejected", "empty")


def test_a_recipe_changed_later_is_for_later_jobs(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    job = world.drop("t.csv", b"id,text\n1,a\n")
    world.plan(job)
    world.inputs.others["recipe.json"] = b"broken"
    summary = world.run(job)
    assert summary["status"] == "succeeded"
    assert last_text(echo.bodies[0]) == "Sort a"


def test_the_nearest_recipe_is_taken(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    near = {**RECIPE, "prompt": "Near {{ text }}"}
    world.inputs.others["a/b/recipe.yml"] = json.dumps(near).encode()
    world.run(world.drop("a/b/c/t.csv", b"id,text\n1,a\n"))
    assert last_text(echo.bodies[0]) == "Near a"


NATIVE = jsonl([line("n", body("native"))])


def test_a_file_of_requests_keeps_its_requests(echo: EchoProvider) -> None:
    world = world_of(echo, {"max_cost_usd": 3, "output": {"csv": True, "index": False}})
    job = world.drop("n.jsonl", NATIVE)
    assert world.run(job)["status"] == "succeeded"
    assert last_text(echo.bodies[0]) == "native"
    assert sheet(world, job) == [
        ["custom_id", "status", "text", "error", "cost_usd"],
        ["n", "succeeded", "echo native", "", ""],
    ]
    assert not world.ledger.rows


def test_an_index_is_written_where_the_recipe_asks_for_one(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE, output={"index": True})
    assembler = world.assembler()
    assembler.index_results = "off"
    world.assembler = lambda: assembler  # type: ignore[method-assign]
    world.run(world.drop("t.csv", b"id,text\n1,a\n"))
    assert len(world.ledger.rows) == 1


@pytest.mark.parametrize(
    ("recipe", "rows", "words"),
    [
        (RECIPE, NATIVE, 'id is "id", but the file\'s rows are requests already'),
        ({"provider": "openai"}, NATIVE, 'provider is "openai", but'),
        (
            {"provider": "openai", "model": "m"},
            b'{"request": {"contents": []}}\n',
            'allowed with Gemini\'s rows is "vertex"',
        ),
        ({"max_cost_usd": 1}, b'{"id": 1}\n', "provider is missing"),
    ],
)
def test_a_recipe_that_does_not_go_with_the_rows(
    echo: EchoProvider, recipe: dict[str, Any], rows: bytes, words: str
) -> None:
    world = world_of(echo, recipe)
    summary = world.run(world.drop("n.jsonl", rows))
    assert summary["status"] == "rejected"
    assert summary["reason"]["code"] == "bad_recipe"
    assert summary["reason"]["message"].startswith("recipe.json: ")
    assert words in summary["reason"]["message"]


@pytest.mark.parametrize(
    "keys", [{"system": "\ud83d"}, {"params": {"user": ["\ud83d"]}}, {"params": {"\ud83d": 1}}]
)
def test_a_recipe_with_half_of_a_character_is_rejected(
    echo: EchoProvider, keys: dict[str, Any]
) -> None:
    world = world_of(echo, RECIPE, **keys)
    summary = world.run(world.drop("t.csv", b"id,text\n1,a\n"))
    assert summary["status"] == "rejected"
    assert summary["reason"]["message"] == (
        "recipe.json holds half of a character (a lone surrogate such as \\ud83d)."
    )


def test_geminis_rows_may_leave_their_model_to_the_recipe(echo: EchoProvider) -> None:
    world = world_of(echo, {"provider": "vertex", "model": "gemini-2.5-flash"})
    contents = [{"role": "user", "parts": [{"text": "a"}]}]
    rows = [
        {"key": "a", "request": {"contents": contents}},
        {"key": "b", "model": "gemini-2.5-pro", "request": {"contents": contents}},
    ]
    job = world.drop("g.jsonl", jsonl(rows))
    made = world.plan(job)
    world.shard(job, json.loads(world.work.get(made.manifest))[0])
    world.open_round(job, 1)
    models = [shard.model for shard in world.ledger.shards(job)]
    assert models == ["gemini-2.5-flash", "gemini-2.5-pro"]


def test_requests_and_data_in_one_file(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    page = {"id": "p", "url": "http://x", "body": "a page", "text": "page"}
    rows: list[Any] = [{"id": 1, "text": "a"}, line("n", body("native")), b"{broken\n", page]
    job = world.drop("m.jsonl", jsonl(rows))
    world.run(job)
    lines = world.result_lines(job)
    assert [each["custom_id"] for each in lines] == ["1", "n", None, "p"]
    assert [each["text"] for each in lines] == [
        "echo Sort a",
        "echo native",
        None,
        "echo Sort page",
    ]
    assert [row[:2] for row in sheet(world, job)] == [
        ["id", "text"],
        ["1", "a"],
        ["", ""],
        ["", ""],
        ["p", "page"],
    ]
    assert world.results.get(f"{job}/invalid.txt") == b"{broken\n"


def test_routes_choose_the_model_and_are_counted(echo: EchoProvider) -> None:
    routes = [{"when": "chars > 30", "model": "large"}, {"when": "lang == 'de'", "model": "german"}]
    world = world_of(echo, RECIPE, routes=routes)
    data = f"id,lang,text\n1,en,short\n2,de,{'lang ' * 10}\n3,de,kurz\n".encode()
    job = world.drop("r.csv", data)
    summary = world.run(job)
    models = {last_text(sent)[:9]: sent["model"] for sent in echo.bodies}
    assert models == {"Sort shor": "small", "Sort lang": "large", "Sort kurz": "german"}
    told = [(way["when"], way["model"], way["rows"]) for way in summary["routes"]]
    assert told == [
        ("chars > 30", "large", 1),
        ("lang == 'de'", "german", 1),
        (None, "small", 1),
    ]


def test_failed_rows_come_back_as_they_were_dropped(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    rows = b'{"id": 1,   "text": "a"}\n{"id": 2}\n{"id": 3, "text": "b"}\n'
    job = world.drop("d.jsonl", rows)
    world.run(job)
    assert world.results.get(f"{job}/failed.jsonl") == b'{"id": 2}\n'


def test_a_csv_without_the_id_column_is_rejected(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    summary = world.run(world.drop("t.csv", b"no,text\n1,a\n"))
    assert summary["status"] == "rejected"
    assert summary["reason"]["message"] == (
        'recipe.json: id is "id"; the file\'s columns are no, text.'
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"id,id\n1,2\n", "bad_header"), (b"id,text\n", "empty"), (b"\n\n", "empty")],
)
def test_a_csv_without_rows_is_rejected(echo: EchoProvider, data: bytes, code: str) -> None:
    summary = world_of(echo, RECIPE)
    job = summary.drop("t.csv", data)
    found = summary.run(job)
    assert (found["status"], found["reason"]["code"]) == ("rejected", code)


def test_a_charset_that_the_upload_declared(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    world.inputs.charsets["t.csv"] = "Windows-1252"
    world.run(world.drop("t.csv", "id,text\n1,\u20acé\n".encode("cp1252")))
    assert last_text(echo.bodies[0]) == "Sort \u20acé"
    world.inputs.charsets["u.csv"] = "klingon"
    summary = world.run(world.drop("u.csv", b"id,text\n1,a\n"))
    assert summary["reason"]["code"] == "bad_encoding"
    assert "'klingon'" in summary["reason"]["message"]


def test_large_jsonl_is_made_in_ranges(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    world.split_bytes = 500
    rows = [{"id": f"{number}", "text": f"t{number}", f"c{number % 3}": 1} for number in range(60)]
    job = world.drop("d.jsonl", jsonl(rows))
    world.run(job)
    assert len(list(world.work.keys(f"{job}/"))) == 0
    assert [each["custom_id"] for each in world.result_lines(job)] == [row["id"] for row in rows]
    assert sheet(world, job)[0][:5] == ["id", "text", "c0", "c1", "c2"]


def test_a_first_row_of_some_megabytes_is_seen_to_be_data(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE)
    rows = [{"id": "1", "text": "long " * 600_000}, {"id": "2", "text": "short"}]
    summary = world.run(world.drop("d.jsonl", jsonl(rows)))
    assert summary["rows"]["succeeded"] == 2


def test_rows_may_name_documents_below_their_folder() -> None:
    echo = EchoProvider(lambda sent: "ok")
    world = world_of(echo, {**RECIPE, "prompt": "Read {{ id }}"})
    world.recipes = RecipeFiles()
    png = b"\x89PNG\r\n\x1a\nrest"
    world.inputs.others |= {
        "in/_files/a.txt": "text of \u00e4".encode(),
        "in/_files/b/c.png": png,
        "in/_files/d.bin": b"\x00\xff",
        "elsewhere/_files/x.txt": b"secret",
    }
    names = ["in/_files/a.txt", "_files/b/c.png", "", "_files/none.txt", "_files/d.bin"]
    names += ["elsewhere/_files/x.txt", "a.txt"]
    table = "id,s3_key\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names))
    job = world.drop("in/t.csv", table.encode())
    world.run(job)
    contents = [sent["messages"][-1]["content"] for sent in echo.bodies]
    url = "data:image/png;base64," + base64.b64encode(png).decode()
    assert contents == [
        [{"type": "text", "text": "text of \u00e4"}, {"type": "text", "text": "Read 0"}],
        [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Read 1"}],
        "Read 2",
    ]
    rows = world.result_lines(job)
    assert [row["custom_id"] for row in rows] == [f"{n}" for n in range(len(names))]
    codes = [row["error"]["code"] for row in rows[3:]]
    assert codes == ["no_document", "bad_document", "no_document", "no_document"]
    assert rows[3]["error"]["message"] == (
        's3_key is "_files/none.txt"; there is no such object below in/_files/ in the inbox.'
    )


def test_a_document_that_is_not_named_by_a_text_is_not_left_out() -> None:
    """The row would be asked about nothing, and paid for."""
    echo = EchoProvider()
    world = world_of(echo, RECIPE)
    world.recipes = RecipeFiles()
    rows = [{"id": n, "text": "a", "s3_key": name} for n, name in enumerate((None, "", 5, ["a"]))]
    job = world.drop("in/t.jsonl", jsonl(rows))
    world.run(job)
    errors = [row["error"] and row["error"]["code"] for row in world.result_lines(job)]
    assert errors == [None, None, "bad_document", "bad_document"]


def test_a_document_that_has_no_message_to_go_into_is_not_left_out() -> None:
    echo = EchoProvider()
    messages = [{"role": "system", "content": "{{ text }}"}]
    world = world_of(echo, {"provider": "openai", "model": "small", "messages": messages})
    world.recipes = RecipeFiles()
    world.inputs.others["in/_files/a.txt"] = b"a text"
    job = world.drop("in/t.csv", b"text,s3_key\na,_files/a.txt\nb,\n")
    world.run(job)
    errors = [row["error"] and row["error"]["code"] for row in world.result_lines(job)]
    assert errors == ["bad_document", None]


def test_jsonl_in_utf_16_is_told_what_it_is() -> None:
    world = world_of(EchoProvider(), RECIPE)
    job = world.drop("in/t.jsonl", '{"id": 1, "text": "a"}\n'.encode("utf-16"))
    assert "as those of UTF-16 do" in world.run(job)["reason"]["message"]
