"""What stands in the gaps of lines that are the same around these.

Where the gaps of all begin at the same places, whether lines are so is found by putting together
what they would be with what stands there: a block of them at once. Otherwise the block is split at
what a line ends with and the next one begins with.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter

import msgspec

_text = msgspec.json.Decoder(str).decode
_strings = msgspec.json.Decoder(list[str]).decode


class Gaps:
    """What stands in the gaps of lines: as many of each line, one line after the other."""

    def __init__(self, raws: list[bytes], texts: list[str], of_each: int) -> None:
        self._raws = raws
        self._texts = texts
        self._of_each = of_each
        self.rows = len(texts) // of_each

    def texts(self, gap: int) -> list[str]:
        """What this gap has in each line."""
        return self._texts[gap :: self._of_each]

    def lengths(self, gap: int) -> list[int]:
        """How many bytes this takes there, without its quotes."""
        return [*map(len, self._raws[gap :: self._of_each])]


class Around(msgspec.Struct, frozen=True):
    """A line, but for its gaps: `head` up to the opening quote of the first gap, `inner` from the
    closing quote of each to the opening one of the next, `tail` from that of the last to the
    newline behind the line. Where the strings of a gap begin alike, that is before it too."""

    head: bytes
    inner: list[bytes]
    tail: bytes

    @property
    def gaps(self) -> int:
        return len(self.inner) + 1

    def fits(self, block: bytes, at: int) -> bool:
        """Whether the line that begins at this place has all of this, and strings between it."""
        if not block.startswith(self.head, at):
            return False
        end = block.find(b"\n", at)
        end = end if end >= 0 else len(block)
        begin = at + len(self.head)
        for inner in self.inner:
            until = block.find(inner, begin, end)
            if until < 0 or not _is_string(block[begin:until]):
                return False
            begin = until + len(inner)
        tail = self.tail[:-1]
        return block.endswith(tail, begin, end) and _is_string(block[begin : end - len(tail)])

    def cut(self, window: bytes, lines: list[bytes], *, alike: bool) -> Gaps:
        """Of the lines that fit, up to the first that does not; the first begins with the head. The
        last one has no newline in the window. `alike`: in all of them the gaps may begin at the
        same places, as they do behind ids of one length."""
        raws = self._at_one_place(window, lines) if alike else []
        raws = raws or self._searched(self._pieces(window))
        texts = _decoded(raws)
        sound = len(texts) // self.gaps * self.gaps
        del texts[sound:], raws[sound:]
        return Gaps(raws, texts, self.gaps)

    def _at_one_place(self, window: bytes, lines: list[bytes]) -> list[bytes]:
        """Nothing where they do not. If the first and the last are so, the others are tried."""
        slices = self._slices(lines[0])
        last = lines[-1]
        if not slices or self.filled([last[each] for each in slices]) != last[:-1]:
            return []
        if len(slices) == 1:
            raws = [line[slices[0]] for line in lines]
        else:
            raws = [*chain.from_iterable(map(itemgetter(*slices), lines))]
        return raws if self.filled(raws) == window else []

    def _slices(self, line: bytes) -> list[slice]:
        slices: list[slice] = []
        begin = len(self.head)
        for inner in self.inner:
            end = line.find(inner, begin)
            if end < 0:
                return []
            slices.append(slice(begin, end))
            begin = end + len(inner)
        return [*slices, slice(begin, -len(self.tail))]

    def filled(self, raws: list[bytes]) -> bytes:
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

    def _pieces(self, window: bytes) -> list[bytes]:
        """What stands between head and tail of each line, up to the first with others. That may
        begin with this head, or stand before a line that does."""
        pieces = (window + b"\n")[len(self.head) :].split(self.tail + self.head)
        last = next(at for at, piece in enumerate(pieces) if b"\n" in piece)
        line = pieces[last][: pieces[last].index(b"\n") + 1]
        del pieces[last:]
        if line.endswith(self.tail):
            pieces.append(line[: -len(self.tail)])
        return pieces

    def _searched(self, pieces: list[bytes]) -> list[bytes]:
        """What stands in their gaps, without the quotes around it: up to the next quote with which
        `inner` begins. As far as they have these."""
        if not self.inner:
            return pieces
        raws: list[bytes] = []
        for number, piece in enumerate(pieces):
            begin = 0
            for inner in self.inner:
                end = piece.find(b'"', begin)
                while end >= 0 and not piece.startswith(inner, end):
                    end = piece.find(b'"', end + 1)
                if end < 0:
                    return raws[: number * self.gaps]
                raws.append(piece[begin:end])
                begin = end + len(inner)
            raws.append(piece[begin:])
        return raws


def _is_string(raw: bytes) -> bool:
    """Without its quotes. One that is odd in another way is found later."""
    if b'"' not in raw:
        return True
    try:
        _text(b'"%b"' % raw)
    except ValueError:
        return False
    return True


def _decoded(raws: list[bytes]) -> list[str]:
    """The strings, up to the first that is none, or holds a NUL, which no provider takes.

    There is a newline between two of them, and none in a string. So each of them has one string at
    least, and as many strings as raws can only be these.
    """
    pieces = [b'",\n"'] * (2 * len(raws) + 1)
    pieces[0], pieces[1::2], pieces[-1] = b'["', raws, b'"]'
    joined = b"".join(pieces)
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
