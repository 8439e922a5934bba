"""PDF: the text of each page with the place of every line. The only door to pypdfium2.

Characters with their boxes become lines here; lines become paragraphs, headings and tables in `layout`. Every call
into pdfium has its price: text is fetched by the page, places by the word, type by a few characters of a line.
"""

import ctypes
import itertools
import math
import re
import threading
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from ingest.formats.layout import Arrangement
from ingest.formats.ocr import PageReader
from ingest.formats.page import SOFT_HYPHEN, Bookmark, Line, Page, Rule, turned
from ingest.formats.pictures import Look, Pictures
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Box, Document

# pdfium is not safe for threads: one document at a time.
_one_at_a_time = threading.Lock()

_PASSWORD_ERROR = 4
_BOLD_WEIGHT = 600
# A blank this many times as wide as the type is high parts two columns or two cells, not two words.
_COLUMN_GAP = 0.9
_RAISED = 0.5  # of its height: by how much more a word's middle may lie off the line that it belongs to
# pdfium replaces a hyphen at the end of a line by one of these and leaves the line break out.
_HYPHENS = "\x02\ufffe"
_LINE = re.compile(f"([^\r\n{_HYPHENS}]+)([{_HYPHENS}]?)")
_WORD = re.compile(r"\S+")
_ALEF_LAM = re.compile("[\u0627\u0623\u0625\u0622]\u0644")
# What programs write into the title field when nobody does.
_JUNK_TITLE = re.compile(
    r"^(?:untitled|microsoft (?:word|powerpoint)|slide 1|document\d*$)|\.\w{2,4}$|^\W*$", re.IGNORECASE
)
# Glyphs without a meaning: what fonts without a table of characters leave of their text.
_MEANINGLESS = re.compile("[\x00\ue000-\uf8ff\ufffd]")

_Edges = tuple[float, float, float, float]  # left, bottom, right, top as the file counts them

_MOST_PICTURE_PIXELS = 40_000_000
_MOST_OBJECTS = 20_000  # on a page, looked at for rules and images
_MOST_SEGMENTS = 400  # of one path
_MOST_BOOKMARKS = 20_000
_THIN = 3.0  # points: what is thinner is a rule, not a surface
_SCAN_LETTERS = 16  # a page of fewer that an image fills is a scan with a stamp
_SCAN_AREA = 0.6
_OUTLINED_TEXT = 200  # this many paths and no letter: text drawn as shapes
# pdfium keeps every object that it has read; a document of thousands of pages is opened anew now and then.
_PAGES_AT_A_TIME = 512
_PAGE_LABELS_CHARS = 400


def parse_pdf(
    data: bytes, source: str, ocr: bool = True, ocr_languages: str = "", look: Look | None = None
) -> Document:
    """A PDF's text, page by page; lines at the head and foot that repeat from page to page are left out.

    What pictures show is told below the text of their page if somebody is to `look`.
    Pages that are images are read by OCR where `ocr` is set and it is installed; the others of their document are read
    anyhow, and `metadata["pages_without_text"]` names those that were not ("3, 5-7"). `metadata["page_labels"]` tells
    how the document counts its pages where that is not 1, 2, 3 ("1=i, 13=1": page 1 is i, page 13 is 1).

    Raises UnreadableDocument (encrypted, damaged), NeedsOcr where no page holds text and some hold images,
    EmptyDocument where there is neither.
    """
    reader = PageReader(source, ocr, ocr_languages)
    arrangement, pictures = Arrangement(), Pictures(look)
    with _one_at_a_time:
        pdf = _open(data, source)
        try:
            title, labels = str(pdf.get_metadata_value("Title")), _page_labels(pdf)
            arrangement.expect(_bookmarks(pdf))
            count = len(pdf)
            for number in range(1, count + 1):
                if number % _PAGES_AT_A_TIME == 0:
                    pdf.close()
                    pdf = _open(data, source)
                arrangement.add(_read_page(pdf, number, reader, pictures))
        finally:
            pdf.close()
    blocks, printed_title = arrangement.finish()
    if blocks.is_empty:
        reader.complain()
        raise EmptyDocument(
            f"{source} holds no text" + (", and OCR found none in its images" if reader.metadata() else "")
        )
    if not printed_title and not _JUNK_TITLE.search(title):
        printed_title = title
    metadata = reader.metadata() | pictures.metadata() | ({"page_labels": labels} if labels else {})
    return blocks.document(source, printed_title, "pdf", metadata)


