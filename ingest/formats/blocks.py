"""Blocks of text into a Document: one text, and the pieces that stand in it. Every reader ends here."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from rag.errors import EmptyDocument
from rag.types import Box, Document, Kind, Piece

# No database, terminal or tokenizer takes these: NUL and other control characters, lone halves of surrogate pairs,
# and the two non-characters that PDF and Office files leave behind. Tab, line feed and the blanks stay.
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_SPACED_LINES = re.compile(r"[ \t]*\n[ \t\n]*\n")


def same_length(text: str) -> str:
    """The text with characters that nothing can store replaced, one by one, so that places in it stay true."""
    return _UNUSABLE.sub("\ufffd", text)


def cleaned(text: str) -> str:
    """The text of one block without unusable characters, soft hyphens and white space at its ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n").replace("\x0c", "\n")
    return _UNUSABLE.sub("", text).replace("\u00ad", "").strip()


def one_line(text: str) -> str:
    """The text on one line, runs of white space as one blank."""
    return " ".join(cleaned(text).split())


def row_line(cells: Iterable[str]) -> str:
    """A table row as one line, cells parted by " | "; empty cells at its end are dropped."""
    shown = [one_line(cell) for cell in cells]
    while shown and not shown[-1]:
        shown.pop()
    return " | ".join(shown).strip()


class HeadingPath:
    """The headings above the present place, kept by level (1 is the outermost)."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []

    def enter(self, text: str, level: int) -> None:
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._stack.append((level, one_line(text)))

    def below(self, name: str) -> "HeadingPath":
        """A path of its own, one heading longer."""
        path = HeadingPath()
        for level, above in enumerate((*self.names, name), start=1):
            path.enter(above, level)
        return path

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self._stack if name)


class Blocks:
    """Collects the blocks of a document in reading order and becomes its text and pieces.

    Blocks are parted by an empty line, list items and table rows among themselves by a line break.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._pieces: list[Piece] = []
        self._length = 0
        self._path = HeadingPath()
        self.first_heading = ""

    @property
    def is_empty(self) -> bool:
        return not self._pieces

    def heading(self, text: str, level: int, page: int | None = None, box: Box | None = None) -> None:
        """A heading of the given level, 1 being the outermost; what follows stands below it."""
        text = one_line(text)
        if not text:
            return
        self._path.enter(text, level)
        self.first_heading = self.first_heading or text
        self._put(text, Kind.HEADING, page, "", box)

    def stand_below(self, *names: str) -> None:
        """What follows stands below these headings, which are no blocks themselves."""
        self._path = HeadingPath()
        for level, name in enumerate(names, start=1):
            self._path.enter(name, level)

    def enter(self, name: str, level: int) -> None:
        """What follows stands below this heading, which is no block itself, and below those above it."""
        self._path.enter(name, level)

    def add(self, text: str, kind: Kind = Kind.PARAGRAPH, page: int | None = None, box: Box | None = None) -> None:
        """A block of another kind; one without text is left out."""
        # An empty line inside a block would look like its end.
        text = cleaned(text) if kind is Kind.CODE else _SPACED_LINES.sub("\n", cleaned(text))
        if text:
            self._put(text, kind, page, "", box)

    def aside(self, name: str, text: str, page: int | None = None) -> None:
        """A paragraph below one more heading, which is no block itself and holds for nothing else."""
        around, self._path = self._path, self._path.below(name)
        self.add(text, page=page)
        self._path = around

    def table(
        self,
        rows: Iterable[Sequence[str]],
        page: int | None = None,
        boxes: Iterable[Box] | None = None,
        header: str = "",
    ) -> str:
        """A table, row by row, and its header: the first row with text where `header` is not that of an earlier part.

        A part that repeats the header shows it once.
        """
        earlier = header
        for cells, box in zip(rows, itertools.repeat(None) if boxes is None else boxes, strict=False):
            line = row_line(cells)
            if line.strip(" |") and line != earlier:
                self._put(line, Kind.ROW, page, header, box)
                header = header or line
            earlier = ""
        return header

    def _put(self, text: str, kind: Kind, page: int | None, header: str, box: Box | None) -> None:
        if self._pieces:
            before = self._pieces[-1]
            items = kind is before.kind is Kind.LIST_ITEM
            rows = kind is before.kind is Kind.ROW and bool(header)
            gap = "\n" if (items or rows) and page == before.page else "\n\n"
            self._parts.append(gap)
            self._length += len(gap)
        self._parts.append(text)
        start, self._length = self._length, self._length + len(text)
        self._pieces.append(Piece(start, self._length, kind, page, self._path.names, header, box))

    def document(self, source: str, title: str, parser: str, metadata: Mapping[str, str] | None = None) -> Document:
        """What was collected. Raises EmptyDocument where that is nothing."""
        if not self._pieces:
            raise EmptyDocument(f"{source} holds no text")
        return Document(
            source, "".join(self._parts), one_line(title), tuple(self._pieces), parser, dict(metadata or {})
        )
