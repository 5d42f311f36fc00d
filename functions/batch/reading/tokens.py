"""How many tokens a text has, about: without a tokenizer, in a microsecond.

A text's tokens are taken as a sum over its characters: each byte of its UTF-8 has a weight, those
that continue a character none. The tables in `functions.batch.reading.token_weights` hold the
weights, fitted to OpenAI's o200k by `bench/calibrate.py`; `tests/corpus` holds the texts and the
counts. What another tokenizer counts differently is learned from reported usage, see
`functions.batch.learning`.

Translating bytes to weights and summing them (Adler-32's low half is a sum of bytes) are loops in
C. Of a text of more than some hundred characters up to every fourth is read, and of a very long one
pieces: over many rows the error of that vanishes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from zlib import adler32

import msgspec

from functions.batch.reading.token_weights import DENSE, DENSE_ABOVE, PROSE, SCRIPT, SOUTHEAST, UNIT

SAMPLE = 320
"""Characters. As many as the sum can take before it wraps: Adler-32 counts modulo 65,521."""

_INDENTED = re.compile("\n  ").search  # in half the time of `in`
_PIECE = 4 * SAMPLE
_PIECES = 32
_MEMO_BYTES = 16_384
_SCRIPT_BYTES = 1.3
"""Bytes for a character from which a text counts as of another script than the Latin one."""


def text_tokens(text: str) -> float:
    """The tokens of a text, as JSON decoders give it: without lone surrogates."""
    length = len(text)
    if length > _PIECE:
        return _by_pieces(text)
    if "\n" in text and _INDENTED(text):
        text = unindented(text)
        length = len(text)
    sample = text if length <= SAMPLE else text[:: (length - 1) // SAMPLE + 1]
    size = len(sample)
    data = sample.encode()
    if len(data) <= _SCRIPT_BYTES * size:
        weight = adler32(data.translate(PROSE), 0) & 0xFFFF
        if weight > DENSE_ABOVE * size:
            weight = adler32(data.translate(DENSE), 0) & 0xFFFF
    else:
        southeast = b"\xe0\xb8" in data or b"\xe0\xb9" in data
        weight = adler32(data.translate(SOUTHEAST if southeast else SCRIPT), 0) & 0xFFFF
    return weight * length / (size * UNIT) if size else 0.0


def json_tokens(data: bytes) -> float:
    """The tokens of JSON that a model reads as such: tools, schemas, arguments. The same ones come
    in many rows, so those of some kilobytes are remembered."""
    return _remembered(data) if len(data) <= _MEMO_BYTES else _json_tokens(data)


def _json_tokens(data: bytes) -> float:
    """Written anew, so that the spaces and escapes of the one who wrote it do not count."""
    try:
        plain = msgspec.json.encode(msgspec.json.decode(data))
    except (msgspec.MsgspecError, RecursionError):
        plain = data
    return text_tokens(plain.decode("utf-8", "replace"))


_remembered = lru_cache(256)(_json_tokens)


def unindented(text: str) -> str:
    """With runs of spaces shortened: tokenizers have one token for a whole indentation."""
    return text.replace("    ", " ").replace("  ", " ")


def _by_pieces(text: str) -> float:
    """All of them, or of a very long text so many from all over it."""
    length = len(text)
    pieces = -(-length // _PIECE)
    if pieces <= _PIECES:
        size = -(-length // pieces)
        return sum(text_tokens(text[at : at + size]) for at in range(0, length, size))
    starts = (number * (length - _PIECE) // (_PIECES - 1) for number in range(_PIECES))
    read = sum(text_tokens(text[at : at + _PIECE]) for at in starts)
    return read * length / (_PIECES * _PIECE)
