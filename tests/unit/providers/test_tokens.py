"""What a request's line is estimated at: its text, what a message costs, and its files."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from functions.batch.ports import Dialect
from functions.batch.reading.looking import decode
from functions.batch.reading.tokens import json_tokens, text_tokens
from functions.batch.rows import Weight
from functions.providers.anthropic import tokens as anthropic
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai import tokens as openai
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import tokens as vertex
from functions.providers.vertex.dialect import VertexDialect
from tests.support.corpus import KINDS, of
from tests.support.lines import CHAT, embedding, line

TEXT = "A few words about nothing in particular."
WORDS = round(text_tokens(TEXT))

OPENAI, ANTHROPIC, VERTEX = OpenAIDialect(), AnthropicDialect(), VertexDialect()


def chat(content: Any, model: str = "gpt-5-mini", **more: Any) -> Any:
    return line("a", {"model": model, "messages": [{"role": "user", "content": content}], **more})


def response(given: Any, **more: Any) -> Any:
    return line("a", {"model": "gpt-5-mini", "input": given, **more}, "/v1/responses")


def message(content: Any, **more: Any) -> Any:
    asked = {"model": "claude-haiku-4-5", "max_tokens": 100, **more}
    return {
        "custom_id": "a",
        "params": {**asked, "messages": [{"role": "user", "content": content}]},
    }


def turn(parts: Any, model: str = "gemini-2.5-flash", **more: Any) -> Any:
    contents = [{"role": "user", "parts": parts}]
    return {"custom_id": "a", "model": model, "request": {"contents": contents, **more}}


def embed_turn(text: str) -> Any:
    request = {"content": {"parts": [{"text": text}]}}
    return {"key": "a", "model": "gemini-embedding-001", "request": request}


def weigh(dialect: Dialect, row: Any, **style: Any) -> Weight:
    data = json.dumps(row, **style).encode()
    weight = dialect.parse(data, decode(data)).weight
    assert dialect.weigh(data) == weight
    return weight


MESSAGE_COST = openai.ANSWER + openai.MESSAGE
CLAUDE_COST = anthropic.ANSWER + anthropic.MESSAGE
LINES: dict[str, tuple[Dialect, Callable[[str], Any], int]] = {
    "chat": (OPENAI, chat, MESSAGE_COST),
    "chat parts": (OPENAI, lambda text: chat([{"type": "text", "text": text}]), MESSAGE_COST),
    "response": (OPENAI, response, MESSAGE_COST),
    "embedding": (OPENAI, lambda text: embedding("a", text), 0),
    "message": (ANTHROPIC, message, CLAUDE_COST),
    "message blocks": (
        ANTHROPIC,
        lambda text: message([{"type": "text", "text": text}]),
        CLAUDE_COST,
    ),
    "turn": (VERTEX, lambda text: turn([{"text": text}]), vertex.TURN),
    "odd turn": (VERTEX, lambda text: turn([{"text": text, "thought": False}]), vertex.TURN),
    "content": (VERTEX, embed_turn, vertex.TURN),
}


@pytest.mark.parametrize("ascii_only", [False, True], ids=["utf8", "escaped"])
@pytest.mark.parametrize("shape", LINES)
def test_each_kind_is_met_within_ten_percent_in_each_line(shape: str, ascii_only: bool) -> None:
    dialect, made, cost = LINES[shape]
    off: dict[str, float] = {}
    for kind in KINDS:
        counted = sum(passage.tokens + cost for passage in of(kind))
        rows = [made(passage.text) for passage in of(kind)]
        estimated = sum(weigh(dialect, row, ensure_ascii=ascii_only).tokens for row in rows)
        if abs(estimated / counted - 1) > 0.1:
            off[kind] = estimated / counted - 1
    assert off == {}


@pytest.mark.parametrize("shape", LINES)
def test_escapes_do_not_count(shape: str) -> None:
    dialect, made, _ = LINES[shape]
    for kind in KINDS:
        row = made(f'"{of(kind)[0].text}"\n\\\t')
        plain = weigh(dialect, row, ensure_ascii=False).tokens
        assert weigh(dialect, row, ensure_ascii=True).tokens == plain, kind


def test_the_skeleton_of_a_line_does_not_count() -> None:
    for dialect, made, cost in LINES.values():
        assert weigh(dialect, made(TEXT)).tokens == WORDS + cost
        assert weigh(dialect, made(TEXT), indent=8).tokens == WORDS + cost


def test_all_that_a_model_reads_counts() -> None:
    tool = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    tools = round(json_tokens(json.dumps(tool).encode()))
    plain = weigh(OPENAI, chat(TEXT)).tokens
    assert weigh(OPENAI, chat(TEXT, tools=tool)).tokens == pytest.approx(plain + tools, abs=1)
    assert weigh(OPENAI, chat(TEXT, response_format=tool)).tokens > plain + tools - 2
    assert weigh(OPENAI, chat(TEXT, tools=[])).tokens == plain
    instructed = weigh(OPENAI, response(TEXT, instructions=TEXT)).tokens
    assert instructed == pytest.approx(2 * plain - openai.ANSWER, abs=1)
    assert weigh(OPENAI, response(TEXT, text={"format": tool})).tokens > plain + tools - 2

    claude = weigh(ANTHROPIC, message(TEXT)).tokens
    system = weigh(ANTHROPIC, message(TEXT, system=TEXT)).tokens
    assert system == pytest.approx(claude + WORDS + anthropic.SYSTEM, abs=1)
    blocks = [{"type": "text", "text": TEXT, "cache_control": {"type": "ephemeral"}}]
    assert weigh(ANTHROPIC, message(TEXT, system=blocks)).tokens == system
    with_tools = weigh(ANTHROPIC, message(TEXT, tools=tool)).tokens
    assert with_tools == pytest.approx(claude + tools + anthropic.TOOLS, abs=1)

    gemini = weigh(VERTEX, turn([{"text": TEXT}])).tokens
    instruction = {"parts": [{"text": TEXT}]}
    for name in ("systemInstruction", "system_instruction"):
        row = turn([{"text": TEXT}], **{name: instruction})
        assert weigh(VERTEX, row).tokens == pytest.approx(2 * gemini, abs=1)
    assert weigh(VERTEX, turn([{"text": TEXT}], tools=tool)).tokens > gemini + 5
    schema = {"generationConfig": {"responseSchema": tool[0]}}
    assert weigh(VERTEX, turn([{"text": TEXT}], **schema)).tokens > gemini + 5


def test_calls_of_tools_and_what_they_returned_count() -> None:
    arguments = json.dumps({"query": TEXT})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    asking = {"role": "assistant", "content": None, "tool_calls": [call]}
    said = {"role": "tool", "tool_call_id": "c", "content": TEXT}
    row = line("a", {"model": "m", "messages": [asking, said, {"role": "user", "name": "bob"}]})
    assert weigh(OPENAI, row).tokens > 2 * WORDS + 3 * openai.MESSAGE
    items = [
        {"type": "function_call", "name": "f", "arguments": arguments},
        {"type": "function_call_output", "output": TEXT},
        {"role": "user", "content": [{"type": "input_text", "text": TEXT}]},
    ]
    assert weigh(OPENAI, response(items)).tokens > 3 * WORDS
    content = [
        {"type": "tool_use", "name": "f", "input": {"query": TEXT}},
        {"type": "tool_result", "content": [{"type": "text", "text": TEXT}]},
        {"type": "tool_result", "content": TEXT},
        {"type": "thinking", "thinking": TEXT},
    ]
    assert weigh(ANTHROPIC, message(content)).tokens > 4 * WORDS
    parts = [
        {"functionCall": {"name": "f", "args": {"query": TEXT}}},
        {"functionResponse": {"name": "f", "response": {"result": TEXT}}},
        {"executableCode": {"language": "PYTHON", "code": TEXT}},
        {"codeExecutionResult": {"outcome": "OK", "output": TEXT}},
    ]
    assert weigh(VERTEX, turn(parts)).tokens > 4 * WORDS


def test_tokens_that_are_cut_already_are_counted_one_by_one() -> None:
    assert weigh(OPENAI, embedding("a", [1, 2, 3])).tokens == 3
    assert weigh(OPENAI, embedding("a", [[1, 2, 3], [4, 5]])).tokens == 5
    assert weigh(OPENAI, embedding("a", [TEXT, TEXT])).tokens == pytest.approx(2 * WORDS, abs=1)
    row = line("a", {"model": "m", "prompt": TEXT}, "/v1/images/generations")
    assert weigh(OPENAI, row).tokens == WORDS
    moderated = line(
        "a", {"model": "m", "input": [{"type": "text", "text": TEXT}]}, "/v1/moderations"
    )
    assert weigh(OPENAI, moderated).tokens == WORDS


def png(width: int, height: int, size: int = 50_000) -> str:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    data += struct.pack(">I", zlib.crc32(chunk)) + bytes(range(256)) * (size // 256)
    return base64.b64encode(data).decode()


def pdf(pages: int) -> str:
    body = b"%PDF-1.4\n" + b"<< /Type /Pages /Count 9 >>\n"
    body += b"<< /Type /Page /Parent 1 0 R >>\n" * pages + b"\x00\xff" * 50_000
    return base64.b64encode(body).decode()


def wav(seconds: int) -> str:
    rate = 32_000
    head = b"RIFF" + struct.pack("<I", 36 + rate * seconds) + b"WAVEfmt "
    head += struct.pack("<IHHIIHH", 16, 1, 1, 16_000, rate, 2, 16) + b"data" + bytes(4)
    return base64.b64encode(head + bytes(rate * seconds)).decode()


def mp4(seconds: int) -> str:
    movie = b"mvhd" + bytes(12) + struct.pack(">II", 1_000, 1_000 * seconds)
    return base64.b64encode(bytes(32) + movie + bytes(90_000)).decode()


def image_row(data: str, model: str, detail: str = "auto") -> Any:
    url = {"url": f"data:image/png;base64,{data}", "detail": detail}
    return chat([{"type": "image_url", "image_url": url}], model)


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        ("gpt-4o", (1_024, 1_024), "high", 765),
        ("gpt-4o", (2_048, 4_096), "auto", 1_105),
        ("gpt-4.1", (4_096, 8_192), "low", 85),
        ("gpt-4o-mini", (512, 512), "auto", 2_833 + 5_667),
        ("gpt-5", (512, 512), "auto", 210),
        ("o3", (512, 512), "auto", 225),
        ("gpt-4.1-mini", (1_024, 1_024), "auto", 1_659),
        ("gpt-5-nano", (4_000, 4_000), "auto", 3_779),
        ("o4-mini", (64, 33), "low", 7),
    ],
)
def test_openais_images_cost_what_the_guide_says(
    model: str, size: tuple[int, int], detail: str, tokens: int
) -> None:
    found = weigh(OPENAI, image_row(png(*size), model, detail)).tokens - MESSAGE_COST
    assert found == pytest.approx(tokens, abs=1)
    url = f"data:image/png;base64,{png(*size)}"
    part = {"type": "input_image", "image_url": url, "detail": detail}
    row = line(
        "a", {"model": model, "input": [{"role": "user", "content": [part]}]}, "/v1/responses"
    )
    assert weigh(OPENAI, row).tokens == found + MESSAGE_COST


def test_a_claude_image_costs_its_pixels() -> None:
    def cost(source: Any) -> int:
        blocks = [{"type": "text", "text": TEXT}, {"type": "image", "source": source}]
        return weigh(ANTHROPIC, message(blocks)).tokens - CLAUDE_COST - WORDS

    def held(data: str) -> Any:
        return {"type": "base64", "media_type": "image/png", "data": data}

    assert cost(held(png(1_000, 750))) == pytest.approx(1_000, abs=1)
    assert cost(held(png(5_000, 5_000))) == 1_600
    assert cost(held(png(200, 200))) == pytest.approx(53, abs=1)
    assert 1_000 < cost({"type": "url", "url": "https://example.com/a.png"}) <= 1_600
    assert 1_000 < cost({"type": "file", "file_id": "file_1"}) <= 1_600


def test_gemini_counts_tiles_and_since_version_3_a_fixed_sum() -> None:
    def cost(width: int, height: int, model: str) -> int:
        blob = {"mimeType": "image/png", "data": png(width, height)}
        return weigh(VERTEX, turn([{"inlineData": blob}], model)).tokens - vertex.TURN

    assert cost(384, 384, "gemini-2.5-flash") == 258
    assert cost(1_000, 700, "publishers/google/models/gemini-2.0-flash") == 2 * 258
    assert cost(384, 384, "gemini-3-pro") == 1_120


def test_documents_cost_by_the_page() -> None:
    title = {"type": "document", "title": "T"}
    three = {"type": "base64", "media_type": "application/pdf", "data": pdf(3)}
    claude = weigh(ANTHROPIC, message([{**title, "source": three}])).tokens
    assert 3 * 1_500 < claude < 3 * 4_600
    uploaded = {"type": "file", "file_id": "file_1"}
    assert weigh(ANTHROPIC, message([{**title, "source": uploaded}])).tokens > claude
    blob = {"mime_type": "application/pdf", "data": pdf(3)}
    assert weigh(VERTEX, turn([{"inline_data": blob}])).tokens == vertex.TURN + 3 * 258
    assert weigh(VERTEX, turn([{"inline_data": blob}], "gemini-3-pro")).tokens == 1 + 3 * 560
    file = {"file_data": f"data:application/pdf;base64,{pdf(3)}", "filename": "a.pdf"}
    parts = [{"type": "file", "file": file}]
    openais = weigh(OPENAI, chat(parts)).tokens
    assert 3 * 500 < openais < 3 * 4_000
    content = [{"role": "user", "content": [{"type": "input_file", **file}]}]
    assert weigh(OPENAI, response(content)).tokens == openais
    by_id = [{"type": "file", "file": {"file_id": "file-1"}}]
    assert weigh(OPENAI, chat(by_id)).tokens > openais


def test_recordings_cost_by_the_second() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": wav(7), "format": "wav"}}
    assert weigh(OPENAI, chat([audio])).tokens == pytest.approx(MESSAGE_COST + 70, abs=1)
    blob = {"mimeType": "audio/wav", "data": wav(7)}
    assert weigh(VERTEX, turn([{"inlineData": blob}])).tokens == pytest.approx(1 + 7 * 32, abs=1)
    video = {"mimeType": "video/mp4", "data": mp4(9)}
    assert weigh(VERTEX, turn([{"inlineData": video}])).tokens == 1 + 9 * 263
    minute = {"mimeType": "audio/mpeg", "fileUri": "gs://bucket/a.mp3"}
    assert weigh(VERTEX, turn([{"fileData": minute}])).tokens == 1 + 60 * 32


def test_texts_in_files_count_as_text() -> None:
    data = base64.b64encode(TEXT.encode()).decode()
    source: Any = {"type": "base64", "media_type": "text/plain", "data": data}
    block = {"type": "document", "source": source}
    assert weigh(ANTHROPIC, message([block])).tokens == CLAUDE_COST + WORDS
    block["source"] = {"type": "text", "media_type": "text/plain", "data": TEXT}
    assert weigh(ANTHROPIC, message([block])).tokens == CLAUDE_COST + WORDS
    block["source"] = {"type": "content", "content": [{"type": "text", "text": TEXT}]}
    assert weigh(ANTHROPIC, message([block])).tokens == CLAUDE_COST + WORDS
    blob = {"mimeType": "text/csv", "data": data}
    assert weigh(VERTEX, turn([{"inlineData": blob}])).tokens == 1 + WORDS


@pytest.mark.parametrize("data", ["", "!!!", "QUJD", png(9, 9)[:9], png(9, 9)[:-1], "\u00e4" * 40])
def test_broken_files_are_estimated_too(data: str) -> None:
    for mime in ("image/png", "application/pdf", "audio/wav", "video/mp4", "x"):
        blob = {"mimeType": mime, "data": data}
        assert 0 <= weigh(VERTEX, turn([{"inlineData": blob}])).tokens < 100_000
        source = {"type": "base64", "media_type": mime, "data": data}
        for kind in ("image", "document"):
            block = {"type": kind, "source": source}
            assert 0 <= weigh(ANTHROPIC, message([block])).tokens < 100_000
    assert 0 <= weigh(OPENAI, image_row(data, "gpt-5")).tokens < 100_000


ODD: list[Any] = [
    None,
    5,
    [5, None, [["x"]], {}, {"type": 7}, {"type": "image_url", "image_url": 3}],
    {"type": "file", "file": None},
    {"text": 5},
]


@pytest.mark.parametrize("content", ODD)
def test_what_a_provider_will_refuse_is_estimated_without_a_crash(content: Any) -> None:
    assert weigh(OPENAI, chat(content)).tokens >= MESSAGE_COST
    assert weigh(OPENAI, response(content)).tokens >= openai.ANSWER
    assert weigh(OPENAI, embedding("a", content)).tokens >= 0
    assert weigh(OPENAI, line("a", {"model": "m", "messages": content})).tokens >= 0
    assert weigh(ANTHROPIC, message(content, system=content)).tokens >= CLAUDE_COST


def test_numbers_beyond_a_double_and_deep_values_are_the_providers_to_refuse() -> None:
    number = b'{"custom_id":"a","method":"POST","url":"%b","body":{"model":"m","messages":'
    number += b'[{"content":[{"type":"text","text":"x","n":1e999}]}]}}'
    data = number % CHAT.encode()
    assert OPENAI.parse(data, decode(data)).weight.tokens == MESSAGE_COST
    deep = json.loads("[" * 400 + "]" * 400)
    call = {"role": "assistant", "tool_calls": [deep], "content": deep}
    assert weigh(OPENAI, line("a", {"model": "m", "messages": [call]})).tokens > 0


def bounds(weight: Weight) -> tuple[int, int]:
    return weight.max_output, weight.unbounded


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (chat("x", max_completion_tokens=50), (50, 0)),
        (chat("x", max_tokens=50, n=3), (150, 0)),
        (chat("x"), (0, 1)),
        (chat("x", n=4), (0, 4)),
        (chat("x", max_tokens="many"), (0, 1)),
        (response("x", max_output_tokens=70), (70, 0)),
        (response("x"), (0, 1)),
        (line("a", {"model": "m", "prompt": "x", "max_tokens": 9}, "/v1/completions"), (9, 0)),
        (line("a", {"model": "m", "prompt": ["x", "y"], "best_of": 3}, "/v1/completions"), (96, 0)),
        (line("a", {"model": "m", "prompt": [1, 2]}, "/v1/completions"), (16, 0)),
        (line("a", {"model": "m", "prompt": "x", "n": 2}, "/v1/images/generations"), (12_480, 0)),
        (line("a", {"model": "m", "prompt": "x"}, "/v1/videos"), (0, 0)),
        (line("a", {"model": "m", "input": "x"}, "/v1/moderations"), (0, 0)),
        (embedding("a", ["x", "y"]), (0, 0)),
    ],
)
def test_openais_answers_are_bounded(row: Any, expected: tuple[int, int]) -> None:
    assert bounds(weigh(OPENAI, row)) == expected


def test_claudes_answers_are_always_bounded() -> None:
    assert bounds(weigh(ANTHROPIC, message("x", max_tokens=300_000))) == (300_000, 0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"generationConfig": {"maxOutputTokens": 40}}, (40, 0)),
        ({"generation_config": {"max_output_tokens": 40, "candidate_count": 2}}, (80, 0)),
        ({"generationConfig": {"candidateCount": 3}}, (0, 3)),
        ({"generationConfig": {"maxOutputTokens": "many"}}, (0, 1)),
        ({}, (0, 1)),
    ],
)
def test_geminis_answers_are_bounded(config: Any, expected: tuple[int, int]) -> None:
    assert bounds(weigh(VERTEX, turn([{"text": "x"}], **config))) == expected
    assert bounds(weigh(VERTEX, embed_turn("x"))) == (0, 0)


def test_a_long_answer_takes_more_of_a_gemini_batchs_room() -> None:
    few = weigh(VERTEX, turn([{"text": "x"}], generationConfig={"maxOutputTokens": 100}))
    many = weigh(VERTEX, turn([{"text": "x"}], generationConfig={"maxOutputTokens": 4_000}))
    assert many.output > few.output + 20_000


def test_weights_add_up() -> None:
    rows = [weigh(OPENAI, chat("x")), weigh(OPENAI, chat("x", max_tokens=5))]
    total = rows[0].plus(rows[1])
    assert (total.tokens, total.max_output, total.unbounded) == (2 * rows[0].tokens, 5, 1)
    rows[0].add(rows[1])
    assert rows[0] == total
