"""What a page holds before it is read: lines of text, rules, tables. Values.

Lengths are in points; `y` grows downwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rag.types import Box

# Stands for a hyphen that ends a line.
SOFT_HYPHEN = "\u00ad"


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or the part of one between two wide gaps.

    `base` is where its letters stand, `size` that of its type. `turn` counts the quarter turns, clockwise, that it is
    turned by on the page: `left`, `right` and `base` are as seen with the page turned back, `box` as on the page.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    bold: bool
    box: Box
    turn: int = 0
    table: "Table | None" = None

    @property
    def middle(self) -> float:
        return self.base - 0.3 * self.size


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a table, row by row, each row with its box on the page; the first row is taken for its header."""

    rows: tuple[tuple[str, ...], ...]
    boxes: tuple[Box, ...]
    columns: tuple[float, ...]  # where its columns begin, and its right edge

    @property
    def box(self) -> Box:
        return union(self.boxes)


@dataclass(frozen=True, slots=True)
class Rule:
    """A line that is drawn, along the page (`top == bottom`) or down it (`left == right`)."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page by its number from 1, and its lines in the order in which the file draws them.

    `paragraphs` are the same lines where the reader knows already how they belong together; `is_scan` says that the
    page shows something and has no text of its own. `pictured` are descriptions of what its pictures show.
    """

    number: int
    width: float
    height: float
    lines: list[Line] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    paragraphs: list[list[Line]] | None = None
    is_scan: bool = False
    pictured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bookmark:
    """An entry of a document's outline: `level` from 1, `page` from 1."""

    title: str
    level: int
    page: int


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of them; at least one is needed."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def turned(box: Box, turn: int, width: float, height: float) -> Box:
    """A box on a page of that size, as it stands when the page is turned back by `turn` quarter turns."""
    left, top, right, bottom = box
    match turn % 4:
        case 1:
            return top, width - right, bottom, width - left
        case 2:
            return width - right, height - bottom, width - left, height - top
        case 3:
            return height - bottom, left, height - top, right
        case _:
            return box
