"""Rich text: the text that a reader sees, headings by style, tables by row.

The readers on the package index give the text alone, without headings, and lose letters in East Asian encodings; the
format is a page of grammar.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ingest.formats.blocks import Blocks, one_line
from ingest.formats.grid import put_table
from rag.errors import UnreadableDocument
from rag.types import Document, Kind

_TOKEN = re.compile(
    rb"\\'([0-9a-fA-F]{2})|\\([A-Za-z]{1,32})(-?\d{1,10})?[ ]?|\\([^A-Za-z])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\"
)
_DEEPEST = 2000
# What is no text of the document. Groups marked with \* are none either, but for these.
_HIDDEN = frozenset(
    b"fonttbl colortbl stylesheet info pict object objdata header headerl headerr headerf footer footerl footerr "
    b"footerf filetbl listtable listoverridetable revtbl rsidtbl generator themedata colorschememapping latentstyles "
    b"datastore xmlnstbl mmathPr sp fldinst bkmkstart bkmkend nonshppict atrfstart atrfend panose falt htmltag "
    b"mhtmltag".split()
)
_STARRED_TEXT = frozenset(b"shpinst shptxt ud footnote annotation txfieldtext".split())
_CHARACTERS = {
    b"tab": "\t", b"line": "\n", b"emdash": "—", b"endash": "–", b"lquote": "‘", b"rquote": "’", b"ldblquote": "“",
    b"rdblquote": "”", b"bullet": "•", b"emspace": " ", b"enspace": " ", b"qmspace": " ", b"softline": "\n",
    b"nestcell": "\n", b"nestrow": "\n",
}  # fmt: skip
_SYMBOLS = {
    b"~": "\u00a0",
    b"_": "-",
    b"-": "",
    b"\\": "\\",
    b"{": "{",
    b"}": "}",
    b"\n": "\r",
    b"\r": "\r",
    b"\t": "\t",
}
_PARAGRAPH_ENDS = frozenset({b"par", b"sect", b"page", b"column"})
_PAGES = {b"ansi": "cp1252", b"mac": "mac_roman", b"pc": "cp437", b"pca": "cp850"}
# Windows' numbers of character sets in the font table, as code pages.
_CHARSETS = {
    0: 1252, 77: 10000, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255,
    178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250,
}  # fmt: skip
_NAMED_PAGES = {10000: "mac_roman", 65001: "utf-8", 1361: "johab"}
_HEADING_NAME = re.compile(r"(?:heading|überschrift|titre|título|titolo|kop|заголовок)\s+([1-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _State:
    """What a group inherits from the one around it."""

    hidden: str = ""  # the destination that hides what follows, "" where it is text
    starred: bool = False
    skip: int = 1  # characters that follow a Unicode character for programs that do not know it
    page: str = "cp1252"
    deleted: bool = False
    note: bool = False
    bullet: bool = False


def parse_rtf(data: bytes, source: str) -> Document:
    """A rich text file: body, then its notes. Headers and footers are left out.

    Raises UnreadableDocument for something else, EmptyDocument.
    """
    if b"{\\rtf" not in data[:64]:
        raise UnreadableDocument(f"{source} is not an RTF file, whatever its name says")
    blocks = Blocks()
    title = fill_from_rtf(blocks, data, source)
    return blocks.document(source, title or blocks.first_heading, "rtf")


def fill_from_rtf(blocks: Blocks, data: bytes, source: str) -> str:
    """The blocks of a rich text; returns the title that its properties name, "" where they name none."""
    reader = _Reader(source)
    reader.read(data)
    rows: list[list[str]] = []
    for paragraph in reader.paragraphs:
        if isinstance(paragraph, list):
            rows.append(paragraph)
            continue
        put_table(blocks, rows)
        rows = []
        text, level, item = paragraph
        if level:
            blocks.heading(text, level)
        else:
            blocks.add(text, Kind.LIST_ITEM if item else Kind.PARAGRAPH)
    put_table(blocks, rows)
    for note in reader.notes:
        blocks.add(note)
    return reader.title


class _Reader:
    """Walks the tokens and collects paragraphs (text, heading level, list item), rows (cells) and notes."""

    def __init__(self, source: str) -> None:
        self.paragraphs: list[tuple[str, int, bool] | list[str]] = []
        self.notes: list[str] = []
        self.title = ""
        self._source = source
        self._state = _State()
        self._stack: list[_State] = []
        self._bytes = bytearray()  # text that waits to be decoded: letters may have two bytes
        self._text: list[str] = []
        self._note: list[str] = []
        self._other: list[str] = []  # text of the font table, the style sheet and the title
        self._cells: list[str] = []
        self._level = self._style = self._font = 0
        self._item = self._in_table = False
        self._levels: dict[int, int] = {}
        self._fonts: dict[int, str] = {}
        self._default = "cp1252"
        self._skip = 0
        self._half = 0  # the first half of a surrogate pair

    def read(self, data: bytes) -> None:
        at = 0
        while found := _TOKEN.match(data, at):
            at = found.end()
            hexadecimal, word, number, symbol, brace, text = found.groups()
            if text is not None:
                self._letters(text)
            elif hexadecimal is not None:
                self._letters(bytes((int(hexadecimal, 16),)))
            elif word is not None:
                if word == b"bin":
                    at += max(0, int(number or 0))
                elif word == b"u":
                    self._unicode(int(number or 0))
                else:
                    self._word(word, None if number is None else int(number))
            elif symbol is not None:
                self._symbol(symbol)
            elif brace == b"{":
                self._open()
            elif brace == b"}":
                self._close()
        self._end_paragraph()
        if self._cells:
            self.paragraphs.append(self._cells)

    def _open(self) -> None:
        self._flush()
        if len(self._stack) >= _DEEPEST:
            raise UnreadableDocument(f"{self._source} is damaged: its groups are nested {_DEEPEST} deep")
        self._stack.append(self._state)
        self._state = replace(self._state, starred=False)
        self._skip = 0

    def _close(self) -> None:
        self._flush()
        before, self._state = self._state, self._stack.pop() if self._stack else _State()
        if before.note and not self._state.note:
            if note := one_line("".join(self._note)):
                self.notes.append(note)
            self._note = []
        if before.hidden == "title" != self._state.hidden:
            self.title = one_line("".join(self._other))
            self._other = []
        if before.hidden == "stylesheet":
            self._name_style()
        self._skip = 0

    def _name_style(self) -> None:
        name = "".join(self._other).strip().rstrip(";").strip()
        self._other = []
        if found := _HEADING_NAME.match(name):
            self._levels[self._style] = int(found[1])
        elif name.lower() == "title":
            self._levels[self._style] = 1

    def _letters(self, raw: bytes) -> None:
        if self._skip:
            dropped = min(self._skip, len(raw))
            self._skip -= dropped
            raw = raw[dropped:]
        self._bytes += raw

    def _unicode(self, number: int) -> None:
        self._flush()
        code = number & 0xFFFF if number < 0x10000 else number
        if 0xD800 <= code < 0xDC00:
            self._half = code
        elif 0xDC00 <= code < 0xE000 and self._half:
            self._put(chr(0x10000 + ((self._half - 0xD800) << 10) + code - 0xDC00))
            self._half = 0
        elif code < 0x110000:
            # Symbol fonts hide their bullets in the private area.
            self._put("•" if 0xF000 <= code < 0xF100 else chr(code))
        self._skip = self._state.skip

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._state = replace(self._state, starred=True)
            return
        if self._skip:
            self._skip -= 1
            return
        self._flush()
        shown = _SYMBOLS.get(symbol, "")
        if shown == "\r":
            self._end_paragraph()
        else:
            self._put(shown)

    def _word(self, word: bytes, number: int | None) -> None:
        self._flush()
        self._skip = 0
        if self._state.starred:
            self._state = replace(self._state, starred=False)
            if word not in _STARRED_TEXT:
                self._state = replace(self._state, hidden="unknown")
                return
            if word == b"ud":
                self._state = replace(self._state, hidden="")
        if word in _HIDDEN or word == b"upr":
            self._state = replace(self._state, hidden=word.decode())
        elif word == b"title" and self._state.hidden == "info":
            self._state = replace(self._state, hidden="title")
            self._other = []
        elif word in {b"footnote", b"annotation"}:
            self._state = replace(self._state, note=True)
        elif word in {b"listtext", b"pntext"}:
            self._state = replace(self._state, bullet=True)
        elif word in _CHARACTERS:
            self._put(_CHARACTERS[word])
        elif self._state.hidden in {"", "stylesheet"} or word in {b"f", b"fcharset", b"uc"}:
            self._format(word, number)

    def _format(self, word: bytes, number: int | None) -> None:
        if word in _PARAGRAPH_ENDS:
            self._end_paragraph()
        elif word == b"cell":
            self._cells.append("".join(self._text))
            self._text = []
        elif word == b"row":
            self.paragraphs.append(self._cells)
            self._cells = []
        elif word == b"pard":
            self._level, self._item, self._in_table = 0, False, False
            if self._state.hidden != "stylesheet":
                self._style = 0
        elif word == b"intbl":
            self._in_table = True
        elif word == b"s" and number is not None:
            self._style = number
        elif word == b"outlinelevel" and number is not None and 0 <= number < 9:
            if self._state.hidden == "stylesheet":
                self._levels.setdefault(self._style, number + 1)
            else:
                self._level = number + 1
        elif word in {b"ls", b"pnlvlblt", b"pnlvlbody"}:
            self._item = True
        elif word == b"uc" and number is not None:
            self._state = replace(self._state, skip=max(0, min(number, 16)))
        elif word in {b"deleted", b"v", b"htmlrtf"}:
            self._state = replace(self._state, deleted=number != 0)
        elif word == b"plain":
            self._state = replace(self._state, deleted=False, page=self._default)
        elif word == b"f" and number is not None:
            self._font = number
            self._state = replace(self._state, page=self._fonts.get(number, self._default))
        elif word == b"fcharset" and number in _CHARSETS:
            self._fonts[self._font] = _page(_CHARSETS[number])
        elif word == b"ansicpg" and number:
            self._default = _page(number)
            self._state = replace(self._state, page=self._default)
        elif word in _PAGES:
            self._default = _PAGES[word]
            self._state = replace(self._state, page=self._default)

    def _flush(self) -> None:
        if self._bytes:
            raw, self._bytes = bytes(self._bytes), bytearray()
            self._put(raw.decode(self._state.page, errors="replace"))

    def _put(self, text: str) -> None:
        state = self._state
        if state.hidden in {"title", "stylesheet"}:
            self._other.append(text)
        elif state.hidden or state.deleted:
            return
        elif state.bullet:
            self._item = True
            if any(map(str.isalnum, text)):
                self._text.append(f"{text.strip()} ")
        else:
            (self._note if state.note else self._text).append(text)

    def _end_paragraph(self) -> None:
        self._flush()
        if self._state.note:
            self._note.append("\n")
        elif self._in_table and not self._state.hidden:
            self._text.append("\n")
        elif not self._state.hidden:
            level = self._level or self._levels.get(self._style, 0)
            if text := "".join(self._text).strip():
                self.paragraphs.append((text, level, self._item))
            self._text = []


def _page(number: int) -> str:
    """Python's name of a code page, the one of Western Europe for those that it does not know."""
    name = _NAMED_PAGES.get(number, f"cp{number}")
    try:
        b"".decode(name)
    except LookupError:
        return "cp1252"
    return name


