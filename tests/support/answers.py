"""Answers as a test compares them."""

from __future__ import annotations

from functions.batch.rows import Answer, Usage, UsualAnswer


def in_full(answer: UsualAnswer) -> Answer:
    identity, response, text, given, made, usage = answer
    plain = Usage(input_tokens=given, output_tokens=made)
    return Answer(
        id=identity, verdict="succeeded", response=response, text=text, usage=usage or plain
    )
