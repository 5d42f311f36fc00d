"""How many tokens a text has, about: without a tokenizer, in a microsecond.

A text's tokens are taken as a sum over its characters: each byte of its UTF-8 has a weight, those
that continue a character none. The tables in `functions.batch.token_weights` hold the weights,
fitted to OpenAI's o200k by `bench/calibrate.py`; `tests/corpus` holds the texts and the counts.
What another tokenizer counts differently is learned from reported usage, see
`functions.batch.learning`.

Translating bytes to weights and summing them (Adler-32's low half is a sum of bytes) are loops in C.
Of a long text every so-many-th character is read: over many rows the error of that vanishes.
"""

from __future__ import annotations

from zlib import adler32

from functions.batch.token_weights import DENSE, DENSE_ABOVE, PROSE, SCRIPT, SOUTHEAST, UNIT

SAMPLE = 400
"""Characters. As many as the sum can take before it wraps: Adler-32 counts modulo 65,521."""

_BLOCKS = 32
_BLOCK = 256
_LONG = _BLOCKS * _BLOCK
_SCRIPT_BYTES = 1.3
"""Bytes for a character from which a text counts as of another script than the Latin one."""


def text_tokens(text: str) -> float:
    """The tokens of a text. Lone surrogates count as what replaces them."""
    length = len(text)
    if not length:
        return 0.0
    scale = 1.0
    if length > _LONG:
        text = _excerpt(text)
        scale = length / len(text)
    if "\n" in text and "\n  " in text:
        text = unindented(text)
    length = len(text)
    if length > SAMPLE:
        text = text[:: -(-length // SAMPLE)]
    data = text.encode("utf-8", "replace")
    read = len(text)
    if len(data) > _SCRIPT_BYTES * read:
        southeast = b"\xe0\xb8" in data or b"\xe0\xb9" in data
        weight = adler32(data.translate(SOUTHEAST if southeast else SCRIPT)) & 0xFFFF
    else:
        weight = adler32(data.translate(PROSE)) & 0xFFFF
        if weight > DENSE_ABOVE * read:
            weight = adler32(data.translate(DENSE)) & 0xFFFF
    return (weight - 1) * length * scale / (read * UNIT)


def unindented(text: str) -> str:
    """With runs of spaces shortened: tokenizers have one token for a whole indentation."""
    return text.replace("    ", " ").replace("  ", " ")


def _excerpt(text: str) -> str:
    """Pieces from all over a long text, so that its length does not tell in the time."""
    return "".join(
        text[at : at + _BLOCK] for at in range(0, len(text) - _BLOCK + 1, len(text) // _BLOCKS)
    )
