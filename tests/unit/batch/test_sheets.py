from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch.reading.tables import Table
from functions.batch.recipe import StoredRecipe
from functions.batch.results.sheets import FailedSheet, Records, ResultsSheet, guarded

RECIPE = StoredRecipe(key="recipe.yaml", content=msgspec.Raw(b"{}"), makes_requests=True, csv=True)


class Out:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def rows(self) -> list[list[str]]:
        return list(csv.reader(io.StringIO(self.data.decode(), newline="")))


def unguarded(cell: str) -> str:
    return cell[1:] if cell.lstrip("'")[:1] in tuple("=+-@\t\r") and cell[:1] == "'" else cell


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|x", "'+cmd|x"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("'=1", "''=1"),
        ("-5", "-5"),
        ("+3.25", "+3.25"),
        ("-1e-5", "-1e-5"),
        ("-.5", "-.5"),
        ("-", "'-"),
        ("'quoted'", "'quoted'"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_what_a_spreadsheet_would_run_is_guarded(cell: str, written: str) -> None:
    assert guarded(cell) == written
    assert unguarded(written) == cell


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CELL = TEXT | st.builds(
    lambda mark, rest: mark + rest, st.sampled_from(["=", "+", "-", "@", "'", "''=", "\r"]), TEXT
)


@given(rows=st.lists(st.lists(CELL, min_size=2, max_size=2), max_size=6))
def test_the_inputs_columns_come_back_once_guards_are_taken_off(rows: list[list[str]]) -> None:
    out = Out()
    records = [(b"%016d" % number, msgspec.json.encode(row)) for number, row in enumerate(rows)]
    sheet = ResultsSheet(out, RECIPE, ["a", "b"], Records(iter(records)))
    for number, (key, _) in enumerate(records):
        line = {"status": "succeeded", "custom_id": None, "text": f"t{number}", "error": None}
        sheet.add(key, json.dumps(line).encode())
    header, *found = out.rows()
    assert header == ["a", "b", "status", "text", "error", "cost_usd"]
    assert [[unguarded(cell) for cell in row[:2]] for row in found] == rows
    assert [row[3] for row in found] == [f"t{number}" for number in range(len(rows))]


def test_a_schemas_fields_stand_where_the_text_would() -> None:
    schema = {"type": "object", "properties": {"kind": {}, "score": {}, "tags": {}}}
    raw = msgspec.Raw(json.dumps(schema).encode())
    recipe = msgspec.structs.replace(RECIPE, response_schema=raw)
    out = Out()
    sheet = ResultsSheet(out, recipe, [], Records(iter([])))
    said = '{"kind": "=bug", "score": -0.5, "tags": ["a"], "more": 1}'
    line = {"status": "succeeded", "custom_id": "x", "text": said, "cost_usd": 0.001}
    sheet.add(b"k", json.dumps(line).encode())
    error = {"code": "schema_mismatch", "message": "No.", "retryable": True}
    line = {"status": "failed", "custom_id": None, "text": "not JSON", "error": error}
    sheet.add(b"l", json.dumps(line).encode())
    assert out.rows() == [
        ["custom_id", "status", "kind", "score", "tags", "error", "cost_usd"],
        ["x", "succeeded", "'=bug", "-0.5", '["a"]', "", "0.001"],
        ["", "failed", "", "", "", "schema_mismatch: No.", ""],
    ]


def test_values_that_are_no_texts_and_rows_without_a_record() -> None:
    out = Out()
    record = b'{"a":null,"b":{"c":[1,"x"]},"extra":5}'
    sheet = ResultsSheet(out, RECIPE, ["a", "b", "d"], Records(iter([(b"1", record)])))
    for key in (b"0", b"1", b"2"):
        sheet.add(key, b'{"status":"invalid","custom_id":null,"text":null}')
    assert [row[:3] for row in out.rows()[1:]] == [
        ["", "", ""],
        ["", '{"c":[1,"x"]}', ""],
        ["", "", ""],
    ]


def test_failed_rows_are_not_guarded() -> None:
    out = Out()
    FailedSheet(out, ["a", "b"]).add(b'["=1","x\\ny"]')
    assert out.rows() == [["a", "b"], ["=1", "x\ny"]]


@pytest.mark.parametrize("columns", [["a;b"], ["a\tb"], ["a|b|c", "d"], ["a", "b;c"], ["a,b"]])
def test_failed_rows_are_read_again_whatever_their_columns_are_called(columns: list[str]) -> None:
    """A header that held another separator was divided there, and the whole file rejected."""
    out = Out()
    sheet = FailedSheet(out, columns)
    row = ["x"] * len(columns)
    sheet.add(msgspec.json.encode(row))
    table = Table([bytes(out.data)], None)
    assert table.columns == columns
    assert list(table.rows()) == [row]
