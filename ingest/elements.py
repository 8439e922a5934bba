"""The only door to unstructured: Word files, its elements made into blocks.

It stays for these, where it does well what is long work: styles, numbering and sections. For the other formats that it
knows it was left, each time for the reason that the reader there gives: text or structure that it loses, or its way
over pandas and pandoc.
"""

import importlib
import io
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from ingest.blocks import Blocks
from ingest.docx import completed
from ingest.grid import put_table
from rag.types import Document, Kind

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
        put_table(blocks, _table_rows(element.metadata.text_as_html), page)
    elif category == "ListItem":
        blocks.add(element.text, Kind.LIST_ITEM, page)
    elif category == "CodeSnippet":
        blocks.add(element.text, Kind.CODE, page)
    elif category not in {"PageBreak", "Image"}:
        blocks.add(element.text, Kind.PARAGRAPH, page)


def _table_rows(html: str) -> Iterator[Sequence[str]]:
    from lxml import html as lxml_html

    for row in lxml_html.fromstring(html).iter("tr"):
        yield [cell.text_content() for cell in row.iterchildren("td", "th")]


def parse_docx(data: bytes, source: str) -> Document:
    """A Word file: headings by style, each header and footer once, notes and comments at the end.

    Raises ParseError, or what the libraries underneath raise for a damaged file.
    """
    blocks = Blocks()
    repeated: set[str] = set()
    title = ""
    for element in _partition("docx", file=io.BytesIO(completed(data, source))):
        if element.category in {"Header", "Footer"}:
            # Every section repeats them.
            if element.text in repeated:
                continue
            repeated.add(element.text)
        level = (element.metadata.category_depth or 0) + 1 if element.category == "Title" else None
        title = title or (element.text if level == 1 else "")
        _put(blocks, element, element.metadata.page_number, level)
    return blocks.document(source, title, "docx")
