"""Word files from before 2007: text by the piece table, headings, lists and tables by the paragraphs' properties.

No reader on the package index keeps a file's structure, so this is one of our own, after the published format
[MS-DOC]; offsets and numbers here are the ones that it gives. Text comes out as it stands: deleted and not yet
accepted parts are left out, fields show their results.
"""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ingest.formats.blocks import Blocks
from ingest.formats.grid import put_table
from ingest.formats.ole import streams
from rag.errors import UnreadableDocument
from rag.types import Document, Kind

_WORD97 = 0x00C1
_PAGE = 512
_ENDS = re.compile("[\r\x07\x0c]")
_FIELD_MARKS = re.compile("([\x13\x14\x15])")
_DELETED = "\x01"  # a picture's mark in the format; dropped as such
# Anchors of pictures, notes, comments and drawn objects; the hyphens that are no control characters elsewhere.
_SHOWN = str.maketrans({"\x0b": "\n", "\x1e": "-", **dict.fromkeys("\x00\x01\x02\x03\x04\x05\x08\x1f")})
_HEADING_STYLES = range(1, 10)
_LIST_STYLES = range(47, 63)
_TITLE_STYLE = 62
_SIZES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 2, 5: 2, 7: 3}


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """What its properties say: heading level or 0, whether it is a list item, in a table, or the end of a row."""

    level: int = 0
    item: bool = False
    in_table: bool = False
    ends_row: bool = False


def parse_doc(data: bytes, source: str) -> Document:
    """A Word file: body, then notes, comments, text boxes, and each header and footer once.

    Raises UnreadableDocument (encrypted, damaged, older than Word 97), EmptyDocument, struct.error.
    """
    parts = streams(data, source, ("WordDocument", "0Table", "1Table"))
    main = parts.get("WordDocument", b"")
    if len(main) < 154 or main[:2] not in {b"\xec\xa5", b"\xdc\xa5"}:
        raise UnreadableDocument(f"{source} is not a Word file, whatever its name says")
    version, flags = struct.unpack_from("<H", main, 2)[0], struct.unpack_from("<H", main, 10)[0]
    if flags & 0x0100:
        raise UnreadableDocument(f"{source} is encrypted; save it without a password")
    if version < _WORD97:
        raise UnreadableDocument(f"{source} is a Word file from before 1997; save it in the present format")
    table = parts.get("1Table" if flags & 0x0200 else "0Table")
    if table is None:
        raise UnreadableDocument(f"{source} is damaged: its table stream is missing")
    blocks = Blocks()
    word = _Word(main, table, source)
    seen: set[str] = set()
    for name, start, end in word.stories():
        _fill(blocks, word, start, end, seen if name == "headers" else None)
    return blocks.document(source, blocks.first_heading, "doc")


def _fill(blocks: Blocks, word: "_Word", start: int, end: int, seen: set[str] | None) -> None:
    """The blocks of one story; with `seen`, each text once."""
    rows: list[list[str]] = []
    cells: list[str] = []
    lines: list[str] = []
    for text, mark, paragraph in word.paragraphs(start, end):
        if paragraph.ends_row:
            rows.append(cells)
            cells = []
        elif mark == "\x07":
            cells.append("\n".join([*lines, text]))
            lines = []
        elif paragraph.in_table:
            lines.append(text)
        else:
            _end_table(blocks, rows, cells, lines)
            rows, cells, lines = [], [], []
            if seen is not None and text in seen:
                continue
            if seen is not None:
                seen.add(text)
            if paragraph.level:
                blocks.heading(text, paragraph.level)
            else:
                blocks.add(text, Kind.LIST_ITEM if paragraph.item else Kind.PARAGRAPH)
    _end_table(blocks, rows, cells, lines)


def _end_table(blocks: Blocks, rows: list[list[str]], cells: list[str], lines: list[str]) -> None:
    if cells or lines:
        rows = [*rows, [*cells, *lines]]
    put_table(blocks, rows)


