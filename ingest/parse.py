"""Any file into a Document: finds out what it is and hands it to its reader. The only door to unstructured.

Markdown, text, tables, mail headers and PDF have readers of their own beside this file; web pages, Word, PowerPoint,
OpenDocument and EPUB go through `unstructured`, whose elements become blocks here.
"""

import importlib
import io
import logging
import os
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.blocks import Blocks, one_line
from ingest.docx import completed
from ingest.mail import read_mail
from ingest.markdown import parse_markdown
from ingest.pdf import parse_pdf
from ingest.records import parse_csv, parse_json, parse_json_lines
from ingest.sheets import parse_xlsx
from ingest.text import decode, looks_binary, parse_text
from rag.errors import ParseError, UnreadableDocument, UnsupportedFormat
from rag.types import Document, Kind

if TYPE_CHECKING:
    from lxml.html import HtmlElement

Reader = Callable[[bytes, str], Document]

_HEAD_BYTES = 4096
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

# Web page elements without a reader's text. `unstructured` drops forms, figures and <details> as well, and with them
# captions and the answers of FAQ pages: those are renamed to what it keeps.
_BOILERPLATE = "//nav|//footer|//script|//style|//noscript|//template|//*[@role='navigation' or @role='contentinfo']"
_RENAMED = {
    "figure": "div",
    "figcaption": "p",
    "details": "div",
    "summary": "p",
    "form": "div",
    "label": "span",
    "button": "span",
}


def parse(path: Path, source: str) -> Document:
    """Read one file; `source` is the name it goes by in the document and in messages.

    Raises UnsupportedFormat, UnreadableDocument (damaged, encrypted, not what its name says), EmptyDocument, or OSError
    where the file cannot be opened.
    """
    data = path.read_bytes()
    reader = _READERS.get(_kind(path, data, source))
    if reader is None:
        raise UnsupportedFormat(
            f"{source}: there is no reader for {_named(path)} files. Convert it to PDF, DOCX or text first."
        )
    try:
        return reader(data, source)
    except (ParseError, MemoryError):
        raise
    except Exception as exc:
        why = f"{type(exc).__name__}: {one_line(str(exc))[:200]}"
        raise UnreadableDocument(f"{source} cannot be read as {_named(path)}: it seems damaged ({why})") from exc


def supported(path: Path) -> bool:
    """Whether `parse` has a reader for the file, by its suffix; without a suffix, whether it looks like text."""
    suffix = path.suffix.lower()
    if suffix:
        return suffix in SUFFIXES
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return bool(head) and not looks_binary(head)


def _named(path: Path) -> str:
    return path.suffix.lower() or "such"


def _kind(path: Path, data: bytes, source: str) -> str:
    """What the file is, as a suffix: by its name, and by its content where that says otherwise beyond doubt."""
    named = path.suffix.lower()
    if named and named not in SUFFIXES:
        return named
    head = data[:1024]
    if b"%PDF-" in head:
        # A mail or a text may quote the mark; a PDF has it near its start.
        if named in _BINARY or not named or head.lstrip().startswith(b"%PDF-"):
            return ".pdf"
    elif data.startswith(b"PK\x03\x04"):
        return _zipped(data, source)
    elif data.startswith(_OLE) and named in _ZIPPED:
        old = b"E\x00n\x00c\x00r\x00y\x00p\x00t" not in data
        why = (
            "an Office file from before 2007; save it in the present format"
            if old
            else "encrypted; save it without a password"
        )
        raise UnreadableDocument(f"{source} is {why}")
    if named in _BINARY:
        if not data:
            raise UnreadableDocument(f"{source} is an empty file")
        raise UnreadableDocument(
            f"{source} is not a {named} file, whatever its name says: it seems damaged or misnamed"
        )
    return named or ".txt"


