"""Pieces of a text that stays as it is in its file: readers say where blocks stand, nothing is copied or lost."""

import re
from collections.abc import Iterator

from ingest.formats.blocks import HeadingPath, one_line
from rag.errors import EmptyDocument
from rag.types import Document, Kind, Piece

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")


class Slices:
    """Collects the pieces of a text in ascending order and becomes a document.

    Text between two blocks that no reader claimed becomes a paragraph: the pieces hold all text by construction.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.path = HeadingPath()
        self.first_heading = ""
        self._pieces: list[Piece] = []
        self._end = 0

    def add(self, start: int, end: int, kind: Kind = Kind.PARAGRAPH, header: str = "") -> None:
        """The block `text[start:end]`; white space at its ends is left out, an empty one is no block."""
        self._claim(start, Kind.PARAGRAPH, "")
        self._claim(end, kind, header)

    def heading(self, start: int, end: int, name: str, level: int) -> None:
        """A heading, 1 being the outermost level; what follows stands below it."""
        self._claim(start, Kind.PARAGRAPH, "")
        name = one_line(name)
        self.first_heading = self.first_heading or name
        self.path.enter(name, level)
        self._claim(end, Kind.HEADING, "")

    def _claim(self, end: int, kind: Kind, header: str) -> None:
        part = self.text[self._end : end]
        if stripped := part.strip():
            start = self._end + len(part) - len(part.lstrip())
            self._pieces.append(Piece(start, start + len(stripped), kind, None, self.path.names, header))
        self._end = max(self._end, end)

    def document(self, source: str, title: str, parser: str, metadata: dict[str, str] | None = None) -> Document:
        """The whole text with its pieces. Raises EmptyDocument where there are none."""
        self._claim(len(self.text), Kind.PARAGRAPH, "")
        if not self._pieces:
            raise EmptyDocument(f"{source} holds no text")
        return Document(source, self.text, one_line(title), tuple(self._pieces), parser, metadata or {})


class Lines:
    """The lines of a text by number, without their breaks, and where each starts."""

    def __init__(self, text: str) -> None:
        self._lines = [found[0].rstrip("\n") for found in _LINE.finditer(text)]
        self.starts = [0]
        for line in self._lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.starts[-1] = len(text)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: int) -> str:
        """The line, "" behind the last one."""
        return self._lines[number] if number < len(self._lines) else ""

    def is_blank(self, number: int) -> bool:
        """Whether a line holds nothing but white space; there are no lines behind the last one."""
        return number >= len(self._lines) or not self._lines[number].strip()

    def behind_block(self, number: int) -> int:
        """The number of the blank line that ends the block around a line."""
        while not self.is_blank(number):
            number += 1
        return number

    def behind_indented(self, number: int, indent: int) -> int:
        """The number behind the last of the lines from here on that are blank or stand further in than `indent`."""
        last = number
        while number < len(self._lines):
            if not self.is_blank(number):
                if indent_of(self._lines[number]) <= indent:
                    break
                last = number + 1
            number += 1
        return last

    def items(self, first: int, behind: int, starts_item: re.Pattern[str]) -> Iterator[tuple[int, int, bool]]:
        """The lines [first, behind) in parts that start where a list item starts, and whether each is an item."""
        begin = first
        for number in range(first + 1, behind):
            if starts_item.match(self._lines[number]):
                yield begin, number, bool(starts_item.match(self._lines[begin]))
                begin = number
        yield begin, behind, bool(starts_item.match(self._lines[begin]))


def indent_of(line: str) -> int:
    """How far in a line's text stands, a tab taken to the next multiple of eight."""
    line = line[: len(line) - len(line.lstrip())]
    return len(line.expandtabs())
