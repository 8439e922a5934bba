"""PDF: the text of each page in reading order, with headings by their type. The only door to pypdfium2.

Characters with their boxes become lines here, lines become paragraphs and headings in `ingest.layout`.
"""

import ctypes
import math
import re
import threading
from collections.abc import Iterator
from statistics import median
from typing import Any

from ingest.layout import SOFT_HYPHEN, Line, Page, arrange
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document

# pdfium is not safe for threads: one document at a time.
_one_at_a_time = threading.Lock()

_PASSWORD_ERROR = 4
_BOLD_WEIGHT = 600
# A blank this many times as wide as the type is high parts two columns or two cells, not two words.
_COLUMN_GAP = 1.3
_SAMPLES = 5
# pdfium replaces a hyphen at the end of a line by one of these and leaves the line break out.
_HYPHENS = frozenset({2, 0xFFFE})
_LINE_ENDS = _HYPHENS | {10, 13}
# What programs write into the title field when nobody does.
_JUNK_TITLE = re.compile(
    r"^(?:untitled|microsoft (?:word|powerpoint)|slide 1|document\d*$)|\.\w{2,4}$|^\W*$", re.IGNORECASE
)


def parse_pdf(data: bytes, source: str) -> Document:
    """A PDF's text, page by page; lines at the head and foot that repeat from page to page are left out.

    Raises UnreadableDocument (encrypted, damaged), EmptyDocument where no page holds text.
    """
    with _one_at_a_time:
        pages, title = _read(data, source)
    if not any(page.lines for page in pages):
        raise EmptyDocument(f"{source} holds no text: scanned? It needs OCR first.")
    blocks, printed_title = arrange(pages)
    return blocks.document(source, printed_title or ("" if _JUNK_TITLE.search(title) else title), "pdf")


def _read(data: bytes, source: str) -> tuple[list[Page], str]:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as exc:
        if exc.err_code == _PASSWORD_ERROR:
            raise UnreadableDocument(f"{source} is encrypted: save it without a password") from exc
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc
    try:
        pages = [_read_page(pdf, number) for number in range(len(pdf))]
        return pages, str(pdf.get_metadata_value("Title"))
    finally:
        pdf.close()


def _read_page(pdf: Any, number: int) -> Page:
    import pypdfium2

    try:
        page = pdf[number]
    except pypdfium2.PdfiumError:
        # One broken page must not cost the others.
        return Page(number + 1, 0.0, 0.0, [])
    try:
        text = page.get_textpage()
        try:
            left, bottom, right, top = page.get_bbox()
            return Page(number + 1, right - left, top - bottom, list(_lines(text, left, top)))
        finally:
            text.close()
    finally:
        page.close()


def _lines(textpage: Any, page_left: float, page_top: float) -> Iterator[Line]:
    """The page's lines as pdfium has them, cut at wide gaps."""
    import pypdfium2.raw as raw

    handle = textpage.raw
    box = raw.FS_RECTF()
    reference = ctypes.byref(box)
    words: list[str] = []
    printed: list[int] = []  # the indices of the line's characters that leave ink
    left = right = top = bottom = height = 0.0

    def line() -> Iterator[Line]:
        text = " ".join("".join(words).split())
        if text and printed:
            size, base, bold = _style(raw, handle, printed)
            upright = len(text) < 4 or right - left > (top - bottom) * 0.8
            yield Line(text, left - page_left, right - page_left, page_top - base, size, bold, upright)

    for index in range(raw.FPDFText_CountChars(handle)):
        code = raw.FPDFText_GetUnicode(handle, index)
        if code in _LINE_ENDS:
            if code in _HYPHENS:
                words.append(SOFT_HYPHEN)
            yield from line()
            words, printed = [], []
            continue
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            continue
        character = chr(code)
        if character.isspace() or not raw.FPDFText_GetLooseCharBox(handle, index, reference) or box.right <= box.left:
            words.append(character)
            continue
        if printed and box.left - right > _COLUMN_GAP * max(height, box.top - box.bottom):
            yield from line()
            words, printed = [], []
        height = box.top - box.bottom
        if printed:
            left, right = min(left, box.left), max(right, box.right)
            top, bottom = max(top, box.top), min(bottom, box.bottom)
        else:
            left, right, top, bottom = box.left, box.right, box.top, box.bottom
        printed.append(index)
        words.append(character)
    yield from line()


def _style(raw: Any, handle: Any, printed: list[int]) -> tuple[float, float, bool]:
    """Size, base line and boldness of a line, by a few of its characters: every call into pdfium has its price.

    The middle of the samples leaves superscripts and initials out; a line is bold where all of them are.
    """
    samples = printed[:: max(1, len(printed) // _SAMPLES)]
    matrix = raw.FS_MATRIX()
    x, y = ctypes.c_double(), ctypes.c_double()
    sizes, bases = [], []
    for index in samples:
        raw.FPDFText_GetMatrix(handle, index, ctypes.byref(matrix))
        raw.FPDFText_GetCharOrigin(handle, index, ctypes.byref(x), ctypes.byref(y))
        # A font of size 1 in a matrix that enlarges it is as common as one of size 10.
        sizes.append(raw.FPDFText_GetFontSize(handle, index) * (math.hypot(matrix.c, matrix.d) or 1.0))
        bases.append(y.value)
    return median(sizes), median(bases), all(_is_bold(raw, handle, index) for index in samples)


def _is_bold(raw: Any, handle: Any, index: int) -> bool:
    if raw.FPDFText_GetFontWeight(handle, index) >= _BOLD_WEIGHT:
        return True
    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    length = raw.FPDFText_GetFontInfo(handle, index, name, 128, ctypes.byref(flags))
    # Fonts are named like ABCDEF+NimbusRomNo9L-Medi or Arial,Bold, and often have no weight.
    lowered = name.value.lower() if 0 < length <= 128 else b""
    return any(mark in lowered for mark in (b"bold", b"black", b"heavy", b"-medi", b"cmbx"))
