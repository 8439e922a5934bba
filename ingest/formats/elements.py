"""The only door to unstructured: Word files, its elements made into blocks.

It stays for these, where it does well what is long work: styles, numbering and sections. For the other formats that it
knows it was left, each time for the reason that the reader there gives: text or structure that it loses, or its way
over pandas and pandoc.
"""

import importlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from ingest.formats.blocks import Blocks
from ingest.formats.docx import DESCRIBED, completed
from ingest.formats.grid import put_table
from ingest.formats.pictures import Look, Pictures, put_words
from rag.types import Document, Kind

_opening = threading.Lock()


@lru_cache(maxsize=1)
def _open_door() -> Callable[..., list[Any]]:
    """`partition_docx`, without a network: no telemetry, no advertisement, no language model.

    It guesses whether a paragraph without a style is narrative, with a spaCy model that it downloads at first use. We
    trust the styles alone, so the guess is answered before it is made: that is two thirds of its time on a file. spaCy
    itself is only named in its annotations then, and takes a second and 80 MB to be imported, so an empty module
    stands in for it meanwhile.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("SCARF_NO_ANALYTICS", "1")
    os.environ.setdefault("UNSTRUCTURED_DISABLE_NOTICE", "1")
    stand_in = None if "spacy" in sys.modules else ModuleType("spacy")
    if stand_in:
        sys.modules["spacy"] = stand_in
    try:
        tokenize = importlib.import_module("unstructured.nlp.tokenize")
        partition = importlib.import_module("unstructured.partition.docx")
    finally:
        if stand_in and sys.modules.get("spacy") is stand_in:
            del sys.modules["spacy"]
    setattr(tokenize, "_get_nlp", _no_model)  # noqa: B010
    setattr(partition, "is_possible_narrative_text", lambda *_, **__: True)  # noqa: B010
    # It tells the root logger of every merged cell in a table.
    logging.getLogger().addFilter(lambda record: f"{os.sep}unstructured{os.sep}" not in record.pathname)
    opened: Callable[..., list[Any]] = partition.partition_docx
    return opened


def _no_model() -> None:
    raise RuntimeError("unstructured asked for a language model")


def _partition(data: bytes) -> list[Any]:
    """The elements of a Word file."""
    with _opening:
        partition_docx = _open_door()
    # An empty language switches its language detection off, which nothing here would use.
    return partition_docx(file=io.BytesIO(data), languages=[""])


def _put(blocks: Blocks, element: Any, page: int | None, level: int | None = None) -> None:
    """One element into the blocks; `level` where it is a heading that its format marks."""
    category = element.category
    if element.text.startswith(DESCRIBED):
        put_words(blocks, element.text.removeprefix(DESCRIBED), page)
        return
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


def parse_docx(data: bytes, source: str, look: Look | None = None) -> Document:
    """A Word file: headings by style, each header and footer once, notes and comments at the end.

    Raises ParseError, or what the libraries underneath raise for a damaged file.
    """
    blocks, pictures = Blocks(), Pictures(look)
    repeated: set[str] = set()
    title = ""
    for element in _partition(completed(data, source, pictures)):
        if element.category in {"Header", "Footer"}:
            # Every section repeats them.
            if element.text in repeated:
                continue
            repeated.add(element.text)
        level = (element.metadata.category_depth or 0) + 1 if element.category == "Title" else None
        title = title or (element.text if level == 1 else "")
        _put(blocks, element, element.metadata.page_number, level)
    return blocks.document(source, title, "docx", pictures.metadata())
