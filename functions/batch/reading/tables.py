"""CSV, as a stream of records: in bounded memory, whatever a cell holds.

Cells are separated by commas, semicolons, tabs or vertical bars, and quoted with `"`, which is
doubled within quotes (RFC 4180). The first record is the header.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from functions.batch.errors import BatchdropError

MOST_CHARACTERS = 16 * 1024 * 1024
"""Of one record: above what any model reads."""

DELIMITERS = ",;\t|"
EXCERPT = 2_000

_TOLD = re.compile(f"sep=([{re.escape(DELIMITERS)}])[\r\n]*", re.IGNORECASE)
_PIECE = 1024 * 1024
_SAMPLE_LINES = 50
_SAMPLE_CHARACTERS = 65_536
_LINE_ENDS = ("\n", "\r")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LONGEST_MARK = 4

csv.field_size_limit(MOST_CHARACTERS * 2)


class BadTable(BatchdropError):
    """A CSV whose header, or whose encoding, leaves nothing to be read."""

    code = "bad_header"


class BadRecord(msgspec.Struct, frozen=True):
    """A record that is no row. `text`: as it was, or its beginning."""

    code: str
    message: str
    text: str


class Table:
    """`encoding` is what the upload declared; a byte order mark says more, and else it is UTF-8.

    Raises `BadTable` for a header that names no columns; `columns` is empty where there is
    nothing but blank lines.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        encoding: str | None,
        reopen: Callable[[int], Iterable[bytes]] | None = None,
    ) -> None:
        """`reopen` gives the chunks from a byte on, for `go_to`."""
        beginning, chunks = _beginning(iter(chunks))
        marked = next((name for mark, name in _MARKS if beginning.startswith(mark)), None)
        self.encoding = marked or encoding or "utf-8"
        self._bytes = _Bytes(chunks, reopen)
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._bytes, _PIECE),
            self.encoding,
            errors="surrogateescape",
            newline="",
        )
        self._lines = _Lines(self._text)
        self._lines.delimiter = self._lines.told() or _delimiter(*self._lines.sample())
        self._reader = csv.reader(self._lines, delimiter=self._lines.delimiter, strict=True)
        self.columns = self._header()

    def _header(self) -> list[str]:
        first = next(self._records(), list[str]())
        if isinstance(first, BadRecord):
            raise BadTable(f"The header cannot be read. {first.message}")
        for number, name in enumerate(first, 1):
            if not name.strip():
                raise BadTable(
                    f"Column {number} of the header has no name: every column needs one."
                )
            if first.index(name) != number - 1:
                raise BadTable(
                    f"The header names {name!r} twice, as columns {first.index(name) + 1} and "
                    f"{number}: give each column a name of its own."
                )
        if not _is_text("".join(first)):
            raise BadTable(f"The header cannot be read. {self._undecodable()}")
        return first

    @property
    def taken(self) -> int:
        """Bytes read so far, some of them ahead."""
        return self._bytes.tell()

    def place(self) -> str | None:
        """Where the next record begins, to be told to `go_to`; None while lines that were sampled
        are still to come. It names a byte, and what the decoder knew there."""
        return None if self._lines.ahead else str(self._text.tell())

    def go_to(self, place: str) -> None:
        self._lines.ahead.clear()
        self._text.seek(int(place))

    def rows(self) -> Iterator[list[str] | BadRecord]:
        """Each has as many cells as there are columns."""
        width = len(self.columns)
        for record in self._records():
            if isinstance(record, BadRecord):
                yield record
            elif len(record) != width:
                yield self._bad(
                    "wrong_cells",
                    f"The row has {len(record)} {'cell' if len(record) == 1 else 'cells'}, the "
                    f"header {width}. A cell that holds the separator "
                    f"({_named(self._lines.delimiter)}) or a line break has to be in quotes.",
                )
            elif not _is_text("".join(record)):
                yield self._bad("not_utf8", self._undecodable())
            else:
                yield record

    def _records(self) -> Iterator[list[str] | BadRecord]:
        """All but blank lines."""
        while True:
            self._lines.begin()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._bad(
                    "bad_quotes",
                    f"The row's quotes do not match ({error}): a quote within a quoted cell is "
                    "written twice.",
                )
                continue
            except UnicodeError as error:
                raise _undecoded(self.encoding, error) from error
            if self._lines.oversized:
                yield self._bad(
                    "too_large",
                    f"The row has more than {MOST_CHARACTERS} characters.",
                )
            elif cells:
                yield cells

    def _bad(self, code: str, message: str) -> BadRecord:
        return BadRecord(code, message, self._lines.text())

    def _undecodable(self) -> str:
        return (
            f"It is not {self.encoding.upper().removesuffix('-SIG')}: save the file as UTF-8, or "
            'upload it with its encoding, such as "Content-Type: text/csv; charset=windows-1252".'
        )


