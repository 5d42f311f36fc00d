"""Lines of the three providers' rows that are alike but for some texts, and texts that are nasty in
them."""

from __future__ import annotations

from functions.batch.reading.moulds import Room
from functions.handlers.provider_wiring import DIALECTS

ROOMY = Room(rows=1 << 30, bytes=1 << 30)
BY_NAME = {dialect.provider: dialect for dialect in DIALECTS}

_OPENAI = (
    b'{"custom_id":"%b","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-5-mini",'
    b'"messages":[{"role":"system","content":"%b"},{"role":"user","content":"%b"}]%b}}'
)
_ANTHROPIC = (
    b'{"custom_id": "%b", "params": {"model": "claude-haiku-4-5", "max_tokens": 9, "system": '
    b'"Sort.", "messages": [{"role": "user", "content": "%b"}, {"role": "assistant", "content": '
    b'"%b"}]%b}}'
)
_VERTEX = (
    b'{"request":{"systemInstruction":{"parts":[{"text":"%b"}]},"contents":[{"role":"user","parts":'
    b'[{"text":"Read."},{"text":"%b"}]}]%b},"model":"gemini-2.5-flash","key":"%b"}'
)
_HUGE = b"%d" % (1 << 63)
MODELS = {"openai": b"gpt-5-mini", "anthropic": b"claude-haiku-4-5", "vertex": b"gemini-2.5-flash"}
MORE = {
    "openai": [
        b"",
        b',"max_tokens":9',
        b',"n":2,"max_tokens":%b' % _HUGE,
        b',"tools":[{"type":"function"}]',
        b',"stream":true',
    ],
    "anthropic": [
        b"",
        b',"max_tokens":%b' % _HUGE,
        b',"metadata":{"user_id":"1"}',
        b',"temperature":1',
        b',"x":1',
    ],
    "vertex": [
        b"",
        b',"generationConfig":{"maxOutputTokens":9}',
        b',"generationConfig":{"maxOutputTokens":%b}' % _HUGE,
        b',"labels":{"a":"b"}',
    ],
}


def line_of(provider: str, name: bytes, first: bytes, second: bytes, more: bytes) -> bytes:
    match provider:
        case "openai":
            return _OPENAI % (name, first, second, more)
        case "anthropic":
            return _ANTHROPIC % (name, first, second, more)
        case _:
            return _VERTEX % (first, second, more, name)


TEXTS = [
    *(
        b"a",
        b"b",
        b"",
        b"Read.",
        b"user",
        "\u00e9\u4e2d\U0001f600".encode(),
        b"x" * 400,
        b"y" * 3_000,
    ),
    *(
        b'a","b',
        b"a\\",
        b'a\\"',
        b'a\\"b',
        b"a\\\\",
        b'"',
        b'a"',
        b'"b',
        b",",
        b'a","',
        b'","b',
    ),
    *(
        b"\\u0000",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\\ud83d\\ude00",
        b"\t",
        b"\x7f",
    ),
    *(
        b',"b',
        b'"},{"role":"user","content":"',
        b'\\"},{\\"role\\":\\"user\\"',
        b"\\n  a",
        b"\\q",
        b"%d%b",
    ),
]
