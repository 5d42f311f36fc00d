"""Recorded texts, and what OpenAI's o200k makes of them: see `bench/calibrate.py`."""

from __future__ import annotations

from bench.calibrate import Passage, corpus

PASSAGES = corpus()
KINDS = sorted({passage.kind for passage in PASSAGES})


def of(kind: str) -> list[Passage]:
    return [passage for passage in PASSAGES if passage.kind == kind]
