"""E-books: the chapters in the order of the book's spine, each read as a web page.

`unstructured` goes through pandoc, a program of 155 MB that takes a second for what takes none this way, and loses
the order of chapters where a book does not begin with its table of contents.
"""

import posixpath
from urllib.parse import unquote

from ingest.formats.blocks import Blocks
from ingest.formats.package import Package
from ingest.formats.webpage import fill_from_html, html_text
from rag.errors import UnreadableDocument
from rag.types import Document

_CHAPTERS = frozenset({"application/xhtml+xml", "text/html", "application/xml", "text/x-oeb1-document"})


def parse_epub(data: bytes, source: str) -> Document:
    """An e-book. Raises UnreadableDocument (encrypted, damaged), EmptyDocument, and what zipfile and lxml raise."""
    package = Package(data, source)
    container = package.xml("META-INF/container.xml")
    root = None if container is None else container.find(".//{*}rootfile")
    place = "" if root is None else root.get("full-path", "")
    book = package.xml(place or next((name for name in sorted(package.names) if name.endswith(".opf")), ""))
    if book is None:
        raise UnreadableDocument(f"{source} is damaged: it does not say what is in the book")
    encrypted = _encrypted(package)
    items = {item.get("id", ""): item for item in book.iterfind(".//{*}manifest/{*}item")}
    blocks = Blocks()
    for reference in book.iterfind(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref", ""))
        if item is None or item.get("media-type", "") not in _CHAPTERS:
            continue
        if "nav" in item.get("properties", "").split():
            continue  # the table of contents names every heading again
        name = posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(item.get("href", ""))))
        if name in encrypted:
            raise UnreadableDocument(f"{source} is encrypted: the book is protected against copying")
        if chapter := package.read(name):
            fill_from_html(blocks, html_text(chapter, source))
    title = str(book.findtext(".//{http://purl.org/dc/elements/1.1/}title") or "")
    return blocks.document(source, title or blocks.first_heading, "epub")


def _encrypted(package: Package) -> set[str]:
    """The names of the parts that are encrypted; most books only hide their fonts that way."""
    listed = package.xml("META-INF/encryption.xml")
    return set() if listed is None else {unquote(node.get("URI", "")) for node in listed.iter("{*}CipherReference")}
