"""What stands in the gaps of lines that are the same around these.

Whether lines are so is found by putting together what they would be with what stands in their gaps:
a block of them at once.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter

import msgspec

_text = msgspec.json.Decoder(str).decode
_strings = msgspec.json.Decoder(list[str]).decode
_BACKSLASH = ord("\\")


class Gaps(msgspec.Struct, frozen=True):
    """What stands in the gaps of lines, by gap: the texts, and how many bytes each has there."""

    texts: list[list[str]]
    lengths: list[list[int]]


class Around(msgspec.Struct, frozen=True):
    """A line, but for its gaps: `head` up to the opening quote of the first gap, `inner` from the
    closing quote of each to the opening one of the next, `tail` from that of the last to the
    newline behind the line."""

    head: bytes
    inner: list[bytes]
    tail: bytes

    @property
    def gaps(self) -> int:
        return len(self.inner) + 1

    def cut(self, lines: list[bytes], window: bytes) -> Gaps:
        """Of the lines that fit, up to the first that does not. They are those of the window, of
        which the last has no newline there, or its first ones."""
        many = self.gaps
        raws = self._at_one_place(lines)
        if not raws or self._filled(raws) != window:
            raws = self._searched(lines)
            if self._filled(raws) != window:
                raws = self._fitting(lines, raws)
        texts = _decoded(raws)
        del texts[len(texts) // many * many :], raws[len(texts) // many * many :]
        return Gaps(
            [texts[place::many] for place in range(many)],
            [[*map(len, raws[place::many])] for place in range(many)],
        )

    def _filled(self, raws: list[bytes]) -> bytes:
        """The lines that have this in their gaps, the last one without its newline."""
        many = self.gaps
        rows = len(raws) // many
        pieces = [b""] * (2 * len(raws))
        pieces[:: 2 * many] = [self.tail + self.head] * rows
        for place, inner in enumerate(self.inner, 1):
            pieces[2 * place :: 2 * many] = [inner] * rows
        pieces[1::2] = raws
        pieces[:1] = [self.head] if raws else []
        pieces.append(self.tail[:-1])
        return b"".join(pieces)

    def _at_one_place(self, lines: list[bytes]) -> list[bytes]:
        """What stands in the gaps, if each begins at the same place in every line, as they do
        behind ids of one length: if the first line and the last are so, the others are tried."""
        first, last = self._searched(lines[:1]), self._searched(lines[-1:])
        if not first or [*map(len, first[:-1])] != [*map(len, last[:-1])]:
            return []
        begin = len(self.head)
        slices: list[slice] = []
        for raw, inner in zip(first, self.inner, strict=False):
            slices.append(slice(begin, begin + len(raw)))
            begin += len(raw) + len(inner)
        behind = slice(begin, -len(self.tail))
        if not slices:
            return [line[behind] for line in lines]
        return [*chain.from_iterable(map(itemgetter(*slices, behind), lines))]

    def _searched(self, lines: list[bytes]) -> list[bytes]:
        """What stands in the gaps, without the quotes around it: up to the next quote that no
        backslash stands before, if a line has such quotes, and in the last up to the tail."""
        raws: list[bytes] = []
        many = self.gaps
        for number, line in enumerate(lines):
            begin = len(self.head)
            for inner in self.inner:
                end = line.find(b'"', begin)
                while end >= 0 and line[end - 1] == _BACKSLASH:
                    end = line.find(b'"', end + 1)
                if end < 0:
                    return raws[: number * many]
                raws.append(line[begin:end])
                begin = end + len(inner)
            raws.append(line[begin : -len(self.tail)])
        return raws

    def _fitting(self, lines: list[bytes], raws: list[bytes]) -> list[bytes]:
        """The gaps of the lines before the first that has other bytes around them."""
        many = self.gaps
        for begin, line in zip(range(0, len(raws), many), lines, strict=False):
            if self._filled(raws[begin : begin + many]) != line[:-1]:
                return raws[:begin]
        return raws


def _decoded(raws: list[bytes]) -> list[str]:
    """The strings, up to the first that is none, or holds a NUL, which no provider takes.

    There is a newline between two of them, and none in a string. So each of them has one string at
    least, and as many strings as raws can only be these.
    """
    joined = b'["%b"]' % b'",\n"'.join(raws)
    try:
        texts = _strings(joined)
    except ValueError:
        texts = []
    if len(texts) == len(raws) and not (b"\\" in joined and "\0" in "".join(texts)):
        return texts
    sound: list[str] = []
    for raw in raws:
        try:
            text = _text(b'"%b"' % raw)
        except ValueError:
            break
        if "\0" in text:
            break
        sound.append(text)
    return sound
