"""Tables among the lines of a page: between rules, or by columns that stand clear of each other. Pure.

A page's lines come cut at wide gaps and at rules, so that a line holds text of one cell at most in nearly all cases.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from statistics import mean, median

from ingest.formats.page import SOFT_HYPHEN, Line, Rule, Table, union

_NEAR = 3.0  # points: rules that meet, or stand for one
_MOST_RULES = 2_000  # of a page: more are a drawing
_SHORTEST_RULE = 60.0
_CELL_CHARS = 400  # on average; longer ones are boxes with text
_FEWEST_ROWS = 3
_HEADER_ROWS = 2
_SHARE_OF_FULL_ROWS = 0.6
_SHARE_OF_FULL_CELLS = 0.35  # names in a chart leave more places empty
_SURE_SHARE_OF_FULL_CELLS = 0.6
_CLEAR = 1.2  # times the size of type: the blank between two columns that no rule marks
_SHARE_OF_SMALL = 0.35  # letters at the beginning
_LONG_CELL_WORDS = 6
_SHARE_OF_LONG_CELLS = 0.25


def with_tables(lines: Sequence[Line], rules: Sequence[Rule]) -> list[Line]:
    """The lines, with those of each table between rules replaced by one that holds it, in the first one's place."""
    rest = list(lines)
    if len(rules) <= _MOST_RULES:
        for left, top, right, bottom, columns, rows in itertools.chain(_grids(rules), _booktabs(rules, rest)):
            inside = [
                line
                for line in rest
                if line.table is None
                and left - _NEAR <= (line.left + line.right) / 2 <= right + _NEAR
                and top - _NEAR <= line.middle <= bottom + _NEAR
            ]
            table = _from_grid(inside, columns, rows) if rows else _from_columns(_by_row(inside), certain=True)
            if table:
                rest = _replaced(rest, inside, table)
    return rest


def with_aligned_tables(lines: Sequence[Line]) -> list[Line]:
    """The lines of one column of text, with runs of rows whose cells stand in columns replaced by tables."""
    rest = list(lines)
    run: list[list[Line]] = []
    for row in [*_by_row(line for line in lines if line.table is None), []]:
        together = not run or (bool(row) and row[0].base - run[-1][0].base < 3 * row[0].size)
        if len(row) > 1 and together:
            run.append(row)
            continue
        if len(run) >= _FEWEST_ROWS and (table := _from_columns(run, certain=False)):
            rest = _replaced(rest, list(itertools.chain(*run)), table)
        run = [row] if len(row) > 1 else []
    return rest


def _replaced(lines: list[Line], inside: Sequence[Line], table: Table) -> list[Line]:
    ids = {id(line) for line in inside}
    first = next(at for at, line in enumerate(lines) if id(line) in ids)
    size = median(line.size for line in inside)
    marker = Line(
        "",
        min(line.left for line in inside),
        max(line.right for line in inside),
        min(line.base for line in inside),
        size,
        False,
        table.box,
        inside[0].turn,
        table,
    )
    before = [line for line in lines[:first] if id(line) not in ids]
    return [*before, marker, *(line for line in lines[first:] if id(line) not in ids)]


# -- rules ----------------------------------------------------------------------------------------------------------

_Area = tuple[float, float, float, float, list[float], list[float]]


def _grids(rules: Sequence[Rule]) -> Iterator[_Area]:
    """Rules that cross each other: the area they span, the places of columns and of rows."""
    along = sorted({rule for rule in rules if rule.top == rule.bottom}, key=lambda rule: rule.top)
    down = {rule for rule in rules if rule.left == rule.right}
    tops = [rule.top for rule in along]
    groups: list[tuple[set[Rule], list[Rule]]] = []
    for rule in down:
        near = along[bisect_left(tops, rule.top - _NEAR) : bisect_right(tops, rule.bottom + _NEAR)]
        across = {other for other in near if other.left - _NEAR <= rule.left <= other.right + _NEAR}
        if not across:
            continue
        upright = [rule]
        for group in [group for group in groups if not across.isdisjoint(group[0])]:
            groups.remove(group)
            across |= group[0]
            upright += group[1]
        groups.append((across, upright))
    for across, upright in groups:
        columns = _places([rule.left for rule in upright] + [x for rule in across for x in (rule.left, rule.right)])
        rows = _places([rule.top for rule in across])
        if len(columns) > 2 and len(rows) > 2:
            yield columns[0], rows[0], columns[-1], rows[-1], columns, rows


