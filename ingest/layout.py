"""Lines of text on pages into reading order, paragraphs and headings. Pure: it knows nothing of PDF.

Lengths are in points; `y` grows downwards.
"""

import itertools
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from ingest.blocks import Blocks
from rag.types import Kind

# Running heads and feet: how much of a page's height they may stand in, on what share of pages they must repeat,
# and from how many pages on repeating means anything.
_MARGIN = 0.085
_REPEATED = 0.6
_FEWEST_PAGES = 4

_LARGER = 1.12  # times the body's size: type that stands out
_TITLE_LARGER = 1.25
_HEADING_CHARS = 160
_LETTERS = 0.5  # of a heading's characters; formulas have fewer
_NUMBERED = re.compile(r"(?:[A-Z]|\d{1,2})(?:\.\d{1,2})*\.?\s+\S*[^\W\d_]")
_NUMBER = re.compile(r"(?P<number>(?:[A-Z]|\d{1,2})(?:\.\d{1,2})*)\.?\s")
# Headings that nothing but their numbers mark: "II. Related Work", and "3.1 TASKS" in small capitals, which pdfium
# reports as small type.
_MARKED = re.compile(r"(?P<number>[IVX]{1,5}\.)\s[^\W\d_]|(?P<dotted>\d{1,2}(?:\.\d{1,2})*\.?)\s[^\Wa-z\d_]{3}[^a-z]*$")
_ITEM = re.compile(r"(?:[•‣▪◦●○■–—*]|\(?\d{1,2}[.)]|\([a-z]\)|[a-z]\))\s")
_SENTENCE_END = re.compile(r"[.!?:。！？][\"'”’)\]]*$")
# Stands for a hyphen that ends a line.
SOFT_HYPHEN = "\u00ad"
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_WORD_BEFORE = re.compile(_WORD.pattern + r"\Z")
_IDEOGRAPH = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or the part of one between two wide gaps.

    `base` is where its letters stand, `size` that of its type, `upright` says that it is not turned by a quarter, as
    stamps in margins are.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    bold: bool
    upright: bool = True

    @property
    def middle(self) -> float:
        return self.base - 0.3 * self.size


@dataclass(frozen=True, slots=True)
class Page:
    """A page by its number from 1, and its lines in the order in which the file draws them."""

    number: int
    width: float
    height: float
    lines: list[Line]


def arrange(pages: Sequence[Page]) -> tuple[Blocks, str]:
    """The pages' lines as blocks, in reading order and without running heads and feet; and the title in print.

    The title is the largest heading of the first page with text, empty where that is not clearly larger than the body.
    """
    repeated = _running(pages)
    kept = [
        Page(
            page.number,
            page.width,
            page.height,
            [x for x in page.lines if (page.number, _masked(x.text)) not in repeated or not _in_margin(x, page)],
        )
        for page in pages
    ]
    if not any(page.lines for page in kept):
        kept = list(pages)
    lines = [line for page in kept for line in page.lines]
    scale, words = _Scale(lines), _vocabulary(lines)
    blocks = Blocks()
    title, title_size, first = "", scale.body * _TITLE_LARGER, next(page.number for page in kept if page.lines)
    for page in kept:
        for column in _columns(page):
            for paragraph in _paragraphs(column, scale):
                text = _joined(paragraph, words)
                level = scale.heading_level(paragraph, text, page)
                if level:
                    blocks.heading(text, level, page.number)
                    if page.number == first and paragraph[0].size > title_size:
                        title, title_size = text, paragraph[0].size
                else:
                    blocks.add(text, Kind.LIST_ITEM if _ITEM.match(text) else Kind.PARAGRAPH, page.number)
    return blocks, title


# -- running heads and feet -----------------------------------------------------------------------------------------


def _masked(text: str) -> str:
    return re.sub(r"\d+", "#", "".join(text.split())).casefold()


def _in_margin(line: Line, page: Page) -> bool:
    return not page.height * _MARGIN < line.middle < page.height * (1 - _MARGIN)


def _running(pages: Sequence[Page]) -> set[tuple[int, str]]:
    """The (page, masked text) of lines in the margins that repeat on most pages, or on most left or right ones."""
    if len(pages) < _FEWEST_PAGES:
        return set()
    margins = {page.number: {_masked(line.text) for line in page.lines if _in_margin(line, page)} for page in pages}
    found = set()
    for group in (pages, pages[::2], pages[1::2]):
        counts = Counter(text for page in group for text in margins[page.number])
        enough = max(3, _REPEATED * len(group))
        found |= {(page.number, text) for page in group for text in margins[page.number] if counts[text] >= enough}
    return found


