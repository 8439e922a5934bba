"""The only door to unstructured: web pages, Word, PowerPoint, OpenDocument and EPUB, its elements made into blocks."""

import importlib
import io
import logging
import os
import re
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ingest.blocks import Blocks, one_line
from ingest.charsets import declared
from ingest.docx import completed
from ingest.text import decode
from rag.types import Document, Kind

if TYPE_CHECKING:
    from lxml.html import HtmlElement

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

_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""")

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


def parse_html(data: bytes, source: str) -> Document:
    """A web page. Raises ParseError, or what the library raises for a damaged file, as all readers here."""
    blocks = Blocks()
    page_title = fill_from_html(blocks, html_text(data, source))
    return blocks.document(source, page_title or blocks.first_heading, "html")


def fill_from_html(blocks: Blocks, text: str, below: int = 0) -> str:
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


def html_text(data: bytes, source: str) -> str:
    """A page's text: a declared encoding is tried before any guess. Raises UnreadableDocument for binary data."""
    named = _CHARSET.search(data[:2048])
    text = declared(data, named[1].decode("ascii")) if named else None
    return decode(data, source) if text is None else text


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


def parse_docx(data: bytes, source: str) -> Document:
    """A Word file."""
    return _parse_word("docx", completed(data, source), source)