def _booktabs(rules: Sequence[Rule], lines: Sequence[Line]) -> Iterator[_Area]:
    """Rules of one length and place above each other with rows of cells between them, as in books."""
    along = sorted((r for r in rules if r.top == r.bottom and r.right - r.left > _SHORTEST_RULE), key=lambda r: r.top)
    while along:
        left, right = along[0].left, along[0].right
        same = {r for r in along if abs(r.left - left) < _NEAR and abs(r.right - right) < _NEAR}
        along = [r for r in along if r not in same]
        tops = _places(r.top for r in same)
        if len(tops) < 2:
            continue
        within = [x for x in lines if left - _NEAR < (x.left + x.right) / 2 < right + _NEAR]
        within.sort(key=lambda x: x.middle)
        start = tops[0]
        for above, below in itertools.pairwise([*tops, tops[-1]]):
            # The same rules stand over a page, and under a table with another one further down.
            if above < below and _are_cells(_between(within, above, below)):
                continue
            if start < above:
                yield left, start, right, above, [], []
            start = below


def _between(lines: Sequence[Line], top: float, bottom: float) -> Sequence[Line]:
    """Of lines from top to bottom those that stand between two heights."""
    first = bisect_left(lines, top, key=lambda x: x.middle)
    return lines[first : bisect_left(lines, bottom, key=lambda x: x.middle)]


def _are_cells(lines: Sequence[Line]) -> bool:
    rows = _by_row(lines)
    # Of a header the gaps may be too narrow to see.
    return bool(rows) and (len(rows) <= _HEADER_ROWS or sum(len(row) > 1 for row in rows) >= 0.5 * len(rows))


def _places(values: Iterable[float]) -> list[float]:
    """The values, those that are near each other as one."""
    found: list[float] = []
    for value in sorted(values):
        if not found or value - found[-1] > _NEAR:
            found.append(value)
    return found


def _from_grid(lines: Sequence[Line], columns: list[float], rows: list[float]) -> Table | None:
    cells: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        row = min(max(bisect_right(rows, line.middle) - 1, 0), len(rows) - 2)
        # By the left edge: the text of a cell over several columns belongs to the first.
        column = min(max(bisect_right(columns, line.left + _NEAR) - 1, 0), len(columns) - 2)
        cells.setdefault((row, column), []).append(line)
    grid = [[cells.get((r, c), []) for c in range(len(columns) - 1)] for r in range(len(rows) - 1)]
    full = [row for row in grid if sum(bool(cell) for cell in row) > 1]
    if (
        len(full) < 2
        or not _is_full(full, _SHARE_OF_FULL_CELLS)
        or mean(sum(len(x.text) for x in cell) for cell in cells.values()) > _CELL_CHARS
    ):
        return None
    used = [c for c in range(len(columns) - 1) if any(row[c] for row in grid)]
    return _table([[row[c] for c in used] for row in grid if any(row)], [*(columns[c] for c in used), columns[-1]])


# -- columns --------------------------------------------------------------------------------------------------------


