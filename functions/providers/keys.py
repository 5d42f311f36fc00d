"""Keys that are plain texts."""

from __future__ import annotations

from functions.batch.errors import KeyMissing


def plain_key(key: str, provider: str) -> str:
    """Raises `KeyMissing` for what no HTTP header can hold, and repeats nothing of it."""
    if key.isascii() and key.isprintable():
        return key
    raise KeyMissing(
        "bad_key",
        f"The {provider} key cannot be used: it holds line breaks, or characters other than ASCII. "
        f"Set it with: batchdrop keys set {provider}",
    )
