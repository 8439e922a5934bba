"""Pages of lines into blocks: reading order, running heads and feet, headings by outline and by type. Pure."""

import itertools
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ingest.formats.blocks import Blocks
from ingest.formats.page import Bookmark, Line, Page, Rule, Table, turned, union
from ingest.formats.paragraphs import Scale, goes_on, is_item, joined, paragraphs, vocabulary
from ingest.formats.pictures import put_words
from ingest.formats.tables import with_aligned_tables, with_tables
from rag.types import Box, Kind

# What repeats and how large the body's type is shows in many pages; all of a document's lines at once need not be held.
_STRETCH = 256

# Running heads and feet: how much of a page's height they may stand in, on what share of pages they must repeat,
# and from how many pages on repeating means anything.
_MARGIN = 0.085
_REPEATED = 0.6
_FEWEST_PAGES = 4

_FEWEST_LINES = 16  # of a page in columns
_FEWEST_IN_COLUMN = 6
_FEWEST_LONG = 5
_UNORDERED = 0.25  # of the steps from line to line go up: then the file's order is no reading order
_SAME_COLUMNS = 8.0  # points that the columns of a table may be off on its next page


class Arrangement:
    """Takes a document's pages one by one, and keeps no more than a stretch of them."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._title = ""
        self._first_page = 0
        self._pages: list[Page] = []
        self._scale = Scale()
        self._running: set[str] = set()
        self._outline = _Outline(())
        self._table: tuple[int, tuple[float, ...], str] | None = None

    def expect(self, bookmarks: Iterable[Bookmark]) -> None:
        """The document's outline, before its first page: what it names are headings."""
        self._outline = _Outline(bookmarks)

    def add(self, page: Page) -> None:
        """The next page."""
        self._pages.append(page)
        if len(self._pages) >= _STRETCH:
            self._settle()

    def finish(self) -> tuple[Blocks, str]:
        """The blocks, and the title in print.

        The title is the largest heading of the first page with text, empty where that is not clearly larger than the
        body.
        """
        self._settle()
        return self._blocks, self._title

    def _settle(self) -> None:
        pages, self._pages = self._pages, []
        repeated = _running(pages, self._running)
        self._running |= {text for _, text in repeated}
        kept = [
            replace(
                page,
                lines=[
                    x for x in page.lines if (page.number, _masked(x.text)) not in repeated or not _in_margin(x, page)
                ],
            )
            for page in pages
        ]
        if not any(page.lines for page in kept):
            kept = pages
        lines = [line for page in kept for line in page.lines]
        self._scale.learn(lines)
        words = vocabulary(lines)
        for page in kept:
            if page.lines and not self._first_page:
                self._first_page = page.number
            self._outline.turn_to(page.number)
            found = page.paragraphs
            if found is None:
                found = [group for column in _columns(page) for group in paragraphs(column, self._scale)]
                found = _over_columns(found)
            title_size = 0.0
            for at, group in enumerate(found):
                if group[0].table:
                    self._put_table(group[0].table, page, at == 0)
                    continue
                text = joined(group, words)
                may_be_title = page.number == self._first_page and self._scale.is_title(group[0])
                if self._put(text, group, page) and may_be_title and group[0].size > title_size:
                    self._title, title_size = text, group[0].size
            self._outline.leave(self._blocks)
            for told in page.pictured:
                put_words(self._blocks, told, page.number)

    def _put(self, text: str, group: Sequence[Line], page: Page) -> bool:
        """One paragraph or heading; says whether it is a heading."""
        self._table = None
        box = _rounded(union(line.box for line in group))
        level = self._outline.level(text, self._blocks) if len(group) < 5 else 0
        if not level and (level := self._scale.heading_level(group, text, page)):
            level = max(level, self._outline.depth + 1)
        if level:
            self._blocks.heading(text, level, page.number, box)
            return True
        self._blocks.add(text, Kind.LIST_ITEM if is_item(text) else Kind.PARAGRAPH, page.number, box)
        return False

    def _put_table(self, table: Table, page: Page, is_first: bool) -> None:
        """A table; at the head of a page it may go on from the page before."""
        header = ""
        if is_first and self._table:
            number, columns, earlier = self._table
            aligned = len(columns) == len(table.columns) and all(
                abs(one - other) < _SAME_COLUMNS for one, other in zip(columns, table.columns, strict=True)
            )
            header = earlier if aligned and number == page.number - 1 else ""
        rows, boxes = list(table.rows), [_rounded(box) for box in table.boxes]
        while not header and len(rows) > 2 and sum(map(bool, rows[0])) == 1:
            # Over the header stands what the table is about.
            self._blocks.add("".join(rows.pop(0)), Kind.PARAGRAPH, page.number, boxes.pop(0))
        header = self._blocks.table(rows, page.number, boxes, header)
        self._table = page.number, table.columns, header