def _zipped(data: bytes, source: str) -> str:
    """Which of the zip-based kinds it is."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            kind = archive.read("mimetype")[:100].decode("ascii", "replace").strip() if "mimetype" in names else ""
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError) as exc:
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc
    if kind == "application/epub+zip" or ("META-INF/container.xml" in names and not kind):
        return ".epub"
    if kind.startswith("application/vnd.oasis.opendocument."):
        return {"text": ".odt", "text-template": ".odt"}.get(kind.rpartition(".")[2], ".od?")
    for part, suffix in (("word/", ".docx"), ("ppt/", ".pptx"), ("xl/", ".xlsx")):
        if any(name.startswith(part) for name in names):
            return suffix
    return ".zip"


# -- the door to unstructured ---------------------------------------------------------------------------------------

_opening = threading.Lock()


@lru_cache(maxsize=1)
def _open_door() -> None:
    """Make `unstructured` ready for use without a network: no telemetry, no advertisement, no language model.

    At first use of any partitioner it would download a spaCy model, to count sentences and find verbs for its guess
    whether a line is a heading. We trust the headings that a format marks, so a blank pipeline does, and faster.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("SCARF_NO_ANALYTICS", "1")
    os.environ.setdefault("UNSTRUCTURED_DISABLE_NOTICE", "1")
    import spacy
    from unstructured.nlp import tokenize

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    setattr(tokenize, "_get_nlp", lambda: pipeline)  # noqa: B010
    # It tells the root logger of every merged cell in a table.
    logging.getLogger().addFilter(lambda record: f"{os.sep}unstructured{os.sep}" not in record.pathname)


def _partition(name: str, **arguments: Any) -> list[Any]:
    """The elements of `unstructured.partition.<name>.partition_<name>`."""
    with _opening:
        _open_door()
        module = importlib.import_module(f"unstructured.partition.{name}")
    # An empty language switches its language detection off, which nothing here would use.
    elements: list[Any] = getattr(module, f"partition_{name}")(languages=[""], **arguments)
    return elements


def _put(blocks: Blocks, element: Any, page: int | None, level: int | None = None) -> None:
    """One element into the blocks; `level` where it is a heading that its format marks."""
    category = element.category
    if level is not None:
        blocks.heading(element.text, level, page)
    elif category == "Table" and element.metadata.text_as_html:
        rows = list(_table_rows(element.metadata.text_as_html))
        if all(sum(map(bool, map(one_line, cells))) < 2 for cells in rows):
            # A frame around text, not a table.
            for cells in rows:
                blocks.add("\n".join(cells), Kind.PARAGRAPH, page)
        else:
            blocks.table(rows, page)
    elif category == "ListItem":
        blocks.add(element.text, Kind.LIST_ITEM, page)
    elif category == "CodeSnippet":
        blocks.add(element.text, Kind.CODE, page)
    elif category not in {"PageBreak", "Image"}:
        blocks.add(element.text, Kind.PARAGRAPH, page)


def _table_rows(html: str) -> Iterable[Sequence[str]]:
    from lxml import html as lxml_html

    for row in lxml_html.fromstring(html).iter("tr"):
        yield [cell.text_content() for cell in row.iterchildren("td", "th")]


def _parse_html(data: bytes, source: str) -> Document:
    blocks = Blocks()
    page_title = _fill_from_html(blocks, _html_text(data, source))
    return blocks.document(source, page_title or blocks.first_heading, "html")


def _fill_from_html(blocks: Blocks, text: str, below: int = 0) -> str:
    """The blocks of a web page, headings `below` levels down; returns the page's title."""
    from lxml import html as lxml_html

    if not text.strip():
        return ""
    # An encoding that a page declares is refused by lxml in text that has been decoded.
    root: HtmlElement = lxml_html.document_fromstring(
        text.encode("utf-8"), parser=lxml_html.HTMLParser(encoding="utf-8")
    )
    title = str(root.findtext(".//title") or "")
    for element in root.xpath(_BOILERPLATE):
        element.drop_tree()
    for element in root.iter(*_RENAMED):
        element.tag = _RENAMED[element.tag]
    for element in _partition("html", text=lxml_html.tostring(root, encoding="unicode")):
        depth = element.metadata.category_depth
        level = depth + 1 + below if element.category == "Title" and depth is not None else None
        _put(blocks, element, None, level)
    return title


def _html_text(data: bytes, source: str) -> str:
    """A page's text: a declared encoding is tried before any guess."""
    declared = re.search(rb"""(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""", data[:2048])
    if declared:
        try:
            return data.decode(declared[1].decode("ascii")).removeprefix("\ufeff")
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(data, source)


def _parse_word(name: str, data: bytes, source: str) -> Document:
    """DOCX, and ODT by way of it."""
    blocks = Blocks()
    repeated: set[str] = set()
    title = ""
    for element in _partition(name, file=io.BytesIO(data)):
        if element.category in {"Header", "Footer"}:
            # Every section repeats them.
            if element.text in repeated:
                continue
            repeated.add(element.text)
        level = (element.metadata.category_depth or 0) + 1 if element.category == "Title" else None
        title = title or (element.text if level == 1 else "")
        _put(blocks, element, element.metadata.page_number, level)
    return blocks.document(source, title, name)