def uncompressed(data: bytes) -> bytes:
    """Rich text as mails of Outlook hold it, unpacked. Raises ValueError, struct.error."""
    _, size, kind, _ = struct.unpack_from("<4I", data)
    if kind == 0x414C454D:  # "MELA": stored as it is
        return data[16 : 16 + size]
    if kind != 0x75465A4C:  # "LZFu"
        raise ValueError("its rich text is packed in an unknown way")
    return bytes(_unpacked(data, size))


_KNOWN = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS "
    b"Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b"
    b"\\i\\u\\tab\\tx"
)


def _unpacked(data: bytes, size: int) -> Iterator[int]:
    """The bytes of an LZFu stream: runs from a ring of 4,096 that begins with the usual words."""
    ring = bytearray(_KNOWN.ljust(4096, b"\0"))
    write, at, made = len(_KNOWN), 16, 0
    while at < len(data) and made < size:
        flags = data[at]
        at += 1
        for bit in range(8):
            if flags >> bit & 1:
                if at + 2 > len(data):
                    return
                pair = data[at] << 8 | data[at + 1]
                at += 2
                read, length = pair >> 4, (pair & 0xF) + 2
                if read == write:
                    return
                for _ in range(length):
                    byte = ring[read]
                    ring[write] = byte
                    read, write = (read + 1) & 0xFFF, (write + 1) & 0xFFF
                    made += 1
                    yield byte
            elif at < len(data):
                ring[write] = data[at]
                write = (write + 1) & 0xFFF
                made += 1
                yield data[at]
                at += 1