def _rounded(box: Box) -> Box:
    left, top, right, bottom = box
    return round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)


# -- the outline ----------------------------------------------------------------------------------------------------


class _Outline:
    """A document's bookmarks, met page by page.

    `depth` is the level of the last one met, 0 before the first.
    """

    def __init__(self, bookmarks: Iterable[Bookmark]) -> None:
        self._by_page: dict[int, list[Bookmark]] = defaultdict(list)
        for bookmark in bookmarks:
            if _key(bookmark.title):
                self._by_page[bookmark.page].append(bookmark)
        self._waiting: deque[Bookmark] = deque()
        self._met = self._missed = 0
        self.depth = 0

    def turn_to(self, page: int) -> None:
        self._waiting = deque(self._by_page.pop(page, ()))

    def level(self, text: str, blocks: Blocks) -> int:
        """The level of the heading that this text is by the outline, 0 where it is none."""
        key = _key(text)
        at = next((at for at, entry in enumerate(self._waiting) if key and _same(key, _key(entry.title))), None)
        if at is None:
            return 0
        for _ in range(at):
            self._miss(blocks)
        self._met += 1
        # The title is the first level.
        self.depth = self._waiting.popleft().level + 1
        return self.depth

    def leave(self, blocks: Blocks) -> None:
        """The page ends: what its bookmarks name and it does not print still stands above what follows."""
        while self._waiting:
            self._miss(blocks)

    def _miss(self, blocks: Blocks) -> None:
        entry = self._waiting.popleft()
        self._missed += 1
        # An outline that names little of what is printed is somebody's mistake.
        if self._met > self._missed:
            self.depth = entry.level + 1
            blocks.enter(entry.title, self.depth)


