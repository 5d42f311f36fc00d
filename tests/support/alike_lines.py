"""Lines of the three providers' rows that are alike but for some texts, and texts that are nasty in
them."""

from __future__ import annotations

from functions.batch.reading.mould import Room
from functions.handlers.provider_wiring import DIALECTS

ROOMY = Room(rows=1 << 30, bytes=1 << 30)

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
_OPENAI_ROW = (
    b'{"custom_id":"%%b","method":"POST","url":"/v1/%b","body":{"model":"gpt-5-mini",%b%%b}}'
)
_ANTHROPIC_ROW = b'{"custom_id":"%%b","params":{"model":"claude-haiku-4-5","max_tokens":9,%b%%b}}'
_VERTEX_ROW = b'{"request":{%b%%b},"model":"gemini-2.5-flash","custom_id":"%%b"}'
_OTHERS = {
    "openai responses": _OPENAI_ROW % (b"responses", b'"instructions":"%b","input":"%b"'),
    "openai items": _OPENAI_ROW
    % (
        b"responses",
        b'"input":[{"role":"system","content":"%b"},{"type":"message","role":"user","content":'
        b'[{"type":"input_text","text":"%b"}]}]',
    ),
    "openai embeddings": _OPENAI_ROW % (b"embeddings", b'"input":["%b","%b"]'),
    "openai prompt": _OPENAI_ROW % (b"completions", b'"prompt":"%b","user":"%b"'),
    "openai metadata": _OPENAI_ROW
    % (
        b"chat/completions",
        b'"metadata":{"a":"%b"},"messages":[{"role":"user","content":"%b"}]',
    ),
    "openai image": _OPENAI_ROW
    % (
        b"chat/completions",
        b'"messages":[{"role":"user","content":[{"type":"text","text":"%b"},{"type":"image_url",'
        b'"image_url":{"url":"https://a.b/%b"}}]}]',
    ),
    "openai no chat": _OPENAI_ROW
    % (
        b"chat/completions",
        b'"messages":[1,{"role":"user","content":"%b"}],"user":"%b"',
    ),
    "anthropic blocks": _ANTHROPIC_ROW
    % (
        b'"system":[{"type":"text","text":"%b","cache_control":{"type":"ephemeral"}}],"messages":'
        b'[{"role":"user","content":[{"type":"text","text":"%b"}]}]'
    ),
    "anthropic user": _ANTHROPIC_ROW
    % (
        b'"metadata":{"user_id":"%b"},"tools":[{"name":"a","input_schema":{"type":"object"}}],'
        b'"messages":[{"role":"user","content":"%b"}]'
    ),
    "anthropic document": _ANTHROPIC_ROW
    % (
        b'"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":'
        b'"%b"}},{"type":"text","text":"%b"}]}]'
    ),
    "vertex labels": _VERTEX_ROW % b'"labels":{"a":"%b"},"contents":[{"parts":[{"text":"%b"}]}]',
    "vertex file": _VERTEX_ROW
    % (
        b'"contents":[{"role":"user","parts":[{"text":"%b"},{"fileData":{"fileUri":"%b",'
        b'"mimeType":"application/pdf"}}]}]'
    ),
    "vertex turn": _VERTEX_ROW
    % b'"contents":{"role":"user","parts":[{"text":"%b"},{"text":"%b"}]}',
    "vertex embedding": _VERTEX_ROW % b'"content":{"parts":[{"text":"%b"},{"text":"%b"}]}',
}
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


_FORMS = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "vertex": _VERTEX, **_OTHERS}
KINDS = [*_FORMS]
"""Providers, for their usual rows, and what other rows of theirs have."""

BY_NAME = {
    kind: dialect
    for kind in KINDS
    for dialect in DIALECTS
    if dialect.provider == kind.partition(" ")[0]
}
MODELS |= {kind: MODELS[kind.partition(" ")[0]] for kind in _OTHERS}
MORE |= {kind: [b""] for kind in _OTHERS}


def line_of(kind: str, name: bytes, first: bytes, second: bytes, more: bytes) -> bytes:
    if kind.startswith("vertex"):
        return _FORMS[kind] % (first, second, more, name)
    return _FORMS[kind] % (name, first, second, more)


TEXTS = [
    *(
        b"a",
        b"b",
        b"",
        b"Read.",
        b"user",
        b"cache_control",
        b'\\"cache_control',
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
