"""Rows of cells into blocks: where a table has its header, and where it is no table at all. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence

from ingest.formats.blocks import Blocks, one_line

_FIGURE = re.compile(r"[-+(]?\W{0,3}\d[\d\s.,:/%()TZ+-]*\W{0,3}")
_SEARCHED_ROWS = 12
# A file may name one long text in a million cells.
_MOST_CHARACTERS = 64 << 20
_LONGEST_LABEL = 200


def repeats(words: str) -> bool:
    """Whether the words of a cell that spans rows are to stand in each of them: a label, not a text."""
    return len(words) <= _LONGEST_LABEL


def put_table(blocks: Blocks, rows: Iterable[Sequence[str]], page: int | None = None) -> None:
    """The rows as one table or several, with what stands above each as paragraphs.

    Rows with a single cell above the first wider one are captions, and so are rows of words above a wider row of
    words with figures below it. An empty row ends a table where what follows begins with a header of its own: words in
    every cell, and more than one. Columns without text are left out. A frame around text becomes paragraphs.
    Raises ValueError for tables that hold more than any reader could want.
    """
    rows = list(rows)
    if sum(len(cell) for cells in rows for cell in cells) > _MOST_CHARACTERS:
        raise ValueError("its tables hold too much")
    for table in _tables([[cell if cell.isalnum() else one_line(cell) for cell in cells] for cells in rows]):
        header = _header(table)
        for cells in table[:header]:
            blocks.add(" ".join(filter(None, cells)), page=page)
        if header < len(table):
            used = sorted({at for cells in table[header:] for at, cell in enumerate(cells) if cell})
            blocks.table([[cells[at] if at < len(cells) else "" for at in used] for cells in table[header:]], page)


def _header(table: list[list[str]]) -> int:
    """The row that names the columns; the number of rows where there is none, since no row has two cells."""
    if all(_width(cells) < 2 for cells in table):
        return len(table)
    searched = table[:_SEARCHED_ROWS]
    header = next((at for at, cells in enumerate(searched) if _width(cells) > 1), 0)
    while (
        header + 2 < len(table)
        and _is_header(table[header])
        and _is_header(table[header + 1])
        and _width(table[header + 1]) > _width(table[header])
        and any(_FIGURE.fullmatch(cell) for cell in table[header + 2])
    ):
        header += 1
    return header


def _tables(rows: list[list[str]]) -> Iterator[list[list[str]]]:
    """The rows in groups, without empty ones."""
    group: list[list[str]] = []
    gap = False
    for at, cells in enumerate(rows):
        if not any(cells):
            gap = bool(group)
            continue
        if gap and _begins_table(rows, at):
            yield group
            group = []
        gap = False
        group.append(cells)
    if group:
        yield group


def _begins_table(rows: list[list[str]], at: int) -> bool:
    """Whether a row behind an empty one begins another table: it is a header, or captions lead to one."""
    for cells in rows[at : at + _SEARCHED_ROWS]:
        if _width(cells) != 1:
            return _is_header(cells)
    return False


def _is_header(cells: Sequence[str]) -> bool:
    shown = [cell for cell in cells if cell]
    return len(shown) > 1 and not any(_FIGURE.fullmatch(cell) for cell in shown)


def _width(cells: Sequence[str]) -> int:
    return sum(map(bool, cells))