def _key(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold().lstrip("0123456789")


def _same(printed: str, named: str) -> bool:
    if printed == named:
        return True
    longer, shorter = (printed, named) if len(printed) > len(named) else (named, printed)
    # "A.1 Data" may be named "Data".
    return len(shorter) > 3 and len(longer) - len(shorter) <= 4 and longer.endswith(shorter)


# -- running heads and feet -----------------------------------------------------------------------------------------


def _masked(text: str) -> str:
    return re.sub(r"\d+", "#", "".join(text.split())).casefold()


def _in_margin(line: Line, page: Page) -> bool:
    middle = (line.box[1] + line.box[3]) / 2
    return not page.height * _MARGIN < middle < page.height * (1 - _MARGIN)


def _running(pages: Sequence[Page], known: set[str]) -> set[tuple[int, str]]:
    """The (page, masked text) of lines in the margins that repeat on most pages, or on most left or right ones.

    `known` are those that did so in an earlier stretch.
    """
    margins = {page.number: {_masked(line.text) for line in page.lines if _in_margin(line, page)} for page in pages}
    found = {(number, text) for number, texts in margins.items() for text in texts & known}
    if len(pages) < _FEWEST_PAGES:
        return found
    for group in (pages, pages[::2], pages[1::2]):
        counts = Counter(text for page in group for text in margins[page.number])
        enough = max(3, _REPEATED * len(group))
        found |= {(page.number, text) for page in group for text in margins[page.number] if counts[text] >= enough}
    return found


# -- reading order --------------------------------------------------------------------------------------------------


def _columns(page: Page) -> list[list[Line]]:
    """The page's lines in reading order, grouped so that no paragraph's lines are parted by another column.

    What is turned on the page is read as if it were a page of its own, behind the rest.
    """
    groups: list[list[Line]] = []
    for turn in range(4):
        lines = [line for line in page.lines if line.turn == turn]
        if turn and len(lines) < _FEWEST_IN_COLUMN:
            # Stamps in margins and names of axes.
            groups += [[line] for line in lines]
        elif lines:
            groups += _upright(lines, _turned_rules(page, turn), page.height if turn % 2 else page.width)
    return groups


def _over_columns(paragraphs: Iterable[list[Line]]) -> list[list[Line]]:
    """The paragraphs, those that go on at the head of the next column with what they begin."""
    whole: list[list[Line]] = []
    for paragraph in paragraphs:
        if whole and goes_on(whole[-1][-1], paragraph[0]):
            whole[-1] = whole[-1] + paragraph
        else:
            whole.append(paragraph)
    return whole


def _turned_rules(page: Page, turn: int) -> list[Rule]:
    if not turn:
        return page.rules
    boxes = ((rule.left, rule.top, rule.right, rule.bottom) for rule in page.rules)
    return [Rule(*turned(box, turn, page.width, page.height)) for box in boxes]


def _upright(lines: Sequence[Line], rules: Sequence[Rule], width: float) -> list[list[Line]]:
    """Where a page clearly has columns, each stretch between full-width lines is read column by column.

    Elsewhere the file's own order holds: it is the author's, and on a page of notes and boxes the better guess.
    """
    lines = with_tables(lines, rules)
    gutters = _gutters(lines, width)
    if not gutters:
        return [_rows(with_aligned_tables(_in_order(lines)))]
    return [_rows(with_aligned_tables(_in_order(group))) for group in _bands(lines, gutters)]


def _in_order(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines as the file has them, from top to bottom where it has them in no order."""
    ups = sum(after.base < before.base - before.size for before, after in itertools.pairwise(lines))
    return sorted(lines, key=lambda x: (round(x.base), x.left)) if ups > _UNORDERED * len(lines) else lines


def _gutters(lines: Sequence[Line], width: float) -> list[float]:
    """Where the blanks between two or three columns of running text are, none where the page is not clearly so."""
    if len(lines) < _FEWEST_LINES:
        return []
    crossings = _crossings(lines, width)
    clear = [step for step in range(27, 74) if crossings[step] < len(lines) * 0.25]
    clear.sort(key=lambda step: crossings[step])
    middle = [(step,) for step in clear if 40 <= step <= 60]
    # The clearest few will do: a blank between columns is several steps wide.
    first, second = ([step for step in clear if low <= step <= high][:4] for low, high in ((27, 40), (60, 73)))
    for steps in itertools.chain(middle[:8], itertools.product(first, second)):
        gutters = [width * step / 100 for step in steps]
        if _are_columns(lines, gutters, width):
            return gutters
    return []


def _crossings(lines: Sequence[Line], width: float) -> list[int]:
    """How many lines run across each hundredth of the width."""
    changes = [0] * 103
    for line in lines:
        first, last = (min(max(x * 100 / width, 0.0), 101.0) for x in (line.left, line.right))
        changes[math.floor(first) + 1] += 1
        changes[math.ceil(last)] -= 1
    return list(itertools.accumulate(changes))


def _are_columns(lines: Sequence[Line], gutters: Sequence[float], width: float) -> bool:
    """Whether running text stands on both sides: two columns of a table are short, lines of text fill their column."""
    columns: list[list[Line]] = [[] for _ in range(len(gutters) + 1)]
    for line in lines:
        at = bisect_right(gutters, line.left)
        if at == bisect_left(gutters, line.right):
            columns[at].append(line)
    if min(len(column) for column in columns) < _FEWEST_IN_COLUMN:
        return False
    if sum(len(column) for column in columns) < len(lines) * 0.75:
        return False
    long = width * (0.25 if len(columns) == 2 else 0.17)
    for column in columns:
        lengths = [len(x.text) for x in column if x.right - x.left > long]
        # By letters: a chart has more lines than the text around it.
        if len(lengths) < _FEWEST_LONG or sum(lengths) < 0.5 * sum(len(x.text) for x in column):
            return False
    return True


def _bands(lines: Sequence[Line], gutters: Sequence[float]) -> list[list[Line]]:
    """Lines grouped: each stretch between lines of full width column by column, and those lines by themselves.

    Within a group the file's order stays: it keeps the words of a figure together, which places would scatter.
    """
    wide = sorted({line.middle for line in lines if _is_wide(line, gutters)})
    groups: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        if _is_wide(line, gutters):
            place = (2 * bisect_left(wide, line.middle) + 1, 0)
        else:
            place = (2 * bisect_left(wide, line.middle), bisect_right(gutters, (line.left + line.right) / 2))
        groups.setdefault(place, []).append(line)
    ordered: list[list[Line]] = []
    for place in sorted(groups):
        if place[0] % 2 and ordered and _is_wide(ordered[-1][0], gutters):
            ordered[-1] += groups[place]
        else:
            ordered.append(groups[place])
    return ordered


def _is_wide(line: Line, gutters: Sequence[float]) -> bool:
    """Whether a line runs over two columns, by a good deal on both sides; words in a figure do less."""
    reach = 4 * line.size
    return any(line.left < gutter - reach and line.right > gutter + reach for gutter in gutters)


def _rows(lines: Sequence[Line]) -> list[Line]:
    """Neighbours that stand on one base line, joined: words far apart."""
    rows: list[Line] = []
    for line in lines:
        before = rows[-1] if rows else None
        if (
            before
            and not (before.table or line.table)
            and line.left >= before.right - 1
            and abs(before.base - line.base) < 0.4 * min(before.size, line.size)
        ):
            rows[-1] = replace(
                before,
                text=f"{before.text} {line.text}",
                right=line.right,
                size=max(before.size, line.size),
                bold=before.bold and line.bold,
                box=union((before.box, line.box)),
            )
        else:
            rows.append(line)
    return rows