def _by_row(lines: Iterable[Line]) -> list[list[Line]]:
    """Lines that stand on one base line, from left to right; rows from top to bottom."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda x: (x.base, x.left)):
        if rows and line.base - rows[-1][0].base < 0.5 * line.size:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda x: x.left) for row in rows]


def _from_columns(rows: Sequence[Sequence[Line]], certain: bool) -> Table | None:
    """Rows whose cells stand in columns with nothing in between; None where they do not.

    Where no rule says that it is a table (`certain`), cells must be short and full rows many.
    """
    if len(rows) < 2 or _runs_on(rows):
        return None
    usual = median(len(row) for row in rows)
    columns: list[list[float]] = []
    # Headings over several columns would close the gaps between those: rows of fewer cells do not count.
    for line in sorted((x for row in rows if len(row) >= usual for x in row), key=lambda x: x.left):
        if columns and line.left < columns[-1][1] + 1:
            columns[-1][1] = max(columns[-1][1], line.right)
        else:
            columns.append([line.left, line.right])
    if len(columns) < 2:
        return None
    starts = [column[0] for column in columns]
    grid: list[list[list[Line]]] = []
    for row in rows:
        cells: list[list[Line]] = [[] for _ in columns]
        for line in row:
            cells[max(bisect_right(starts, line.left + 2) - 1, 0)].append(line)
        if grid and _continues(grid[-1], cells):
            grid[-1] = [above + below for above, below in zip(grid[-1], cells, strict=True)]
        else:
            grid.append(cells)
    full = sum(sum(bool(cell) for cell in row) > 1 for row in grid)
    if full < 2 or full < _SHARE_OF_FULL_ROWS * len(grid) or not _is_full(grid, _SHARE_OF_FULL_CELLS):
        return None
    if not certain:
        clear = min(after[0] - before[1] for before, after in itertools.pairwise(columns))
        if clear < _CLEAR * median(line.size for row in rows for line in row) or not _looks_like_cells(grid):
            return None
    return _table(grid, [*starts, columns[-1][1]])


def _continues(above: Sequence[Sequence[Line]], below: Sequence[Sequence[Line]]) -> bool:
    """Whether a row holds nothing but further lines of a few cells of the row above."""
    filled = [at for at, cell in enumerate(below) if cell]
    if not filled or below[0] or len(filled) * 2 > len(below) or not above[0]:
        return False
    last = max(line.base for cell in above for line in cell)
    line = below[filled[0]][0]
    return line.base - last < 1.4 * line.size and all(above[at] for at in filled)


def _runs_on(rows: Sequence[Sequence[Line]]) -> bool:
    """Whether rows are running text: boxes with two columns of it, or a narrow column that is set with wide blanks."""
    texts = [line.text for row in rows for line in row]
    figures = sum(any(c.isdigit() for c in text) for text in texts)
    return sum(text[0].islower() for text in texts) > _SHARE_OF_SMALL * len(texts) > 2 * figures


def _looks_like_cells(grid: Sequence[Sequence[Sequence[Line]]]) -> bool:
    if len(grid) < _FEWEST_ROWS or not _is_full(grid, _SURE_SHARE_OF_FULL_CELLS):
        return False
    words = [sum(len(line.text.split()) for line in cell) for row in grid for cell in row if cell]
    if sum(count > _LONG_CELL_WORDS for count in words) > _SHARE_OF_LONG_CELLS * len(words):
        return False
    if len(grid[0]) > 2:
        return True
    # Of two columns the second must be figures, or it may be a list with its marks, or names and what they mean.
    second = ["".join(line.text for line in row[1]) for row in grid if row[1]]
    first = [" ".join(line.text for line in row[0]) for row in grid if row[0]]
    figures = sum(any(c.isdigit() for c in text) for text in second)
    return figures > 0.6 * len(grid) and sum(sum(c.isalpha() for c in text) > 2 for text in first) > 0.6 * len(grid)


def _is_full(grid: Sequence[Sequence[Sequence[Line]]], share: float) -> bool:
    cells = [bool(cell) for row in grid for cell in row]
    return sum(cells) >= share * len(cells)


def _table(grid: Sequence[Sequence[Sequence[Line]]], columns: list[float]) -> Table | None:
    rows = [[_cell(cell) for cell in row] for row in grid]
    kept = [
        (row, union(x.box for cell in lines for x in cell)) for row, lines in zip(rows, grid, strict=True) if any(row)
    ]
    if len(kept) < 2:
        return None
    return Table(tuple(tuple(row) for row, _ in kept), tuple(box for _, box in kept), tuple(columns))


def _cell(lines: Sequence[Line]) -> str:
    text = ""
    for row in _by_row(lines):
        for line in row:
            parted = text.endswith(SOFT_HYPHEN)
            text = text[:-1] + line.text if parted else f"{text} {line.text}".strip()
    return text.replace(SOFT_HYPHEN, "-")
