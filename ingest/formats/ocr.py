"""Images of text: pictures, and the pages of scanned PDFs, through Tesseract. The only door to pytesseract and Pillow.

Tesseract is a program of its own that the user installs; without it, or without the extra `ocr`, an image is NeedsOcr.
"""

import importlib.util
import io
import itertools
import os
import shutil
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import mean, median
from typing import Any

from ingest.formats.layout import Arrangement
from ingest.formats.page import SOFT_HYPHEN, Line, Page, turned
from ingest.formats.pictures import Look, Pictures
from rag.errors import EmptyDocument, NeedsOcr, UnreadableDocument
from rag.types import Document

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")

_PROGRAM = "tesseract"
_DPI = 300
_POINTS = 72
# What is drawn larger than that is scaled down, and what a file claims beyond the second is a bomb.
_MOST_PIXELS = 25_000_000
_MOST_CLAIMED_PIXELS = 300_000_000
_MOST_PICTURES = 1_000  # in one file
_SECONDS_A_PAGE = 90
_CONFIDENCE = 30.0  # of 100: what Tesseract is less sure of is mostly the grain of a picture
# The average of all words of a page: below the first it may stand on its head, below the second it is no text at all.
_SURE, _UNSURE = 70.0, 40.0
_CREDIBLE_DPI = 150
_MOST_LANGUAGES = 4
_LARGE_TYPE = 1.35


class PageReader:
    """Reads the scanned pages of one document, and remembers which it could not."""

    def __init__(self, source: str, wanted: bool = True, languages: str = "") -> None:
        self._source = source
        self._wanted = wanted
        self._asked_languages = languages
        self._languages = ""
        self._why_not: str | None = None
        self._unread: list[int] = []
        self._read: list[int] = []

    def read(self, number: int, width: float, height: float, draw: Callable[[float], Any]) -> Page | None:
        """A page of that size in points by what can be seen on it, None where nothing can be.

        `draw` makes its picture, with about so many pixels to the point.
        """
        if not self._is_ready():
            self._unread.append(number)
            return None
        picture = draw(min(_DPI / _POINTS, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5))
        paragraphs = self._paragraphs(picture, picture.width / max(1.0, width))
        if not paragraphs:
            self._unread.append(number)
            return None
        self._read.append(number)
        return Page(number, width, height, list(itertools.chain(*paragraphs)), paragraphs=paragraphs)

    def complain(self) -> None:
        """Raise NeedsOcr where pages are without text because OCR is not to be had."""
        if self._why_not is not None and self._unread:
            numbers = ranges(self._unread)
            which = f"page {numbers} is an image" if len(self._unread) == 1 else f"pages {numbers} are images"
            raise NeedsOcr(f"{self._source} needs OCR: {which} without text. {self._why_not}")

    def metadata(self) -> dict[str, str]:
        """Which pages were read by OCR and which have images and no text, as "3, 5-7"."""
        told = {"pages_by_ocr": self._read, "pages_without_text": self._unread}
        return {name: ranges(pages) for name, pages in told.items() if pages}

    def _is_ready(self) -> bool:
        if self._why_not is None and not self._languages:
            self._why_not = _why_not() if self._wanted else "OCR is switched off."
            if self._why_not is None:
                self._languages = self._asked_languages or _installed_languages()
        return self._why_not is None

    def _paragraphs(self, picture: Any, scale: float) -> list[list[Line]]:
        picture = picture.convert("L" if picture.mode in {"1", "I", "I;16", "F"} else "RGB")
        words, quarters = self._words(picture, scale), 0
        if words.sureness < _SURE and (quarters := _quarters_astray(picture)):
            upright = self._words(picture.rotate(-90 * quarters, expand=True), scale)
            words, quarters = (upright, quarters) if upright.sureness > words.sureness else (words, 0)
        if words.sureness < _UNSURE:
            return []
        width, height = picture.width / scale, picture.height / scale
        if quarters % 2:
            width, height = height, width
        return list(words.paragraphs(quarters, width, height))

    def _words(self, picture: Any, scale: float) -> "_Words":
        import pytesseract

        # In a pool of parsers, threads of Tesseract's own take each other's cores.
        os.environ.setdefault("OMP_THREAD_LIMIT", "1")
        try:
            found = pytesseract.image_to_data(
                picture,
                lang=self._languages,
                # Told a resolution that is none, Tesseract takes letters for specks.
                config=f"--dpi {round(scale * _POINTS)}" if scale * _POINTS >= _CREDIBLE_DPI else "",
                output_type=pytesseract.Output.DICT,
                timeout=_SECONDS_A_PAGE,
            )
        except pytesseract.TesseractError as exc:
            if "traineddata" in str(exc) or "language" in str(exc):
                self._why_not = (
                    f"Tesseract has no language {self._languages!r}: install its language pack or choose among"
                    f" {', '.join(pytesseract.get_languages())}."
                )
            return _Words({"text": []}, scale)
        except RuntimeError:
            # It takes too long: a page without text, like one that shows none.
            return _Words({"text": []}, scale)
        return _Words(found, scale)