# -- reading order --------------------------------------------------------------------------------------------------


def _columns(page: Page) -> list[list[Line]]:
    """The page's lines in reading order, grouped so that no paragraph's lines are parted by another column.

    Where a page clearly has two columns, each stretch between full-width lines is read left, then right. Elsewhere the
    file's own order holds: it is the author's, and on a page of tables, notes or three columns the better guess.
    """
    lines = [line for line in page.lines if line.upright]
    turned = [line for line in page.lines if not line.upright]
    gutter = _gutter(lines, page)
    ordered = [_rows(lines)] if gutter is None else [_rows(group) for group in _bands(lines, gutter)]
    return ordered + [[line] for line in turned]


def _gutter(lines: Sequence[Line], page: Page) -> float | None:
    """Where the blank between two columns of running text is, None where the page is not clearly so."""
    if len(lines) < 16:
        return None
    best, fewest = None, len(lines) * 0.25
    for step in range(40, 61):
        at = page.width * step / 100
        left = [line for line in lines if line.right <= at]
        right = [line for line in lines if line.left >= at]
        crossing = len(lines) - len(left) - len(right)
        if crossing >= fewest or min(len(left), len(right)) < 6:
            continue
        # Two columns of a table are short; lines of running text fill their column.
        if min(_filled(left, page), _filled(right, page)) < 0.5:
            continue
        best, fewest = at, crossing
    return best


def _filled(lines: Sequence[Line], page: Page) -> float:
    """The share of lines that are long enough to be those of a column of text."""
    return sum(line.right - line.left > page.width * 0.25 for line in lines) / len(lines)


def _bands(lines: Sequence[Line], gutter: float) -> list[list[Line]]:
    """Lines grouped: each stretch between lines of full width left, then right, and those lines by themselves.

    Within a group the file's order stays: it keeps the words of a figure together, which places would scatter.
    """
    wide = sorted({line.middle for line in lines if _is_wide(line, gutter)})
    groups: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        if _is_wide(line, gutter):
            place = (2 * bisect_left(wide, line.middle) + 1, 0)
        else:
            place = (2 * bisect_left(wide, line.middle), int(line.left + line.right > 2 * gutter))
        groups.setdefault(place, []).append(line)
    ordered: list[list[Line]] = []
    for place in sorted(groups):
        if place[0] % 2 and ordered and _is_wide(ordered[-1][0], gutter):
            ordered[-1] += groups[place]
        else:
            ordered.append(groups[place])
    return ordered


def _is_wide(line: Line, gutter: float) -> bool:
    """Whether a line runs over both columns, by a good deal on both sides; words in a figure do less."""
    reach = 4 * line.size
    return line.left < gutter - reach and line.right > gutter + reach


def _rows(lines: Sequence[Line]) -> list[Line]:
    """Neighbours that stand on one base line, joined: cells of a table, words far apart."""
    rows: list[Line] = []
    for line in lines:
        before = rows[-1] if rows else None
        if (
            before
            and line.left >= before.right - 1
            and abs(before.base - line.base) < 0.4 * min(before.size, line.size)
        ):
            size, bold = max(before.size, line.size), before.bold and line.bold
            rows[-1] = Line(f"{before.text} {line.text}", before.left, line.right, before.base, size, bold)
        else:
            rows.append(line)
    return rows


# -- paragraphs and headings ----------------------------------------------------------------------------------------


