"""Fits the weights of `functions.batch.reading.tokens` to o200k's counts of `tests/corpus`.

    mkdir -p /tmp/o200k && npm install --prefix /tmp/o200k gpt-tokenizer@4.0.0
    python -m bench.calibrate --count /tmp/o200k   # counts the corpus anew
    python -m bench.calibrate --write              # fits, and writes the weights
    python -m bench.calibrate                      # prints the errors

A file of the corpus is one language or kind; a line with `%` divides its passages. The even ones
are fitted, the odd ones are held out: the table's last column is the error on those. Each passage
weighs the same, whatever its length. The weights of the letters are held near the mean of their
group, which keeps the fit from learning the passages by heart.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
from pathlib import Path

import msgspec

from functions.batch.reading import token_weights
from functions.batch.reading import tokens as estimator
from functions.batch.reading.tokens import SAMPLE, unindented

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "corpus"
COUNTS = CORPUS / "o200k.json"
WEIGHTS = ROOT / "functions" / "batch" / "reading" / "token_weights.py"

UNIT = 102
HIGHEST = 65_520 // SAMPLE
DENSE_SHARE = 0.42
OWN = 0.3  # how firmly a byte is held to its group
_SWEEPS = 400


class Passage(msgspec.Struct, frozen=True):
    kind: str
    held_out: bool
    text: str
    tokens: int


def passages_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n%\n")


def corpus() -> list[Passage]:
    counts: dict[str, list[int]] = json.loads(COUNTS.read_text())
    return [
        Passage(path.stem, bool(number % 2), text, tokens)
        for path in sorted(CORPUS.glob("*.txt"))
        for number, (text, tokens) in enumerate(
            zip(passages_of(path), counts[path.stem], strict=True)
        )
    ]


def count(folder: str) -> None:
    kinds = {path.stem: passages_of(path) for path in sorted(CORPUS.glob("*.txt"))}
    texts = [text for passages in kinds.values() for text in passages]
    program = ["node", str(ROOT / "bench" / "o200k.mjs")]
    done = subprocess.run(
        program, cwd=folder, input=json.dumps(texts), text=True, capture_output=True, check=True
    )
    numbers = iter(json.loads(done.stdout))
    counted = {kind: [next(numbers) for _ in passages] for kind, passages in kinds.items()}
    lines = ",\n".join(f"  {json.dumps(kind)}: {counts}" for kind, counts in counted.items())
    COUNTS.write_text(f"{{\n{lines}\n}}\n")


GROUPS: dict[str, tuple[float, bytes]] = {
    "space": (0.3, b" "),
    "break": (0.3, b"\t\n\r"),
    "lower": (0.2, b"abcdefghijklmnopqrstuvwxyz"),
    "upper": (0.9, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "digit": (0.6, b"0123456789"),
    "stop": (0.4, b".,;:!?'\"-()"),
    "sign": (0.7, b"#$%&*+/<=>@[\\]^_`{|}~"),
    "accent": (0.8, b"\xc2\xc3" + bytes(range(0xC6, 0xCE))),
    "eastern": (
        1.9,
        b"\xc4\xc5",
    ),  # in Polish, Czech, Hungarian or Turkish the whole text costs more
    "greek": (0.4, b"\xce\xcf"),
    "cyrillic": (0.25, b"\xd0\xd1\xd2\xd3"),
    "hebrew": (0.4, b"\xd4\xd5\xd6\xd7"),
    "arabic": (0.35, b"\xd8\xd9\xda\xdb"),
    "brahmic": (0.4, b"\xe0"),
    "punctuation": (1.0, b"\xe2"),
    "kana": (0.75, b"\xe3"),
    "han": (0.8, bytes(range(0xE4, 0xEA))),
    "hangul": (0.6, b"\xea\xeb\xec\xed"),
    "wide": (0.8, b"\xef"),
    "pictures": (2.0, b"\xf0"),
    "rare": (1.0, bytes([*range(9), 11, 12, *range(14, 32), 127, *range(0xDC, 0xE0)])),
    "rarer": (0.6, b"\xe1"),
    "rarest": (2.0, b"\xee\xf1\xf2\xf3\xf4"),
}
"""Bytes that cost alike, and tokens for each where the corpus has none."""


def fit(texts: list[Passage], *, own: float) -> bytes:
    """The table with the least squared relative error."""
    group_of = {byte: group for group, (_, members) in GROUPS.items() for byte in members}
    names = [*GROUPS, *(str(byte) for byte in group_of)]
    place = {name: index for index, name in enumerate(names)}
    firm = [1e-5] * len(GROUPS) + [own] * len(group_of)
    prior = [mean for mean, _ in GROUPS.values()] + [0.0] * len(group_of)
    size = len(names)
    gram = [[0.0] * size for _ in names]
    aim = [firm[index] * prior[index] for index in range(size)]
    for index in range(size):
        gram[index][index] = firm[index]
    for passage in texts:
        features: dict[int, float] = {}
        for byte in unindented(passage.text).encode():
            if byte in group_of:
                for name in (group_of[byte], str(byte)):
                    features[place[name]] = features.get(place[name], 0.0) + 1 / passage.tokens
        for row, value in features.items():
            aim[row] += value
            for column, other in features.items():
                gram[row][column] += value * other
    solution = _descend(gram, aim, prior)
    table = bytearray(256)
    for byte, group in group_of.items():
        tokens = solution[place[group]] + solution[place[str(byte)]]
        table[byte] = min(HIGHEST, max(0, round(tokens * UNIT)))
    return bytes(table)


def _descend(gram: list[list[float]], aim: list[float], start: list[float]) -> list[float]:
    solution = list(start)
    for _ in range(_SWEEPS):
        for index, row in enumerate(gram):
            rest = sum(map(float.__mul__, row, solution)) - row[index] * solution[index]
            least, most = (0.0, HIGHEST / UNIT) if index < len(GROUPS) else (-1.0, 1.0)
            solution[index] = min(most, max(least, (aim[index] - rest) / row[index]))
    return solution


def tables(texts: list[Passage]) -> dict[str, bytes]:
    """Four tables: which of them a text takes, `text_tokens` decides."""
    foreign = [each for each in texts if _is_script(each.text)]
    southeast = [each for each in foreign if "\u0e00" <= max(each.text) < "\u0e80"]
    scripts = [each for each in foreign if each not in southeast]
    latin = [each for each in texts if not _is_script(each.text)]
    dense = [each for each in latin if each.tokens > DENSE_SHARE * len(each.text)]
    return {
        "PROSE": fit(latin, own=OWN),
        "DENSE": fit(dense, own=OWN),
        "SCRIPT": fit(scripts, own=100 * OWN),
        "SOUTHEAST": fit(southeast, own=100 * OWN),
    }


def _is_script(text: str) -> bool:
    return len(text.encode()) > 1.3 * len(text)


def write(found: dict[str, bytes]) -> None:
    lines = [
        '"""What each byte of a text weighs: written by `bench/calibrate.py`, not by hand."""',
        "",
        f"UNIT = {UNIT}",
        '"""Of this many a token is made."""',
        "",
        f"DENSE_ABOVE = {round(DENSE_SHARE * UNIT)}",
        '"""Weight of a character from which a text is no prose: numbers, hashes, base64."""',
    ]
    for name, table in found.items():
        digits = table.hex()
        lines += ["", f"{name} = bytes.fromhex("]
        lines += [f'    "{digits[at : at + 64]}"' for at in range(0, 512, 64)] + [")"]
    WEIGHTS.write_text("\n".join(lines) + "\n")


def errors(texts: list[Passage]) -> dict[str, tuple[int, float]]:
    """Tokens of each kind, and how far the estimate of all of them is off, as a share."""
    sums: dict[str, tuple[int, float]] = {}
    for each in texts:
        counted, estimated = sums.get(each.kind, (0, 0.0))
        sums[each.kind] = counted + each.tokens, estimated + estimator.text_tokens(each.text)
    return {kind: (counted, found / counted - 1) for kind, (counted, found) in sums.items()}


def report(texts: list[Passage]) -> None:
    fitted = errors([each for each in texts if not each.held_out])
    held_out = errors([each for each in texts if each.held_out])
    print("| kind | tokens | error, fitted half | error, held-out half |\n|---|--:|--:|--:|")
    for kind, (counted, error) in fitted.items():
        other, other_error = held_out[kind]
        print(f"| {kind} | {counted + other:,} | {error:+.1%} | {other_error:+.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", metavar="FOLDER", help="count with the gpt-tokenizer in FOLDER")
    parser.add_argument("--write", action="store_true", help="fit, and write the weights")
    options = parser.parse_args()
    if options.count:
        count(options.count)
    texts = corpus()
    if options.write:
        write(tables([each for each in texts if not each.held_out]))
        importlib.reload(token_weights)
        importlib.reload(estimator)
    report(texts)


if __name__ == "__main__":
    main()