def parse_image(
    data: bytes, source: str, ocr: bool = True, ocr_languages: str = "", look: Look | None = None
) -> Document:
    """The text in a picture, and what it shows if somebody is to look; of several in a file each is a page.

    Boxes are in points at the picture's own resolution, 72 to the inch where it states none. Raises NeedsOcr where
    Tesseract is not installed, EmptyDocument where it finds no text, UnreadableDocument for a damaged file or one that
    claims a size beyond all reason.
    """
    reader = PageReader(source, ocr, ocr_languages)
    arrangement, pictures = Arrangement(), Pictures(look)
    if importlib.util.find_spec("PIL") is None:
        reader.read(1, 1.0, 1.0, lambda scale: None)
        reader.complain()
    for number, picture in enumerate(_pictures(data, source), start=1):
        density = _density(picture)
        width, height = picture.width / density * _POINTS, picture.height / density * _POINTS
        page = reader.read(number, width, height, partial(_bounded, picture))
        if words := pictures.words(picture):
            page = replace(page or Page(number, width, height), pictured=(words,))
        if page:
            arrangement.add(page)
    blocks, title = arrangement.finish()
    if not pictures.metadata():
        reader.complain()
    if blocks.is_empty:
        raise EmptyDocument(f"{source} shows no text that OCR can read")
    return blocks.document(source, title, "ocr", reader.metadata() | pictures.metadata())


def ranges(numbers: list[int]) -> str:
    """Ascending numbers as "3, 5-7"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)


def _why_not() -> str | None:
    """What is missing for OCR and how to get it, None where nothing is."""
    missing = []
    if any(importlib.util.find_spec(name) is None for name in ("pytesseract", "PIL")):
        missing.append("pip install 'lmstudio-rag[ocr]'")
    if shutil.which(_PROGRAM) is None:
        missing.append("Tesseract (Debian: apt-get install tesseract-ocr, macOS: brew install tesseract)")
    return f"To read it, install: {' and '.join(missing)}, then run again." if missing else None


def _installed_languages() -> str:
    """English and what else is installed, where that is little: each language costs its time on every page."""
    import pytesseract

    try:
        found = [name for name in pytesseract.get_languages() if name not in {"osd", "equ"} and "/" not in name]
    except (pytesseract.TesseractError, subprocess.SubprocessError, OSError):
        found = []
    found.sort(key=lambda name: (name != "eng", name))
    return "+".join(found if len(found) <= _MOST_LANGUAGES else found[:1]) or "eng"


# -- pictures -------------------------------------------------------------------------------------------------------


def _pictures(data: bytes, source: str) -> Iterator[Any]:
    """A file's pictures, each as it is meant to be seen; of an animation only the first."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Its own limit is lower and only warns; ours is looked at before any pixel is decoded.
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            picture = Image.open(io.BytesIO(data))
        count = 1 if picture.format in {"GIF", "WEBP", "PNG"} else getattr(picture, "n_frames", 1)
        for number in range(min(count, _MOST_PICTURES)):
            picture.seek(number)
            if picture.width * picture.height > _MOST_CLAIMED_PIXELS:
                raise UnreadableDocument(
                    f"{source} claims {picture.width} × {picture.height} pixels, more than any scan has: scale it down"
                )
            picture.load()
            yield ImageOps.exif_transpose(_on_white(picture))
    except Image.DecompressionBombError as exc:
        raise UnreadableDocument(f"{source} claims more pixels than any scan has: scale it down") from exc
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as exc:
        raise UnreadableDocument(f"{source} is a damaged picture: {exc}") from exc