def _open(data: bytes, source: str) -> Any:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
        if pdf.get_formtype() != pypdfium2.raw.FORMTYPE_NONE:
            pdf.init_forms()
        return pdf
    except pypdfium2.PdfiumError as exc:
        if exc.err_code == _PASSWORD_ERROR:
            raise UnreadableDocument(f"{source} is encrypted: save it without a password") from exc
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc


def _read_page(pdf: Any, number: int, reader: PageReader, pictures: Pictures) -> Page:
    import pypdfium2

    try:
        page = pdf[number - 1]
        if pdf.formenv and page.flatten() == pypdfium2.raw.FLATTEN_SUCCESS:
            # What is filled into a form becomes text of the page, once that is read anew.
            page.close()
            page = pdf[number - 1]
    except pypdfium2.PdfiumError:
        # One broken page must not cost the others.
        return Page(number, 0.0, 0.0)
    try:
        text = page.get_textpage()
        try:
            read = _Glyphs(page, text).page(number)
        finally:
            text.close()
        if read.is_scan:
            scan = reader.read(number, read.width, read.height, lambda scale: page.render(scale=scale).to_pil())
            if scan:
                return scan
        return replace(read, pictured=tuple(filter(None, map(pictures.words, _pictures_on(page, pictures)))))
    finally:
        page.close()


def _pictures_on(page: Any, pictures: Pictures) -> Iterator[Any]:
    """The pictures that stand on a page, while they are wanted."""
    import pypdfium2
    import pypdfium2.raw as raw

    if not pictures.wanted:
        return
    for drawn in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        try:
            across, down = drawn.get_px_size()
            if pictures.wanted and across * down <= _MOST_PICTURE_PIXELS:
                yield drawn.get_bitmap().to_pil()
        except (pypdfium2.PdfiumError, ValueError, NotImplementedError):
            continue  # in a form that is not supported, or damaged


# -- the document's own words about itself --------------------------------------------------------------------------


def _bookmarks(pdf: Any) -> list[Bookmark]:
    import pypdfium2

    found: list[Bookmark] = []
    try:
        for entry in pdf.get_toc(max_depth=6):
            target = entry.get_dest()
            index = target.get_index() if target else None
            if index is not None:
                found.append(Bookmark(entry.get_title(), entry.level + 1, index + 1))
            if len(found) >= _MOST_BOOKMARKS:
                break
    except (pypdfium2.PdfiumError, UnicodeDecodeError, ValueError):
        # What was read of a damaged outline is as true as before.
        return found
    return found


def _page_labels(pdf: Any) -> str:
    """How the document counts its pages, as "1=i, 13=1"; "" where that is 1, 2, 3, or no rule to speak of."""
    if not pdf.get_page_label(0):
        return ""
    runs: list[str] = []
    expected = ""
    for index in range(len(pdf)):
        label = " ".join(pdf.get_page_label(index).split())
        if label != expected and len(runs) * 5 < _PAGE_LABELS_CHARS:
            runs.append(f"{index + 1}={label}")
        expected = _next_label(label)
    told = ", ".join(runs)
    return told if told != "1=1" and len(told) <= _PAGE_LABELS_CHARS else ""


def _next_label(label: str) -> str:
    if number := re.search(r"\d+$", label):
        return f"{label[: number.start()]}{int(number.group()[-9:]) + 1}"
    if re.fullmatch(r"[ivxlc]+|[IVXLC]+", label) and (value := _from_roman(label.lower())):
        roman = _to_roman(value + 1)
        return roman if label.islower() else roman.upper()
    return ""