class _Word:
    """The text of a Word file by character positions, and the properties of its paragraphs."""

    def __init__(self, main: bytes, table: bytes, source: str) -> None:
        self._main, self._table, self._source = main, table, source
        self._styles = self._read_styles()
        self._spans = self._read_spans()
        self._deleted = self._read_deleted()
        self._starts: list[int] = []  # character positions of the pieces
        self._places: list[tuple[int, int]] = []  # byte offset and bytes per character of the pieces
        self._text = "".join(self._read_pieces())

    def _place(self, index: int) -> bytes:
        """What the header's entry of this number points to in the table stream."""
        at, size = struct.unpack_from("<II", self._main, 154 + 8 * index)
        return self._table[at : at + size]

    def _read_pieces(self) -> Iterator[str]:
        clx = self._place(33)
        at = 0
        while clx[at : at + 1] == b"\x01":
            at += 3 + struct.unpack_from("<H", clx, at + 1)[0]
        if clx[at : at + 1] != b"\x02":
            raise UnreadableDocument(f"{self._source} is damaged: its piece table is missing")
        plc = clx[at + 5 : at + 5 + struct.unpack_from("<I", clx, at + 1)[0]]
        count = (len(plc) - 4) // 12
        positions = struct.unpack_from(f"<{count + 1}I", plc)
        room = len(self._main)
        for number, (start, end) in enumerate(pairwise(positions)):
            where = struct.unpack_from("<I", plc, 4 * (count + 1) + 8 * number + 2)[0]
            width = 1 if where & 0x40000000 else 2
            offset = (where & 0x3FFFFFFF) // (3 - width)
            room -= (end - start) * width
            if end < start or room < 0:
                # Pieces that share their bytes would make gigabytes out of kilobytes.
                raise UnreadableDocument(f"{self._source} is damaged: its pieces hold more than the file")
            raw = self._main[offset : offset + (end - start) * width]
            text = raw.decode("cp1252" if width == 1 else "utf-16-le", errors="replace")
            # Halves of a pair count as two characters in the format.
            text = "".join(c if c < "\U00010000" else c + "\x00" for c in text) if not text.isascii() else text
            self._starts.append(start)
            self._places.append((offset, width))
            yield self._without_deleted(text.ljust(end - start, "\x00")[: end - start], offset, width)

    def _without_deleted(self, text: str, offset: int, width: int) -> str:
        end = offset + len(text) * width
        for number in range(max(0, bisect_right(self._deleted, (offset, 0)) - 1), len(self._deleted)):
            from_, to = self._deleted[number]
            if from_ >= end:
                break
            left, right = max(0, (from_ - offset) // width), min(len(text), (to - offset) // width)
            if left < right:
                blank = "".join(c if c in "\r\x07\x0c\x13\x14\x15" else _DELETED for c in text[left:right])
                text = text[:left] + blank + text[right:]
        return text

    def stories(self) -> Iterator[tuple[str, int, int]]:
        """The parts of the text: name, first character position, the one behind its last."""
        sizes = struct.unpack_from("<8I", self._main, 0x4C)
        at = 0
        for name, size in zip(
            ("body", "footnotes", "headers", "macros", "comments", "endnotes", "boxes", "header boxes"),
            sizes,
            strict=True,
        ):
            if name != "macros":
                yield name, at, min(at + size, len(self._text))
            at += size

    def paragraphs(self, start: int, end: int) -> Iterator[tuple[str, str, _Paragraph]]:
        """The text, end mark and properties of each paragraph; fields as their results."""
        instructions: list[bool] = []  # for each open field whether we are still in its instruction
        at = start
        for found in _ENDS.finditer(self._text, start, end):
            text = self._shown(self._text[at : found.start()], instructions)
            at = found.end()
            yield text, found[0], self._properties(found.start())
        if at < end:
            yield self._shown(self._text[at:end], instructions), "\r", _Paragraph()

    @staticmethod
    def _shown(text: str, instructions: list[bool]) -> str:
        shown = []
        for part in _FIELD_MARKS.split(text):
            if part == "\x13":
                instructions.append(True)
            elif part == "\x14" and instructions:
                instructions[-1] = False
            elif part == "\x15" and instructions:
                instructions.pop()
            elif not any(instructions):
                shown.append(part)
        return "".join(shown).translate(_SHOWN).strip()

    def _properties(self, position: int) -> _Paragraph:
        piece = bisect_right(self._starts, position) - 1
        offset, width = self._places[piece]
        place = offset + (position - self._starts[piece]) * width
        span = bisect_right(self._spans, place, key=lambda span: span[0]) - 1
        if span < 0 or place >= self._spans[span][1]:
            return _Paragraph()
        grpprl = self._spans[span][2]
        style = self._styles.get(struct.unpack_from("<H", grpprl)[0], 0) if len(grpprl) > 1 else 0
        level = style if style in _HEADING_STYLES else int(style == _TITLE_STYLE)
        item, in_table, ends_row = style in _LIST_STYLES and not level, False, False
        for code, operand in _modifiers(grpprl[2:]):
            if code == 0x2416:
                in_table = bool(operand[0])
            elif code == 0x2417:
                ends_row = bool(operand[0])
            elif code == 0x2640:
                level = operand[0] + 1 if operand[0] < 9 else 0
            elif code == 0x460B:
                item = operand != b"\0\0"
        return _Paragraph(level, item and not level, in_table, in_table and ends_row)

    def _read_styles(self) -> dict[int, int]:
        """The built-in style behind each style's number."""
        sheet = self._place(1)
        styles: dict[int, int] = {}
        if len(sheet) < 4:
            return styles
        at = 2 + struct.unpack_from("<H", sheet)[0]
        for number in range(struct.unpack_from("<H", sheet, 2)[0]):
            if at + 2 > len(sheet):
                break
            size = struct.unpack_from("<H", sheet, at)[0]
            if size >= 2 and at + 4 <= len(sheet):
                styles[number] = struct.unpack_from("<H", sheet, at + 2)[0] & 0x0FFF
            at += 2 + size + size % 2
        return styles

    def _read_spans(self) -> list[tuple[int, int, bytes]]:
        """Byte ranges with the style number and property modifiers of the paragraph there, in ascending order."""
        spans = []
        for page, count, limits in self._property_pages(13):
            for number in range(count):
                entry = 4 * (count + 1) + 13 * number
                at = 2 * page[entry] if entry < _PAGE else 0
                if not at:
                    spans.append((limits[number], limits[number + 1], b""))
                    continue
                size = 2 * page[at] - 1 if page[at] else 2 * page[at + 1] if at + 1 < _PAGE else 0
                at += 1 if page[at] else 2
                spans.append((limits[number], limits[number + 1], page[at : at + max(size, 0)]))
        return sorted(spans)

    def _read_deleted(self) -> list[tuple[int, int]]:
        """Byte ranges of text that was deleted while changes were tracked, in ascending order."""
        ranges = []
        for page, count, limits in self._property_pages(12):
            for number in range(count):
                entry = 4 * (count + 1) + number
                at = 2 * page[entry] if entry < _PAGE else 0
                grpprl = page[at + 1 : at + 1 + page[at]] if at else b""
                if any(code == 0x0800 and operand[0] for code, operand in _modifiers(grpprl)):
                    ranges.append((limits[number], limits[number + 1]))
        return sorted(ranges)

    def _property_pages(self, index: int) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
        """The pages of properties that an entry of the header lists: bytes, number of entries, their limits."""
        plc = self._place(index)
        count = max(0, (len(plc) - 4) // 8)
        for number in set(struct.unpack_from(f"<{count}I", plc, 4 * (count + 1)) if count else ()):
            start = (number & 0x3FFFFF) * _PAGE
            page = self._main[start : start + _PAGE]
            if len(page) == _PAGE and 4 * (page[-1] + 1) <= _PAGE:
                yield page, page[-1], struct.unpack_from(f"<{page[-1] + 1}I", page)


def _modifiers(grpprl: bytes) -> Iterator[tuple[int, bytes]]:
    """The property modifiers in a list of them: code and operand."""
    at = 0
    while at + 3 <= len(grpprl):
        code = struct.unpack_from("<H", grpprl, at)[0]
        at += 2
        size = _SIZES.get(code >> 13)
        if size is None:
            size = (
                struct.unpack_from("<H", grpprl, at)[0] + 1
                if code == 0xD608 and at + 2 <= len(grpprl)
                else (grpprl[at] + 1)
            )
        if operand := grpprl[at : at + size]:
            yield code, operand
        at += size