def _on_white(picture: Any) -> Any:
    """The picture without transparency: black letters on nothing would become black on black."""
    if not picture.has_transparency_data:
        return picture
    from PIL import Image

    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture.convert("RGBA"))
    paper.info = dict(picture.info)
    return paper.convert("RGB")


def _density(picture: Any) -> float:
    """Pixels to the inch, as the picture states them."""
    stated = picture.info.get("dpi", (0, 0))[0]
    return float(stated) if 50 <= stated <= 2400 else float(_POINTS)


def _bounded(picture: Any, _scale: float) -> Any:
    """The picture, scaled down where it has more pixels than OCR has use for; it never gains any."""
    most = (_MOST_PIXELS / (picture.width * picture.height)) ** 0.5
    return picture if most >= 1 else picture.resize((int(picture.width * most), int(picture.height * most)))


# -- words ----------------------------------------------------------------------------------------------------------


def _quarters_astray(picture: Any) -> int:
    """How many quarter turns, clockwise, put a picture of text upright, as far as Tesseract can tell."""
    import pytesseract

    try:
        found = pytesseract.image_to_osd(picture, output_type=pytesseract.Output.DICT, timeout=_SECONDS_A_PAGE)
    except (pytesseract.TesseractError, RuntimeError):
        # Too few letters to say, or the data for it are not installed.
        return 0
    return int(found["rotate"]) // 90 % 4


class _Words:
    """The words that Tesseract sees in a picture; `scale` is in pixels to the point."""

    def __init__(self, found: dict[str, list[Any]], scale: float) -> None:
        self._found = found
        self._scale = scale
        seen = [at for at, text in enumerate(found["text"]) if text.strip() and float(found["conf"][at]) >= 0]
        self.sureness = mean(float(found["conf"][at]) for at in seen) if seen else 0.0
        self._kept = [at for at in seen if float(found["conf"][at]) >= _CONFIDENCE]

    def paragraphs(self, quarters: int, width: float, height: float) -> Iterator[list[Line]]:
        """Paragraphs of lines in Tesseract's reading order.

        The picture was turned clockwise by `quarters` quarter turns and is then of that size in points.
        """
        found = self._found
        paragraphs: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at in self._kept:
            paragraphs[found["block_num"][at], found["par_num"][at]][found["line_num"][at]].append(at)
        usual = median(found["height"][at] for at in self._kept) if self._kept else 0
        for lines in paragraphs.values():
            high = median(found["height"][at] for words in lines.values() for at in words)
            # Heights waver with the letters of a line; only what is clearly larger is a heading.
            size = (high if high > _LARGE_TYPE * usual else usual) / self._scale
            yield [self._line(words, size, quarters, width, height) for words in lines.values()]

    def _line(self, words: list[int], size: float, quarters: int, width: float, height: float) -> Line:
        found = self._found
        text = " ".join(found["text"][at].strip() for at in words)
        if text.endswith("-") and text[-2:-1].isalpha():
            text = text[:-1] + SOFT_HYPHEN
        left = min(found["left"][at] for at in words) / self._scale
        top = min(found["top"][at] for at in words) / self._scale
        right = max(found["left"][at] + found["width"][at] for at in words) / self._scale
        bottom = max(found["top"][at] + found["height"][at] for at in words) / self._scale
        box = turned((left, top, right, bottom), quarters, width, height)
        return Line(text, left, right, bottom, size, False, box, -quarters % 4)
