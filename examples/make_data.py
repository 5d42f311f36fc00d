"""Writes data for the recipes in `examples/recipes`, each beside a copy of its recipe.

    .venv/bin/python examples/make_data.py [--out FOLDER] [--rows 10000]

The text is the standard library's docstrings. Every fiftieth row is as people send them: without
a value or a column, in the wrong encoding, with a cell too few or a huge one, or with what a
spreadsheet would run. `expected.json` says how many rows of each file cannot be sent.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_examples import pick

RECIPES = Path(__file__).resolve().parent / "recipes"
ROWS = 10_000
DIRTY_EVERY = 50
HUGE = 200_000

Made = tuple[bytes, bool]
"""A row, and whether it can be sent."""


def cells(*values: str, delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerow(values)
    return out.getvalue().encode()


def tickets(rows: int) -> Iterator[Made]:
    yield cells("ticket_id", "from", "text"), True
    for number, (name, text) in enumerate(pick(rows)):
        if number % DIRTY_EVERY:
            yield cells(f"T-{number}", name, text), True
        else:
            yield _dirty_ticket(number // DIRTY_EVERY, f"T-{number}", name, text)


def _dirty_ticket(turn: int, ticket: str, name: str, text: str) -> Made:
    match turn % 8:
        case 0:
            return cells(ticket, name), False
        case 1:
            return f"{ticket},{name},Grüße\n".encode("latin-1"), False
        case 2:
            return cells(ticket, "=HYPERLINK(A1)", f"-5 {text}"), True
        case 3:
            return cells(ticket, "", f'"{text}"\r\n, quoted'), True
        case 4:
            return cells(ticket, name, text * (HUGE // len(text))), True
        case 5:
            return f'{ticket},"{name}" again,{ticket}\n'.encode(), False
        case 6:
            return b"\n" + cells(ticket, "-5", "\u2028 " + text), True
        case _:
            return cells(ticket, name, text, "one too many"), False


def changes(rows: int) -> Iterator[Made]:
    for number, (name, text) in enumerate(pick(rows)):
        record: dict[str, object] = {"name": name, "module": name.split(".")[0], "text": text}
        line, good = json.dumps(record, ensure_ascii=False).encode(), True
        if not number % DIRTY_EVERY:
            line, good = _dirty_record(number // DIRTY_EVERY, record)
        yield line + b"\n", good


def _dirty_record(turn: int, record: dict[str, object]) -> Made:
    match turn % 6:
        case 0:
            del record["text"]
            return json.dumps(record).encode(), False
        case 1:
            return json.dumps(record, ensure_ascii=False).encode()[:-9], False
        case 2:
            return json.dumps({**record, "name": ["a", "list"]}).encode(), False
        case 3:
            return json.dumps({**record, "module": None, "lines": 7}).encode(), True
        case 4:
            return json.dumps({**record, "text": "Grüße"}, ensure_ascii=False).encode(
                "latin-1"
            ), False
        case _:
            text = str(record["text"])
            return json.dumps({**record, "text": text * (HUGE // len(text))}).encode(), True


def corpus(rows: int) -> Iterator[Made]:
    return changes(rows)


def phrases(rows: int) -> Iterator[Made]:
    yield b"\xef\xbb\xbf" + cells("phrase_id", "text", delimiter=";"), True
    for number, (_, text) in enumerate(pick(rows)):
        phrase = " ".join(text.split())[:200]
        if number % DIRTY_EVERY:
            yield cells(f"{number}", phrase, delimiter=";"), True
        elif number // DIRTY_EVERY % 2:
            yield cells(f"{number}", "  ", delimiter=";"), False
        else:
            yield cells(f"{number}", f"@{phrase}\nand more; of it", delimiter=";"), True


FILES: dict[str, tuple[str, Callable[[int], Iterator[Made]]]] = {
    "tickets": ("tickets.csv", tickets),
    "changes": ("changes.jsonl", changes),
    "corpus": ("corpus.jsonl", corpus),
    "phrases": ("phrases.csv", phrases),
}


def write(folder: Path, rows: int = ROWS) -> dict[str, int]:
    """Rows that cannot be sent, by file."""
    unfit: dict[str, int] = {}
    for name, (file, make) in FILES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(RECIPES / name / "recipe.yaml", folder / name / "recipe.yaml")
        with (folder / name / file).open("wb") as out:
            for row, good in make(rows):
                out.write(row)
                unfit[file] = unfit.get(file, 0) + (not good)
    (folder / "expected.json").write_text(json.dumps(unfit, indent=2) + "\n")
    return unfit


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write data for the example recipes.")
    default = Path(__file__).parent.parent / ".state" / "examples"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    parser.add_argument("--rows", type=int, default=ROWS, help="of each file")
    arguments = parser.parse_args()
    for written, bad in write(arguments.out, arguments.rows).items():
        print(f"{written}: {arguments.rows} rows, of which {bad} cannot be sent")