def _parse_docx(data: bytes, source: str) -> Document:
    return _parse_word("docx", completed(data), source)


def _parse_odt(data: bytes, source: str) -> Document:
    return _parse_word("odt", data, source)


def _parse_pptx(data: bytes, source: str) -> Document:
    """One page a slide: its title as heading, what stands on it, then its notes."""
    blocks = Blocks()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        has_notes = any(name.startswith("ppt/notesSlides/") for name in archive.namelist())
    slides = _by_page(_partition("pptx", file=io.BytesIO(data), include_slide_notes=False))
    # The notes come first on their slide and look like any other text: only the difference tells them apart.
    noted = _by_page(_partition("pptx", file=io.BytesIO(data), include_slide_notes=True)) if has_notes else slides
    for page in sorted(noted):
        shown = slides.get(page, [])
        # Short lines elsewhere on a slide are guessed to be titles too, at a depth of 1 and more.
        title = next((e for e in shown if e.category == "Title" and e.metadata.category_depth == 0), None)
        blocks.stand_below()
        if title is not None:
            _put(blocks, title, page, 1)
        for element in shown:
            if element is not title:
                _put(blocks, element, page)
        for element in noted[page][: len(noted[page]) - len(shown)]:
            _put(blocks, element, page)
    return blocks.document(source, blocks.first_heading, "pptx")


def _by_page(elements: list[Any]) -> dict[int, list[Any]]:
    pages: dict[int, list[Any]] = {}
    for element in elements:
        if element.category != "PageBreak":
            pages.setdefault(element.metadata.page_number, []).append(element)
    return pages


def _parse_epub(data: bytes, source: str) -> Document:
    """An e-book, by way of the web page that pandoc makes of it."""
    with _opening:
        _open_door()
        from unstructured.file_utils.file_conversion import convert_file_to_html_text_using_pandoc as to_html

    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "book.epub")
        book.write_bytes(data)
        text = to_html(source_format="epub", filename=str(book))
    blocks = Blocks()
    _fill_from_html(blocks, text)
    return blocks.document(source, _epub_title(data) or blocks.first_heading, "epub")


def _epub_title(data: bytes) -> str:
    from lxml import etree

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        package = next((name for name in archive.namelist() if name.endswith(".opf")), None)
        if package is None:
            return ""
        root = etree.fromstring(archive.read(package), etree.XMLParser(resolve_entities=False, no_network=True))
    return str(root.findtext(".//{http://purl.org/dc/elements/1.1/}title") or "")


def _parse_mail(data: bytes, source: str) -> Document:
    """A message: its subject as heading, its headers, its body, the names of what is attached."""
    mail = read_mail(data, source)
    blocks = Blocks()
    blocks.stand_below(mail.subject)
    for name, value in mail.headers:
        blocks.add(f"{name}: {value}", Kind.LIST_ITEM)
    if mail.html:
        _fill_from_html(blocks, mail.html, below=1)
    for paragraph in mail.text.split("\n\n"):
        blocks.add(paragraph)
    for name in mail.attachments:
        blocks.add(f"Attachment: {name}", Kind.LIST_ITEM)
    return blocks.document(source, mail.subject, "mail")


_READERS: dict[str, Reader] = {
    **dict.fromkeys((".md", ".markdown"), parse_markdown),
    **dict.fromkeys((".txt", ".text", ".log"), parse_text),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _parse_html),
    **dict.fromkeys((".csv", ".tsv"), parse_csv),
    **dict.fromkeys((".jsonl", ".ndjson"), parse_json_lines),
    ".json": parse_json,
    ".pdf": parse_pdf,
    ".docx": _parse_docx,
    ".pptx": _parse_pptx,
    **dict.fromkeys((".xlsx", ".xlsm"), parse_xlsx),
    ".epub": _parse_epub,
    ".odt": _parse_odt,
    ".eml": _parse_mail,
}
SUFFIXES = frozenset(_READERS)
_ZIPPED = frozenset({".docx", ".pptx", ".xlsx", ".xlsm", ".epub", ".odt"})
_BINARY = _ZIPPED | {".pdf"}