class _Bytes(io.RawIOBase):
    def __init__(
        self, chunks: Iterator[bytes], reopen: Callable[[int], Iterable[bytes]] | None
    ) -> None:
        self._chunks = chunks
        self._reopen = reopen
        self._left = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._reopen is not None

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """To a byte, or nowhere: to be told where it stands."""
        if whence == io.SEEK_CUR and not offset:
            return self._position
        if self._reopen is None or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek")
        self._chunks, self._left = iter(self._reopen(offset)), memoryview(b"")
        self._position = offset
        return offset

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        self._position += size
        return size


class _Lines:
    """The lines that a reader takes for one record. The reader asks for another line only within
    quotes, so that a record which grows too long can be skipped to its end."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.delimiter = ","
        self.oversized = False
        self.ahead: list[str] = []
        self._text = text
        self._taken: list[str] = []
        self._size = 0

    def sample(self) -> tuple[list[str], bool]:
        """The first lines, which are still to come, and whether there are more."""
        size = 0
        while len(self.ahead) < _SAMPLE_LINES and size < _SAMPLE_CHARACTERS:
            try:
                line = self._text.readline(_SAMPLE_CHARACTERS)
            except UnicodeError as error:
                raise _undecoded(self._text.encoding, error) from error
            if not line:
                return list(self.ahead), False
            self.ahead.append(line)
            size += len(line)
        return list(self.ahead), True

    def told(self) -> str | None:
        """What Excel is told divides the cells, in a first line that is no record."""
        lines, _ = self.sample()
        found = _TOLD.fullmatch(lines[0]) if lines else None
        if found is None:
            return None
        self.ahead.pop(0)
        return found[1]

    def begin(self) -> None:
        self.oversized = False
        self._taken.clear()
        self._size = 0

    def text(self) -> str:
        return "".join(self._taken)[:EXCERPT].rstrip("\r\n")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        quoted = bool(self._taken)
        line = self._piece()
        if not line:
            raise StopIteration
        while not line.endswith(_LINE_ENDS) and self._size + len(line) <= MOST_CHARACTERS:
            more = self._piece()
            if not more:
                break
            line += more
        self._size += len(line)
        if self._size > MOST_CHARACTERS:
            self.oversized = True
            self._taken[:] = ["".join(self._taken)[:EXCERPT], line[:EXCERPT]]
            self._skip(line, quoted=quoted)
            return '"\n' if quoted else "\n"
        self._taken.append(line)
        return line

    def _piece(self) -> str:
        return self.ahead.pop(0) if self.ahead else self._text.readline(_PIECE)

    def _skip(self, text: str, *, quoted: bool) -> None:
        """To the end of the record that `text` goes on with, as the reader would find it."""
        special = re.compile(f"[\r\n{re.escape(self.delimiter)}]")
        state = "quoted" if quoted else "start"
        while text:
            at = 0
            while at < len(text):
                if state == "quoted":
                    at = text.find('"', at) + 1 or len(text) + 1
                    state = "closing" if at <= len(text) else "quoted"
                elif text[at] == '"' and state in ("start", "closing"):
                    state, at = "quoted", at + 1
                else:
                    found = special.search(text, at)
                    if found is not None and found[0] != self.delimiter:
                        return
                    state = "inside" if found is None else "start"
                    at = len(text) if found is None else found.end()
            text = self._piece()


def _beginning(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= _LONGEST_MARK:
            break

    def all_of_it() -> Iterator[bytes]:
        yield first
        yield from chunks

    return first[:_LONGEST_MARK], all_of_it()


def _delimiter(lines: list[str], cut: bool) -> str:
    """What divides most of the first records into as many cells as the header, and that into more
    than one; a comma where nothing does. `csv.Sniffer` guesses from letters, too."""
    best, score = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        records = [record for record in csv.reader(lines, delimiter=delimiter) if record]
        if cut and len(records) > 1:
            records.pop()
        if not records or len(records[0]) < 2:
            continue
        alike = sum(len(record) == len(records[0]) for record in records) / len(records)
        if (alike, len(records[0])) > score:
            best, score = delimiter, (alike, len(records[0]))
    return best


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _undecoded(encoding: str, error: UnicodeError) -> BadTable:
    return BadTable(f"The file cannot be read as {encoding} ({error}). Save it as UTF-8.")


def _named(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else delimiter


def encoding_named(charset: str) -> str | None:
    """The name under which Python knows a text encoding; None for what is none."""
    try:
        found = codecs.lookup(charset)
        "".encode(found.name)
    except (LookupError, UnicodeError):
        return None
    return found.name
