"""reStructuredText: pieces by the lines that each block stands on.

`unstructured` hands these files to pandoc: a process of 100 ms a file, and the text that comes back has no place in
the file that was read. Reading the lines takes a hundredth of that, and the pieces are slices of the file itself.
"""

import re

from ingest.formats.blocks import row_line
from ingest.formats.slices import Lines, Slices, indent_of
from ingest.formats.text import decode
from rag.types import Document, Kind

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+\s*\Z")
_ITEM = re.compile(r"\s*(?:[-*+•‣]|(?:\d{1,9}|[A-Za-z]|#)[.)]|\((?:\d{1,9}|[A-Za-z]|#)\))\s+\S")
_DIRECTIVE = re.compile(r"\s*\.\. (?:\|[^|]*\| )?(?P<name>[\w:-]+?)::")
_OPTION = re.compile(r"\s+:[^:\n]+:")
_FIELD = re.compile(r":(?P<name>[^:\n]{1,80}):[ \t]+(?P<value>\S.*)")
_GRID = re.compile(r"\s*\+(?:[-=]+\+)+\s*\Z")
_SIMPLE_TABLE = re.compile(r"\s*=+(?:[ \t]+=+)+\s*\Z")
_MARKS = re.compile(r":[\w:-]+:(?=`)|[`*|]+|\s*<[^<>]*>(?=`_)|`?_{1,2}(?=\W|\Z)")
_VERBATIM = frozenset("code code-block sourcecode parsed-literal math raw highlight doctest graphviz".split())


def parse_rst(data: bytes, source: str) -> Document:
    """A reStructuredText file: `document.text` is the file's text, marks included.

    The first heading is the title; fields before any text (author, date and the like) are the metadata. Raises
    UnreadableDocument for binary data, EmptyDocument.
    """
    text = decode(data, source)
    reader = _Reader(text)
    reader.read()
    return reader.slices.document(source, reader.slices.first_heading, "rst", reader.fields)


class _Reader:
    def __init__(self, text: str) -> None:
        self.slices = Slices(text)
        self.lines = Lines(text)
        self.fields: dict[str, str] = {}
        self._styles: list[tuple[str, bool]] = []
        self._has_text = False

    def read(self) -> None:
        number = 0
        while number < len(self.lines):
            if self.lines.is_blank(number):
                number += 1
            else:
                number = self._heading(number) or self._directive(number) or self._table(number) or self._text(number)

    def _put(self, first: int, behind: int, kind: Kind, header: str = "") -> int:
        self.slices.add(self.lines.starts[first], self.lines.starts[behind], kind, header)
        return behind

    def _heading(self, number: int) -> int:
        """The number behind the heading that starts here, 0 where none does; so in the methods below."""
        over, title = _ADORNMENT.match(self.lines[number]), number
        if over:
            title += 1
            under = _ADORNMENT.match(self.lines[number + 2])
            if self.lines.is_blank(title) or not under or under[1] != over[1]:
                return 0
        else:
            under = _ADORNMENT.match(self.lines[number + 1])
            if not under or self.lines[title][:1].isspace():
                return 0
        words = self.lines[title].strip()
        if len(under[0].strip()) < min(4, len(words)):
            return 0
        style = (under[1], bool(over))
        if style not in self._styles:
            self._styles.append(style)
        level = self._styles.index(style) + 1
        starts = self.lines.starts
        self.slices.heading(starts[number], starts[title + 2], _MARKS.sub("", words), level)
        return title + 2

    def _directive(self, number: int) -> int:
        line = self.lines[number]
        if not line.lstrip().startswith(".. ") and line.strip() != "..":
            return 0
        indent = indent_of(line)
        found = _DIRECTIVE.match(line)
        if found is None or found["name"].rpartition(":")[2] in _VERBATIM:
            behind = self.lines.behind_indented(number + 1, indent)
            return self._put(number, behind, Kind.CODE if found else Kind.PARAGRAPH)
        behind = number + 1
        while _OPTION.match(self.lines[behind]) and indent_of(self.lines[behind]) > indent:
            behind += 1
        return self._put(number, behind, Kind.PARAGRAPH)

    def _table(self, number: int) -> int:
        line = self.lines[number]
        if _GRID.match(line):
            return self._rows(number, self.lines.behind_block(number), _GRID, "+|")
        if not _SIMPLE_TABLE.match(line):
            return 0
        # A simple table ends with its third rule, or with the second where it has no header.
        behind, rules = number + 1, 1
        while behind < len(self.lines) and not (rules > 1 and self.lines.is_blank(behind)):
            rules += bool(_SIMPLE_TABLE.match(self.lines[behind]))
            behind += 1
        return self._rows(number, behind, _SIMPLE_TABLE, "")

    def _rows(self, first: int, behind: int, rule: re.Pattern[str], border: str) -> int:
        """A table's rows, with the rules above and below them."""
        header, begin, cells = "", first, ""
        for number in range(first, behind):
            line = self.lines[number]
            ruled = bool(rule.match(line))
            if not ruled:
                cells = f"{cells} {line.strip()}"
            next_ruled = bool(rule.match(self.lines[number + 1]))
            if cells and (ruled or (not border and not next_ruled)):
                self._put(begin, number + 1, Kind.ROW, header)
                header = header or row_line(re.split(r"\|" if border else r"[ \t]{2,}", cells.strip(" |")))
                begin, cells = number + 1, ""
        return self._put(begin, behind, Kind.ROW, header)

    def _text(self, number: int) -> int:
        indent = indent_of(self.lines[number])
        behind = number + 1
        while not self.lines.is_blank(behind) and not (
            indent_of(self.lines[behind]) > indent and self.lines[behind - 1].rstrip().endswith("::")
        ):
            behind += 1
        for first, last, is_item in self.lines.items(number, behind, _ITEM):
            if not is_item and not self._has_text:
                self._collect_fields(first, last)
            self._put(first, last, Kind.LIST_ITEM if is_item else Kind.PARAGRAPH)
        if self.lines[behind - 1].rstrip().endswith("::"):
            verbatim = self.lines.behind_indented(behind, indent)
            if verbatim > behind:
                return self._put(behind, verbatim, Kind.CODE)
        return behind

    def _collect_fields(self, first: int, behind: int) -> None:
        found = [_FIELD.match(self.lines[number]) for number in range(first, behind)]
        self._has_text = not found[0]
        self.fields |= {field["name"].strip().lower(): field["value"].strip() for field in found if field}
