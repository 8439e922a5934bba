"""Lines of a page in reading order into paragraphs and headings, and their text with parted words mended. Pure."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from ingest.formats.page import SOFT_HYPHEN, Line, Page

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
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_WORD_BEFORE = re.compile(_WORD.pattern + r"\Z")
_IDEOGRAPH = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


class Scale:
    """The document's type sizes, as far as it has been read: which is the body's, and which rank larger ones have."""

    def __init__(self) -> None:
        self._sizes: Counter[float] = Counter()
        self._bold = 0

    def learn(self, lines: Sequence[Line]) -> None:
        """Take in the lines of further pages, whose paragraphs are to be judged next."""
        sizes = self._sizes
        for line in lines:
            sizes[_rounded(line.size)] += len(line.text)
            self._bold += len(line.text) * line.bold
        self.body = sizes.most_common(1)[0][0] if sizes else 0.0
        body = [line for line in lines if abs(line.size - self.body) < 0.6]
        edges = Counter(round(line.left) for line in body)
        self._edges = [edge for edge, times in edges.items() if times >= max(2, 0.02 * len(body))]
        centres = Counter(round((line.left + line.right) / 2) for line in body)
        self._centres = [centre for centre, times in centres.items() if times >= max(4, 0.05 * len(body))]
        self._body_is_bold = self._bold * 2 > sizes.total()
        larger = sorted((size for size in sizes if size > self.body * _LARGER), reverse=True)
        self._ranks: dict[float, int] = {}
        rank, before = 0, 0.0
        for size in larger:
            # Sizes within a twentieth are the same to the eye.
            rank += size < before * 0.95 or not before
            before = size if size < before * 0.95 or not before else before
            self._ranks[size] = min(rank, 4)
        self._below = min(rank, 4) + 1

    def is_title(self, line: Line) -> bool:
        """Whether the type is large enough for a document's title."""
        return line.size > self.body * _TITLE_LARGER

    def _aligned(self, line: Line, page: Page) -> bool:
        """Whether a line stands where text begins, or in the middle: words in figures mostly do neither."""
        if any(abs(line.left - edge) < 2.5 for edge in self._edges):
            return True
        middle = (line.left + line.right) / 2
        return any(abs(middle - centre) < 0.02 * page.width for centre in (page.width / 2, *self._centres))

    def heading_level(self, paragraph: Sequence[Line], text: str, page: Page) -> int:
        """The level of a heading, 0 for any other paragraph."""
        if len(text) > _HEADING_CHARS or len(paragraph) > 3 or not text[0].isalnum():
            return 0
        letters = sum(c.isalpha() for c in text)
        if letters < 3 or letters < _LETTERS * len("".join(text.split())) or not self._aligned(paragraph[0], page):
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


def is_item(text: str) -> bool:
    """Whether a text begins as an item of a list does."""
    return bool(_ITEM.match(text))


def goes_on(last: Line, first: Line) -> bool:
    """Whether a sentence that breaks off at the foot of a column may go on with that line, at the head of the next."""
    return (
        not (last.table or first.table)
        and last.turn == first.turn
        and first.base < last.base - last.size
        and first.left > last.left
        and abs(first.size - last.size) < 0.06 * last.size
        and first.text[:1].islower()
        and not _SENTENCE_END.search(last.text)
    )


def paragraphs(lines: Sequence[Line], scale: Scale) -> Iterable[list[Line]]:
    """Lines in reading order, grouped; a table stands by itself."""
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


def _starts_paragraph(paragraph: Sequence[Line], line: Line, pitch: float, scale: Scale) -> bool:
    before = paragraph[-1]
    if before.table or line.table:
        return True
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


def joined(paragraph: Sequence[Line], words: frozenset[str]) -> str:
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


def vocabulary(lines: Iterable[Line]) -> frozenset[str]:
    """The words of the document that stand within a line, in lower case."""
    return frozenset(word.lower() for line in lines for word in _WORD.findall(line.text))
