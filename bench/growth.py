"""Draws how a job's time and dollars grow with its rows: `python -m bench.growth`.

Jobs of several sizes go through the use cases, each step in a process of its own: seconds are of
CPU, over files. The dollars of the tokens are those that the use cases tell at the end, at the
prices given here; those of AWS are counted as in `bench.orchestration`. The chart is written to
`docs/growth.svg`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from html import escape
from math import log10
from pathlib import Path

import msgspec

from bench.orchestration import ROOT, Assumed, Costs, synthesized
from bench.rows import SCRATCH, STEPS, WAY, WORDS, in_a_process
from bench.shapes import PROVIDERS
from bench.steps import Saved
from functions.batch.money import DOLLAR
from functions.batch.spending.costs import total
from tests.infra.deployed import Deployed

CHART = ROOT / "docs" / "growth.svg"
SIZES = [10_000, 100_000, 1_000_000]
COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#555555")
PANEL, HEIGHT, MARGIN, TOP = 430, 300, 70, 50
FONT = 'font-family="system-ui, sans-serif"'


class Measured(msgspec.Struct, kw_only=True):
    """`seconds` of CPU by step; dollars of the answers' tokens, and of AWS around them."""

    rows: int
    seconds: dict[str, float]
    tokens: float
    aws: float


class Series(msgspec.Struct):
    name: str
    values: list[float]


def measured(provider: str, rows: int, stack: Deployed) -> Measured:
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        for step in WAY:
            told = in_a_process(step, provider, Path(folder), rows, 0)
            if step in STEPS:
                seconds[WORDS[step]] = told["seconds"][0]
        saved = msgspec.json.decode((Path(folder) / "ledger.json").read_bytes(), type=Saved)
    bill = total(saved.shards)
    assert bill is not None
    assert bill.rows == rows, f"{bill.rows} of {rows} rows were answered"
    assert bill.actual is not None
    services = Costs(provider, stack, Assumed(), rows).by_service()
    return Measured(
        rows=rows,
        seconds=seconds,
        tokens=bill.actual / DOLLAR,
        aws=sum(price for _, price in services.values()),
    )


def panel(title: str, left: int, sizes: list[int], series: list[Series]) -> list[str]:
    """Both axes are logarithmic: what grows with the rows is a line at 45 degrees, drawn thin
    through the last point."""
    known = [value for each in series for value in each.values]
    low, high = int(log10(min(known)) // 1), int(-(-log10(max(known)) // 1))
    first, last = log10(sizes[0]) - 0.2, log10(sizes[-1]) + 0.2
    x = _scale(first, last, left + MARGIN, left + PANEL - 110)
    y = _scale(low, high, TOP + HEIGHT, TOP)
    drawn = [
        _text(left + MARGIN, TOP - 18, title, "start", size=15),
    ]
    for size in sizes:
        at = x(log10(size))
        drawn.append(_line(at, y(low), at, y(high), "#eee"))
        drawn.append(_text(at, y(low) + 20, f"{size:,}", "middle"))
    drawn.append(_text(x((first + last) / 2), y(low) + 42, "rows", "middle"))
    for power in range(low, high + 1):
        drawn.append(_line(x(first), y(power), x(last), y(power), "#ddd"))
        drawn.append(_text(x(first) - 8, y(power) + 4, f"{10.0**power:,g}", "end"))
    for each, color in zip(series, COLORS, strict=False):
        drawn += _series(each, color, sizes, x, y, low)
    return drawn + _labels(series, x(log10(sizes[-1])), y)


def _series(
    series: Series,
    color: str,
    sizes: list[int],
    x: Callable[[float], float],
    y: Callable[[float], float],
    low: int,
) -> list[str]:
    places = [(x(log10(n)), y(log10(v))) for n, v in zip(sizes, series.values, strict=True)]
    end = log10(series.values[-1])
    start = max(log10(sizes[0]), log10(sizes[-1]) - (end - low))
    begun = end - (log10(sizes[-1]) - start)
    drawn = [_line(x(start), y(begun), *places[-1], color, 'stroke-dasharray="2 3"')]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    for (across, down), value in zip(places, series.values, strict=True):
        drawn.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{color}">')
        drawn.append(f"<title>{value:,.4g}</title></circle>")
    return drawn


def _labels(series: list[Series], across: float, y: Callable[[float], float]) -> list[str]:
    """Beside the last points, one below the other where these lie close together."""
    drawn: list[str] = []
    above = 0.0
    for last, name, color in sorted(
        (y(log10(each.values[-1])), f"{each.name} {each.values[-1]:,.2f}", color)
        for each, color in zip(series, COLORS, strict=False)
    ):
        above = max(last + 4, above + 15)
        drawn.append(_text(across + 10, above, name, "start", color))
    return drawn


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _line(x1: float, y1: float, x2: float, y2: float, color: str, more: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}" {more}/>'


def _text(
    x: float, y: float, text: str, anchor: str, color: str = "#222", *, size: int = 12
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} {FONT} fill="{color}" font-size="{size}">{escape(text)}</text>'


def chart(found: list[Measured]) -> str:
    sizes = [each.rows for each in found]
    steps = [Series(name, [each.seconds[name] for each in found]) for name in WORDS.values()]
    money = [
        Series("tokens", [each.tokens for each in found]),
        Series("AWS", [each.aws for each in found]),
    ]
    width, height = PANEL * 2 + 40, TOP + HEIGHT + 60
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *panel("Seconds of CPU of a job", 0, sizes, steps),
            *panel("Dollars of a job", PANEL + 20, sizes, money),
            "</svg>\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--provider", choices=PROVIDERS, default="openai")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    stack = synthesized()
    steps = " | ".join(f"{name}, s" for name in WORDS.values())
    print(f"| rows | {steps} | tokens, $ | AWS, $ |")
    print(f"|--:|{'--:|' * len(WORDS)}--:|--:|")
    found: list[Measured] = []
    for rows in sorted(options.sizes):
        each = measured(options.provider, rows, stack)
        found.append(each)
        seconds = " | ".join(f"{each.seconds[name]:,.1f}" for name in WORDS.values())
        print(f"| {rows:,} | {seconds} | {each.tokens:,.2f} | {each.aws:,.3f} |", flush=True)
    CHART.write_text(chart(found))


if __name__ == "__main__":
    main()