class _Scale:
    """The document's type sizes: which is the body's, and which rank larger ones have."""

    def __init__(self, lines: Sequence[Line]) -> None:
        sizes: Counter[float] = Counter()
        bold = 0
        for line in lines:
            sizes[_rounded(line.size)] += len(line.text)
            bold += len(line.text) * line.bold
        self.body = sizes.most_common(1)[0][0] if sizes else 0.0
        body = [line for line in lines if abs(line.size - self.body) < 0.6]
        edges = Counter(round(line.left) for line in body)
        self._edges = [edge for edge, times in edges.items() if times >= max(2, 0.02 * len(body))]
        centres = Counter(round((line.left + line.right) / 2) for line in body)
        self._centres = [centre for centre, times in centres.items() if times >= max(4, 0.05 * len(body))]
        self._body_is_bold = bold * 2 > sizes.total()
        larger = sorted((size for size in sizes if size > self.body * _LARGER), reverse=True)
        self._ranks: dict[float, int] = {}
        rank, before = 0, 0.0
        for size in larger:
            # Sizes within a twentieth are the same to the eye.
            rank += size < before * 0.95 or not before
            before = size if size < before * 0.95 or not before else before
            self._ranks[size] = min(rank, 4)
        self._below = min(rank, 4) + 1

    def _aligned(self, line: Line, page: Page) -> bool:
        """Whether a line stands where text begins, or in the middle: words in figures mostly do neither."""
        if any(abs(line.left - edge) < 2.5 for edge in self._edges):
            return True
        middle = (line.left + line.right) / 2
        return any(abs(middle - centre) < 0.02 * page.width for centre in (page.width / 2, *self._centres))

    def heading_level(self, paragraph: Sequence[Line], text: str, page: Page) -> int:
        """The level of a heading, 0 for any other paragraph."""
        letters = sum(c.isalpha() for c in text)
        if len(text) > _HEADING_CHARS or len(paragraph) > 3 or letters < 3 or not text[0].isalnum():
            return 0
        if letters < _LETTERS * len("".join(text.split())) or not self._aligned(paragraph[0], page):
            return 0
        size = _rounded(max(line.size for line in paragraph))
        bold = all(line.bold for line in paragraph) and not self._body_is_bold
        numbered = _NUMBERED.match(text)
        large = size > self.body * _LARGER
        if len(paragraph) == 1 and (marked := _MARKED.match(text)) and not text.endswith("."):
            return 2 + (marked["dotted"] or "").strip(".").count(".")
        if text.endswith((".", ",", ";", ":")) and not (large and numbered):
            return 0
        if not large and not (bold and size > self.body * 0.93):
            return 0
        if numbered and (found := _NUMBER.match(text)):
            return 2 + found["number"].count(".")
        return self._ranks.get(size, 1) if large else self._below


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _paragraphs(lines: Sequence[Line], scale: _Scale) -> Iterable[list[Line]]:
    if not lines:
        return
    pitches = [b.base - a.base for a, b in itertools.pairwise(lines) if 0 < b.base - a.base < 3 * a.size]
    pitch = median(pitches) if pitches else 0.0
    paragraph = [lines[0]]
    for line in lines[1:]:
        if _starts_paragraph(paragraph, line, pitch, scale):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    yield paragraph


def _starts_paragraph(paragraph: Sequence[Line], line: Line, pitch: float, scale: _Scale) -> bool:
    before = paragraph[-1]
    step = line.base - before.base
    if step < -before.size:
        # The next column, or a place further up: the sentence may go on there.
        return bool(_SENTENCE_END.search(before.text)) or not line.text[:1].islower()
    large = min(before.size, line.size) > scale.body * _LARGER
    if step > (before.size * 1.6 if large else max(pitch * 1.35, before.size * 1.25)):
        return True
    if abs(line.size - before.size) > 0.12 * max(before.size, line.size):
        return True
    if line.bold is not before.bold and (len(before.text) < _HEADING_CHARS and len(paragraph) < 4):
        return True
    if _ITEM.match(line.text):
        return True
    # An indented first line, behind a line that ends a sentence.
    return line.left - before.left > 0.8 * line.size and len(paragraph) > 1 and bool(_SENTENCE_END.search(before.text))


def _joined(paragraph: Sequence[Line], words: frozenset[str]) -> str:
    """The paragraph's text: lines that fill it run on, shorter ones keep their break, as in tables and addresses."""
    right = max(line.right for line in paragraph)
    text = paragraph[0].text
    for before, line in itertools.pairwise(paragraph):
        if text.endswith((SOFT_HYPHEN, "-")) and text[-2:-1].isalpha():
            text = _mended(text[:-1], line.text, words)
        elif _IDEOGRAPH.match(text[-1]) and _IDEOGRAPH.match(line.text[0]):
            text += line.text
        else:
            # Had the next word found room, whoever set the line broke it on purpose.
            letter = (before.right - before.left) / len(before.text)
            next_word = letter * (1 + len(line.text.split(" ", 1)[0]))
            text += (" " if right - before.right < 1.2 * next_word else "\n") + line.text
    return text.replace(SOFT_HYPHEN, "-")


def _mended(text: str, rest: str, words: frozenset[str]) -> str:
    """A word that a hyphen parts at the end of a line, with the hyphen only where the document writes it elsewhere."""
    head, tail = _WORD_BEFORE.search(text), _WORD.match(rest)
    if not head or not tail or not rest[0].islower():
        return f"{text}-{rest}"
    left, right = head.group().lower(), tail.group().lower()
    if f"{left}-{right}" in words or ("-" in left and left + right not in words):
        return f"{text}-{rest}"
    return text + rest


def _vocabulary(lines: Iterable[Line]) -> frozenset[str]:
    """The words of the document that stand within a line, in lower case."""
    return frozenset(word.lower() for line in lines for word in _WORD.findall(line.text))
