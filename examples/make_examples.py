"""Writes example inputs from text that every Python has: the standard library's docstrings.

    .venv/bin/python examples/make_examples.py [--out FOLDER]

`docstrings.jsonl`: 2,400 OpenAI batch lines, two chat models and embeddings, all of them good.
`claude.jsonl`: 300 Anthropic batch lines. `gemini.jsonl`: 300 Gemini lines, a third of them
embeddings. `mixed.jsonl`: 300 rows of all three, side by side.
`dirty.jsonl`: a few lines as files have them that people send: some good, some not.

Sources are parsed, never imported. The same Python writes the same files.
"""

from __future__ import annotations

import argparse
import ast
import json
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

SUMMARIES = 1_300
CLASSIFICATIONS = 700
EMBEDDINGS = 400
OF_EACH_PROVIDER = 300
ROWS = SUMMARIES + CLASSIFICATIONS + EMBEDDINGS

_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo"}
_LENGTHS = range(60, 1_500)


def docstrings() -> Iterator[tuple[str, str]]:
    """Names such as `json.decoder.JSONDecoder`, each with its docstring, in order of name."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not _SKIPPED.intersection(parts) and not parts[0].startswith(("_sysconfigdata", "lib-")):
            yield from _of_module(path, ".".join(parts).removesuffix(".__init__"))


def _of_module(path: Path, module: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    yield from _of_node(tree, module)


def _of_node(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node)
    if text and len(text) in _LENGTHS:
        yield name, text
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _of_node(child, f"{name}.{child.name}")


@cache
def _found() -> list[tuple[str, str]]:
    return list(dict(docstrings()).items())


def pick(count: int) -> list[tuple[str, str]]:
    """Spread evenly over the library; repeats only where there are fewer docstrings than that."""
    found = _found()
    if not found:
        raise SystemExit("This Python has no sources of its standard library to read.")
    return [found[number * len(found) // count] for number in range(count)]


def chat(model: str, task: str, text: str) -> dict[str, Any]:
    messages = [{"role": "developer", "content": task}, {"role": "user", "content": text}]
    return {
        "model": model,
        "messages": messages,
        "reasoning_effort": "low",
        "max_completion_tokens": 1_000,
    }


def line(custom_id: str, url: str, body: dict[str, Any]) -> str:
    request = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(request, ensure_ascii=False) + "\n"


def good_rows() -> Iterator[str]:
    for number, (name, text) in enumerate(pick(ROWS)):
        if number < SUMMARIES:
            body = chat("gpt-5-mini", "Summarise this documentation in one sentence.", text)
            yield line(f"summary-{name}", "/v1/chat/completions", body)
        elif number < SUMMARIES + CLASSIFICATIONS:
            task = "Answer with one word: is this a class, a function or a module?"
            body = chat("gpt-5.4-mini", task, text)
            yield line(f"kind-{name}", "/v1/chat/completions", body)
        else:
            body = {"model": "text-embedding-3-small", "input": text}
            yield line(f"vector-{name}", "/v1/embeddings", body)


def claude(name: str, text: str) -> str:
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 200,
        "system": "Summarise this documentation in one sentence.",
        "messages": [{"role": "user", "content": text}],
    }
    return json.dumps({"custom_id": f"claude {name}", "params": params}, ensure_ascii=False) + "\n"


def gemini(name: str, text: str) -> str:
    parts = [{"text": f"Summarise this documentation in one sentence.\n\n{text}"}]
    request = {
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {"maxOutputTokens": 200},
    }
    row = {"custom_id": f"gemini {name}", "model": "gemini-2.5-flash", "request": request}
    return json.dumps(row, ensure_ascii=False) + "\n"


def gemini_embedding(name: str, text: str) -> str:
    request = {"content": {"parts": [{"text": text}]}}
    row = {"key": f"vector {name}", "model": "gemini-embedding-001", "request": request}
    return json.dumps(row, ensure_ascii=False) + "\n"


def claude_rows() -> Iterator[str]:
    return (claude(name, text) for name, text in pick(OF_EACH_PROVIDER))


def gemini_rows() -> Iterator[str]:
    for number, (name, text) in enumerate(pick(OF_EACH_PROVIDER)):
        yield gemini_embedding(name, text) if number % 3 == 2 else gemini(name, text)


def mixed_rows() -> Iterator[str]:
    for number, (name, text) in enumerate(pick(OF_EACH_PROVIDER)):
        if number % 3 == 0:
            body = chat("gpt-5-mini", "Summarise this documentation in one sentence.", text)
            yield line(f"gpt {name}", "/v1/chat/completions", body)
        else:
            yield claude(name, text) if number % 3 == 1 else gemini(name, text)


def dirty_rows() -> Iterator[str]:
    greet = chat("gpt-5-mini", "Answer in one word.", "How is a lazy evaluation called in Python?")
    yield line("good-1", "/v1/chat/completions", greet)
    yield '{"custom_id": "cut-off", "method": "POST", "url": "/v1/chat/comp\n'
    yield line("no-model", "/v1/chat/completions", {"messages": greet["messages"]})
    yield "\n"
    yield line("streamed", "/v1/chat/completions", {**greet, "stream": True})
    yield line("good-1", "/v1/chat/completions", greet)
    yield line("unknown-endpoint", "/v1/horoscopes", {"model": "gpt-5-mini", "sign": "snake"})
    yield "name,docstring\n"
    yield line("good-2", "/v1/chat/completions", chat("gpt-5-mini", "Translate.", "∀ rows"))


def write(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "docstrings.jsonl": good_rows(),
        "claude.jsonl": claude_rows(),
        "gemini.jsonl": gemini_rows(),
        "mixed.jsonl": mixed_rows(),
        "dirty.jsonl": dirty_rows(),
    }
    for name, rows in files.items():
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(rows)
    return [folder / name for name in files]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the example inputs.")
    default = Path(__file__).parent.parent / ".state" / "examples"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    for written in write(parser.parse_args().out):
        print(written)
