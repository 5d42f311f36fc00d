from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch.reading import tables
from functions.batch.reading.tables import BadRecord, BadTable, Table, encoding_named
from functions.batch.reading.unpacking import Unreadable, decompress


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(
    data: bytes, encoding: str | None = None, size: int = 5
) -> tuple[list[str], list[list[str] | BadRecord]]:
    table = Table(cut(data, size), encoding)
    return table.columns, list(table.rows())


def codes(rows: list[list[str] | BadRecord]) -> list[str | list[str]]:
    return [row.code if isinstance(row, BadRecord) else row for row in rows]


CELL = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
) | st.sampled_from(["", '"', "a,b", "x\r\ny", "\u2028", "'=1", "q;\t|"])


@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=8),
    delimiter=st.sampled_from(tables.DELIMITERS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 40),
)
def test_what_a_writer_wrote_is_read(
    rows: list[list[str]], delimiter: str, encoding: str, end: str, size: int
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "name", "note"], *rows])
    columns, found = read(out.getvalue().encode(encoding), size=size)
    assert columns == ["id", "name", "note"]
    assert found == rows


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", "\ufeffsep=;\n"])
def test_what_excel_is_told_of_the_separator_is_no_record(first: str) -> None:
    columns, rows = read(f"{first}id;text, or note\n1;a, b\n2;c\n".encode())
    assert columns == ["id", "text, or note"]
    assert rows == [["1", "a, b"], ["2", "c"]]
    assert read(first.encode())[0] == []


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [
        ("id;text\n1,5;a\n2,5;b\n", ";"),
        ("id\ttext\n1;2\ta\n", "\t"),
        ("id|text\n1,2|a\nbroken\n3|c\n", "|"),
        ("text\nhello; you\nand, you\n", ","),
        ("a,b;c\n1,2;3\n", ","),
        ("", ","),
    ],
)
def test_the_separator_is_what_divides_rows_as_the_header(head: str, delimiter: str) -> None:
    assert Table(cut(head.encode(), 7), None)._lines.delimiter == delimiter


def test_blank_lines_are_no_rows_and_old_line_ends_are_ends() -> None:
    assert read(b"a,b\r\r\r1,2\r3,4") == (["a", "b"], [["1", "2"], ["3", "4"]])


@pytest.mark.parametrize("data", [b"", b"\n\r\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_header_has_no_rows(data: bytes) -> None:
    assert read(data) == ([], [])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,b,a\n", "names 'a' twice, as columns 1 and 3"),
        (b"a,,b\n", "Column 2 of the header has no name"),
        (b"a, \n", "Column 2 of the header has no name"),
        (b"\xe4,b\n1,2\n", "not UTF-8: save the file as UTF-8"),
        (b'"a"b,c\n', "quotes do not match"),
        ("a,b\nä".encode("utf-16") + b"A", "cannot be read as utf-16"),
    ],
)
def test_a_table_that_cannot_be_read(data: bytes, words: str) -> None:
    with pytest.raises(BadTable, match=words):
        read(data, size=1000)


def test_a_declared_encoding() -> None:
    data = "n\xe4me,b\n\x93q\x94,\xe9\n".encode("latin-1")
    assert read(data, "cp1252") == (["n\xe4me", "b"], [["\u201cq\u201d", "\xe9"]])
    assert codes(read(b"a,b\n\x81,2\n3,4\n", "cp1252")[1]) == ["not_utf8", ["3", "4"]]
    assert encoding_named("Windows-1252") == "cp1252"
    assert encoding_named("klingon") is None
    assert encoding_named("base64") is None


def test_bad_rows_do_not_take_the_others_down() -> None:
    data = b'a,b\n1,2\n3\n4,5,6\n"x"y,1\n7,\xff\n8,"9\n10"\n"open,1\n11,12\n'
    _, rows = read(data)
    assert codes(rows) == [
        ["1", "2"],
        *("wrong_cells", "wrong_cells", "bad_quotes", "not_utf8"),
        ["8", "9\n10"],
        "bad_quotes",
    ]
    texts = [row.text for row in rows if isinstance(row, BadRecord)]
    assert texts[:3] == ["3", "4,5,6", '"x"y,1']
    assert "unexpected end" in [row for row in rows if isinstance(row, BadRecord)][-1].message


@pytest.mark.parametrize(
    "huge",
    [
        b"y" * 300 + b",8",
        b'1,"' + b'x\n"",""\n' * 60 + b'"',
        b'"' + b"z" * 300 + b'""\n,q",5',
        b'1,"' + b"z" * 300 + b'"',
        b'1,"' + b"z\r\n" * 100 + b'"',
    ],
)
@pytest.mark.parametrize("size", [3, 1000])
def test_a_huge_cell_is_one_bad_row(
    monkeypatch: pytest.MonkeyPatch, huge: bytes, size: int
) -> None:
    monkeypatch.setattr(tables, "MOST_CHARACTERS", 100)
    monkeypatch.setattr(tables, "_PIECE", 16)
    data = b"a,b\n" + b"0,0\n" * 60 + huge + b"\n5,6\n" + huge
    rows = codes(read(data, size=size)[1])
    assert rows == [*[["0", "0"]] * 60, "too_large", ["5", "6"], "too_large"]


def test_a_line_without_an_end_is_never_held_whole() -> None:
    """200 MB of one cell, in little more than a record may have."""
    import tracemalloc

    def chunks() -> Iterator[bytes]:
        yield b"a,b\n1,2\n3,"
        for _ in range(200):
            yield b"x" * 1_000_000
        yield b"\n4,5\n"

    tracemalloc.start()
    try:
        rows = codes(list(Table(chunks(), None).rows()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == [["1", "2"], "too_large", ["4", "5"]]
    assert peak < 5 * tables.MOST_CHARACTERS


def test_what_breaks_below_is_told() -> None:
    with pytest.raises(Unreadable):
        Table(decompress(iter([b"no gzip"])), None)