_ROMAN = ((100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


def _to_roman(value: int) -> str:
    text = ""
    for worth, letters in _ROMAN:
        text += letters * (value // worth)
        value %= worth
    return text


def _from_roman(text: str) -> int:
    worth = {letter: value for value, letter in _ROMAN if len(letter) == 1}
    values = [worth[letter] for letter in text[:12]]
    return sum(-one if one < other else one for one, other in zip(values, [*values[1:], 0], strict=True))


# -- one page -------------------------------------------------------------------------------------------------------


class _Glyphs:
    """One open page: what is written and drawn on it, in the coordinates in which a reader sees it."""

    def __init__(self, page: Any, textpage: Any) -> None:
        import pypdfium2.raw as raw

        self._raw = raw
        self._page = page.raw
        self._text = textpage.raw
        left, bottom, right, top = page.get_bbox()
        self._bounds = (left, bottom, right, top)
        self._rotation = page.get_rotation() // 90 % 4
        across, down = right - left, top - bottom
        across, down = max(1.0, across), max(1.0, down)
        self.width, self.height = (down, across) if self._rotation % 2 else (across, down)
        self._rectangle = raw.FS_RECTF()
        self._matrix = raw.FS_MATRIX()
        self._font_name, self._font_flags = ctypes.create_string_buffer(128), ctypes.c_int()

    def page(self, number: int) -> Page:
        rules, images, paths = self._drawn()
        walls = sorted((rule for rule in rules if rule.left == rule.right), key=lambda rule: rule.left)
        lines = list(self._lines(walls))
        letters = sum(len(line.text) for line in lines)
        if letters and sum(len(_MEANINGLESS.findall(line.text)) for line in lines) > letters / 2:
            lines, letters, images = [], 0, 1.0
        is_scan = images > _SCAN_AREA if 0 < letters < _SCAN_LETTERS else not letters and (images > 0 or paths > 0)
        return Page(number, self.width, self.height, lines, rules, is_scan=is_scan)

    def _shown(self, left: float, bottom: float, right: float, top: float) -> Box:
        """A box in the file's coordinates, on the page as it is shown."""
        x0, y0, x1, y1 = self._bounds
        match self._rotation:
            case 1:
                return bottom - y0, left - x0, top - y0, right - x0
            case 2:
                return x1 - right, bottom - y0, x1 - left, top - y0
            case 3:
                return y1 - top, x1 - right, y1 - bottom, x1 - left
            case _:
                return left - x0, y1 - top, right - x0, y1 - bottom

    # -- text --

    def _characters(self) -> str:
        """The page's text, one character for each of pdfium's: its places are pdfium's indices."""
        raw, handle = self._raw, self._text
        count = max(0, raw.FPDFText_CountChars(handle))
        buffer = (ctypes.c_ushort * (count + 1))()
        if count and raw.FPDFText_GetText(handle, 0, count, buffer) == count + 1:
            text = bytes(buffer)[: 2 * count].decode("utf-16-le", "replace")
            if len(text) == count:
                return text
        # Characters beyond the first plane are two in that text, characters without a meaning none.
        codes = (raw.FPDFText_GetUnicode(handle, index) for index in range(count))
        return "".join(chr(code) if code < 0xD800 or 0xE000 <= code <= 0x10FFFF else "\0" for code in codes)

    def _unligatured(self, text: str) -> str:
        """The text with lam and alef in their order: pdfium turns two round that are one glyph."""
        characters = list(text)
        for match in _ALEF_LAM.finditer(text):
            at = match.start()
            if self._char_left(at) == self._char_left(at + 1):
                characters[at], characters[at + 1] = characters[at + 1], characters[at]
        return "".join(characters)

    def _char_left(self, index: int) -> float:
        box = self._rectangle
        return float(box.left) if self._raw.FPDFText_GetLooseCharBox(self._text, index, box) else math.nan

    def _lines(self, walls: list[Rule]) -> Iterator[Line]:
        """The page's lines as pdfium has them, cut at wide gaps and where a rule stands between two words."""
        text = self._characters()
        if _ALEF_LAM.search(text):
            text = self._unligatured(text)
        for match in _LINE.finditer(text):
            words: list[str] = []
            firsts: list[int] = []
            boxes: list[_Edges] = []
            quarter, end, lowest, highest, hyphen = 0, 0.0, 0.0, 0.0, match[2]
            for word in _WORD.finditer(text, *match.span(1)):
                box = self._word_box(word.start(), word.end())
                if box is None:
                    words.append(word[0])
                    continue
                if not boxes:
                    quarter = self._quarter(word.start())
                start, stop, low, high = _along(box, quarter) if quarter else (box[0], box[2], box[1], box[3])
                if boxes and (
                    start - end > _COLUMN_GAP * (high - low)
                    # pdfium sees no line breaks in what is turned.
                    or not lowest - _RAISED * (high - low) < (low + high) / 2 < highest + _RAISED * (high - low)
                    or (walls and not quarter and self._parted(boxes[-1], box, walls))
                ):
                    yield from self._line(words, firsts, boxes, quarter)
                    words, firsts, boxes = [], [], []
                    quarter = self._quarter(word.start())
                    start, stop, low, high = _along(box, quarter)
                if boxes:
                    end, lowest, highest = max(end, stop), min(lowest, low), max(highest, high)
                else:
                    end, lowest, highest = stop, low, high
                words.append(word[0])
                firsts.append(word.start())
                boxes.append(box)
            if hyphen and words:
                words[-1] += SOFT_HYPHEN
            yield from self._line(words, firsts, boxes, quarter)

    def _parted(self, before: _Edges, after: _Edges, walls: list[Rule]) -> bool:
        """Whether a rule stands between two words, or touches them by a little."""
        left, top, right, bottom = self._shown(before[2], after[1], after[0], after[3])
        if right < left or bottom < top:
            return False
        middle = (top + bottom) / 2
        near = itertools.islice(walls, bisect_left(walls, left - 1, key=lambda rule: rule.left), None)
        return any(
            rule.top < middle < rule.bottom for rule in itertools.takewhile(lambda rule: rule.left < right + 1, near)
        )

    def _word_box(self, start: int, end: int) -> _Edges | None:
        """Left, bottom, right and top of a word in the file's coordinates, None where it leaves no ink."""
        box, get, handle = self._rectangle, self._raw.FPDFText_GetLooseCharBox, self._text
        while not get(handle, start, box) or box.right <= box.left:
            start += 1
            if start >= end:
                return None
        left, bottom, right, top = box.left, box.bottom, box.right, box.top
        # From the other end to the first that leaves ink: between them is nothing that reaches further.
        while end - 1 > start:
            end -= 1
            if get(handle, end, box) and box.right > box.left:
                return min(left, box.left), min(bottom, box.bottom), max(right, box.right), max(top, box.top)
        return left, bottom, right, top

    def _quarter(self, index: int) -> int:
        """How many quarter turns, against the clock, a character is turned by in the file's coordinates."""
        matrix = self._matrix
        self._raw.FPDFText_GetMatrix(self._text, index, matrix)
        if not matrix.b or matrix.a * matrix.d < matrix.b * matrix.c:
            # Not turned at all, or mirrored: then turned back by the font.
            return 2 if matrix.a < 0 and matrix.d < 0 else 0
        return round(math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4

    def _line(self, words: list[str], firsts: list[int], boxes: list[_Edges], quarter: int) -> Iterator[Line]:
        if not boxes:
            return
        lefts, bottoms, rights, tops = zip(*boxes, strict=True)
        box = self._shown(min(lefts), min(bottoms), max(rights), max(tops))
        turn = (self._rotation - quarter) % 4
        left, _, right, _ = turned(box, turn, self.width, self.height)
        size, base, bold = self._style(firsts, turn)
        yield Line(" ".join(words), left, right, base, size, bold, box, turn)

    def _style(self, firsts: list[int], turn: int) -> tuple[float, float, bool]:
        """Size, base line and boldness of a line, by three of its words.

        Their middle leaves superscripts and initials out; a line is bold where all of them are.
        """
        raw, matrix = self._raw, self._matrix
        x, y = ctypes.c_double(), ctypes.c_double()
        sizes, bases = [], []
        samples = firsts if len(firsts) < 3 else (firsts[0], firsts[len(firsts) // 2], firsts[-1])
        for index in samples:
            raw.FPDFText_GetMatrix(self._text, index, matrix)
            raw.FPDFText_GetCharOrigin(self._text, index, x, y)
            # A font of size 1 in a matrix that enlarges it is as common as one of size 10.
            sizes.append(raw.FPDFText_GetFontSize(self._text, index) * (math.hypot(matrix.c, matrix.d) or 1.0))
            point = self._shown(x.value, y.value, x.value, y.value)
            bases.append(turned(point, turn, self.width, self.height)[1])
        return median(sizes), median(bases), all(self._is_bold(index) for index in samples)

    def _is_bold(self, index: int) -> bool:
        if self._raw.FPDFText_GetFontWeight(self._text, index) >= _BOLD_WEIGHT:
            return True
        name = self._font_name
        length = self._raw.FPDFText_GetFontInfo(self._text, index, name, 128, self._font_flags)
        # Fonts are named like ABCDEF+NimbusRomNo9L-Medi or Arial,Bold, and often have no weight.
        lowered = name.value.lower() if 0 < length <= 128 else b""
        return any(mark in lowered for mark in (b"bold", b"black", b"heavy", b"-medi", b"cmbx"))

    # -- drawings --

    def _drawn(self) -> tuple[list[Rule], float, int]:
        """Rules; the share of the page that its largest image covers; and the number of paths where those are many."""
        raw = self._raw
        rules: list[Rule] = []
        image, paths = 0.0, 0
        area = max(1.0, self.width * self.height)
        for index in range(min(raw.FPDFPage_CountObjects(self._page), _MOST_OBJECTS)):
            drawn = raw.FPDFPage_GetObject(self._page, index)
            kind = raw.FPDFPageObj_GetType(drawn)
            if kind == raw.FPDF_PAGEOBJ_TEXT:
                continue
            box = self._bounds_of(drawn)
            if box is None:
                continue
            if kind == raw.FPDF_PAGEOBJ_PATH:
                paths += 1
                rules += self._rules(drawn, box)
            elif kind in (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM):
                image = max(image, min(1.0, (box[2] - box[0]) * (box[3] - box[1]) / area))
        return rules, image, paths if paths >= _OUTLINED_TEXT else 0

    def _bounds_of(self, drawn: Any) -> Box | None:
        left, bottom, right, top = (ctypes.c_float() for _ in range(4))
        if not self._raw.FPDFPageObj_GetBounds(drawn, left, bottom, right, top):
            return None
        return self._shown(left.value, bottom.value, right.value, top.value)

    def _rules(self, path: Any, box: Box) -> Iterator[Rule]:
        """The straight lines of a path that run along the page or down it; a rectangle has four."""
        left, top, right, bottom = box
        if right - left < _THIN and bottom - top < _THIN:
            return
        if bottom - top < _THIN:
            yield Rule(left, (top + bottom) / 2, right, (top + bottom) / 2)
        elif right - left < _THIN:
            yield Rule((left + right) / 2, top, (left + right) / 2, bottom)
        else:
            for one, other in self._segments(path):
                x0, x1 = sorted((one[0], other[0]))
                y0, y1 = sorted((one[1], other[1]))
                if (x1 - x0 < 1) != (y1 - y0 < 1):
                    yield Rule(x0, y0, x0, y1) if x1 - x0 < 1 else Rule(x0, y0, x1, y0)

    def _segments(self, path: Any) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
        raw = self._raw
        count = raw.FPDFPath_CountSegments(path)
        if not 0 < count <= _MOST_SEGMENTS or not raw.FPDFPageObj_GetMatrix(path, self._matrix):
            return
        matrix = self._matrix
        x, y = ctypes.c_float(), ctypes.c_float()
        start = before = (0.0, 0.0)
        for index in range(count):
            segment = raw.FPDFPath_GetPathSegment(path, index)
            kind = raw.FPDFPathSegment_GetType(segment)
            if not raw.FPDFPathSegment_GetPoint(segment, x, y):
                return
            across = matrix.a * x.value + matrix.c * y.value + matrix.e
            up = matrix.b * x.value + matrix.d * y.value + matrix.f
            point = self._shown(across, up, across, up)[:2]
            if kind == raw.FPDF_SEGMENT_MOVETO:
                start = point
            elif kind == raw.FPDF_SEGMENT_LINETO:
                yield before, point
            if raw.FPDFPathSegment_GetClose(segment):
                yield point, start
            before = point


def _along(box: _Edges, quarter: int) -> _Edges:
    """Where a word begins and ends in the direction of its reading, and where across."""
    left, bottom, right, top = box
    match quarter:
        case 1:
            return bottom, top, -right, -left
        case 2:
            return -right, -left, -top, -bottom
        case 3:
            return -top, -bottom, left, right
        case _:
            return left, right, bottom, top
