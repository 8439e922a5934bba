"""AsciiDoc: pieces by the lines that each block stands on. No library in Python reads it with its places."""

import re

from ingest.formats.blocks import row_line
from ingest.formats.slices import Lines, Slices
from ingest.formats.text import decode
from rag.types import Document, Kind

_HEADING = re.compile(r"(?P<marks>={1,6}|#{1,6})[ \t]+(?P<name>\S.*?)(?:[ \t]+(?P=marks))?[ \t]*\Z")
_ATTRIBUTE = re.compile(r":(?P<name>[\w-]+):[ \t]*(?P<value>.*?)[ \t]*\Z")
_ITEM = re.compile(r"\s*(?:[*.-]{1,6}|\d{1,9}[.)]|<\d+>)[ \t]+\S|\S.{0,200}?:{2,4}(?:[ \t]|\Z)")
_FENCE = re.compile(r"(?P<mark>-{4,}|\.{4,}|`{3,}|\+{4,}|/{4,}|={4,}|\*{4,}|_{4,}|--)[\w,]*[ \t]*\Z")
_VERBATIM = frozenset("-.`+/")
_TABLE = re.compile(r"[|,:!]={3,}[ \t]*\Z")
_UNDERLINES = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}
_MARKS = re.compile(r"[*_`#+]{1,2}(?=\S)|(?<=\S)[*_`#+]{1,2}|<<[^,>]*,?|>>")
_INSTRUCTIONS = frozenset(
    "toc icons sectnums idprefix idseparator source-highlighter imagesdir experimental doctype".split()
)


def parse_asciidoc(data: bytes, source: str) -> Document:
    """An AsciiDoc file: `document.text` is the file's text, marks included.

    The first heading is the title, attributes above the first text are metadata. Raises UnreadableDocument for binary
    data, EmptyDocument.
    """
    text = decode(data, source)
    reader = _Reader(text)
    reader.read()
    return reader.slices.document(source, reader.slices.first_heading, "asciidoc", reader.attributes)


class _Reader:
    def __init__(self, text: str) -> None:
        self.slices = Slices(text)
        self.lines = Lines(text)
        self.attributes: dict[str, str] = {}
        self._in_header = True

    def read(self) -> None:
        number = 0
        while number < len(self.lines):
            if self.lines.is_blank(number):
                self._in_header = self._in_header and not self.attributes
                number += 1
            else:
                number = self._heading(number) or self._fenced(number) or self._table(number) or self._text(number)

    def _put(self, first: int, behind: int, kind: Kind, header: str = "") -> int:
        self.slices.add(self.lines.starts[first], self.lines.starts[behind], kind, header)
        return behind

    def _heading(self, number: int) -> int:
        """The number behind the heading that starts here, 0 where none does; so in the methods below."""
        line, under = self.lines[number], self.lines[number + 1].rstrip()
        behind = number + 1
        if found := _HEADING.match(line):
            name, level = found["name"], len(found["marks"])
        elif (
            len(under) > 1
            and under[0] in _UNDERLINES
            and under == under[0] * len(under)
            and abs(len(under) - len(line.rstrip())) <= 2
            and line[:1].isalnum()
        ):
            name, level, behind = line.strip(), _UNDERLINES[under[0]], number + 2
        else:
            return 0
        self.slices.heading(self.lines.starts[number], self.lines.starts[behind], _MARKS.sub("", name), level)
        return behind

    def _fenced(self, number: int) -> int:
        fence = _FENCE.match(self.lines[number])
        if not fence:
            return 0
        if fence["mark"][0] not in _VERBATIM or fence["mark"] == "--":
            return self._put(number, number + 1, Kind.PARAGRAPH)  # prose stands inside
        behind = number + 1
        while behind < len(self.lines) and self.lines[behind].rstrip() != fence["mark"]:
            behind += 1
        if behind == len(self.lines):
            return self._put(number, number + 1, Kind.PARAGRAPH)
        return self._put(number, behind + 1, Kind.CODE)

    def _table(self, number: int) -> int:
        line = self.lines[number].rstrip()
        if not _TABLE.match(line):
            return 0
        behind = number + 1
        while behind < len(self.lines) and self.lines[behind].rstrip() != line:
            behind += 1
        if behind == len(self.lines):
            return self._put(number, number + 1, Kind.PARAGRAPH)
        mark = line[0]
        # A row is a line with several cells, or the lines of one cell each between two empty ones.
        header, begin = "", number
        last = max((at for at in range(number + 1, behind) if not self.lines.is_blank(at)), default=number)
        for at in range(number + 1, last):
            following = self.lines[at + 1]
            several = following.count(mark) > 1 or mark != "|"
            if self.lines.is_blank(at) or not (several or self.lines.is_blank(at + 1)):
                continue
            self._put(begin, at + 1, Kind.ROW, header)
            header = header or self._cells(begin + (begin == number), at + 1, mark)
            begin = at + 1
        return self._put(begin, behind + 1, Kind.ROW, header)

    def _cells(self, first: int, behind: int, mark: str) -> str:
        words = " ".join(self.lines[number].strip() for number in range(first, behind))
        return row_line(words.strip(mark).split(mark))

    def _text(self, number: int) -> int:
        attribute = _ATTRIBUTE.match(self.lines[number])
        if attribute and self._in_header:
            if attribute["value"] and attribute["name"] not in _INSTRUCTIONS:
                self.attributes.setdefault(attribute["name"], attribute["value"])
            return self._put(number, number + 1, Kind.PARAGRAPH)
        behind = number + 1
        while not self.lines.is_blank(behind) and not self._starts_block(behind):
            behind += 1
        for first, last, is_item in self.lines.items(number, behind, _ITEM):
            self._put(first, last, Kind.LIST_ITEM if is_item else Kind.PARAGRAPH)
        return behind

    def _starts_block(self, number: int) -> bool:
        line = self.lines[number]
        in_header = self._in_header and bool(_ATTRIBUTE.match(line))
        return in_header or bool(_FENCE.match(line) or _TABLE.match(line) or _HEADING.match(line))
