"""OpenDocument texts, presentations and sheets, from their XML: `unstructured` reads texts alone, through pandoc."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.formats.blocks import Blocks
from ingest.formats.grid import put_table, repeats
from ingest.formats.package import Package
from rag.errors import UnreadableDocument
from rag.types import Document, Kind

if TYPE_CHECKING:
    from lxml.etree import _Element

_NAMES = "urn:oasis:names:tc:opendocument:xmlns"
_TEXT, _TABLE, _DRAW = f"{{{_NAMES}:text:1.0}}", f"{{{_NAMES}:table:1.0}}", f"{{{_NAMES}:drawing:1.0}}"
_OFFICE, _PRESENTATION = f"{{{_NAMES}:office:1.0}}", f"{{{_NAMES}:presentation:1.0}}"
_SVG = f"{{{_NAMES}:svg-compatible:1.0}}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_MATH = "{http://www.w3.org/1998/Math/MathML}"
_NO_TEXT = frozenset(
    {f"{_TEXT}tracked-changes", f"{_TEXT}bookmark-start", f"{_OFFICE}forms", f"{_TEXT}sequence-decls"}
    | {f"{_TEXT}variable-decls", f"{_TEXT}user-field-decls", f"{_TABLE}shapes", f"{_MATH}annotation"}
)
_BLOCKS = frozenset({f"{_TEXT}p", f"{_TEXT}h", f"{_TEXT}list", f"{_TABLE}table"})
# A file may say that a cell repeats a billion times.
_MOST_COLUMNS, _MOST_ROWS, _MOST_CELLS = 1024, 1024, 2_000_000


def parse_odt(data: bytes, source: str) -> Document:
    """A text: headings by their level, lists, tables; notes behind the paragraph that refers to them.

    Raises UnreadableDocument (encrypted, damaged), EmptyDocument, and what zipfile and lxml raise, as all readers here.
    """
    return _parse(data, source, "odt")


def parse_odp(data: bytes, source: str) -> Document:
    """A presentation: one page a slide, its title as heading, what stands on it, then its notes."""
    return _parse(data, source, "odp")


def parse_ods(data: bytes, source: str) -> Document:
    """Sheets: one page a sheet, its name as heading, one row a piece, values as the sheet shows them."""
    return _parse(data, source, "ods")


def _parse(data: bytes, source: str, kind: str) -> Document:
    package = Package(data, source)
    manifest = package.xml("META-INF/manifest.xml")
    if manifest is not None and manifest.find(".//{*}encryption-data") is not None:
        raise UnreadableDocument(f"{source} is encrypted; save it without a password")
    content = package.xml("content.xml")
    body = None if content is None else content.find(f"{_OFFICE}body")
    if body is None:
        raise UnreadableDocument(f"{source} is damaged: it has no content")
    reader = _Reader(package)
    for part in body:
        if part.tag == f"{_OFFICE}presentation":
            reader.slides(part)
        elif part.tag == f"{_OFFICE}spreadsheet":
            reader.sheets(part)
        else:
            reader.fill(part)
    meta = package.xml("meta.xml")
    title = "" if meta is None else str(meta.findtext(f".//{_TITLE}") or "")
    return reader.blocks.document(source, title or reader.blocks.first_heading, kind)


class _Reader:
    """Fills blocks from the elements of a document's content."""

    def __init__(self, package: Package) -> None:
        self.blocks = Blocks()
        self._package = package
        self._page: int | None = None
        self._apart: list[_Element] = []  # notes, comments and text boxes inside the present paragraph
        self._cells = 0

    def slides(self, presentation: "_Element") -> None:
        for page, slide in enumerate(presentation.iterchildren(f"{_DRAW}page"), start=1):
            self._page = page
            self.blocks.stand_below()
            title = next((f for f in slide.iter(f"{_DRAW}frame") if f.get(f"{_PRESENTATION}class") == "title"), None)
            if title is not None:
                self.blocks.heading(" ".join(map(self._words, title.iter(f"{_TEXT}p"))), 1, page)
            notes = slide.find(f"{_PRESENTATION}notes")
            for shape in slide:
                if shape is not notes and shape is not title:
                    self.fill(shape)
            if notes is not None:
                self.fill(notes)

    def sheets(self, spreadsheet: "_Element") -> None:
        for page, sheet in enumerate(spreadsheet.iterchildren(f"{_TABLE}table"), start=1):
            self._page = page
            rows = list(self._rows(sheet))
            apart, self._apart = self._apart, []
            if apart or any(map(any, rows)):
                self.blocks.heading(sheet.get(f"{_TABLE}name", ""), 1, page)
                put_table(self.blocks, rows, page)
                for part in apart:
                    self.fill(part)

    def fill(self, element: "_Element", kind: Kind = Kind.PARAGRAPH) -> None:
        """The blocks that an element holds, in order."""
        tag = element.tag
        if tag == f"{_TEXT}h":
            level = element.get(f"{_TEXT}outline-level", "1")
            self.blocks.heading(self._words(element), int(level) if level.isdecimal() else 1, self._page)
            self._put_apart()
        elif tag == f"{_TEXT}p":
            self.blocks.add(self._words(element), kind, self._page)
            self._put_apart()
        elif tag == f"{_TABLE}table":
            rows = list(self._rows(element))
            apart, self._apart = self._apart, []
            put_table(self.blocks, rows, self._page)
            for part in apart:
                self.fill(part)
        elif tag in {f"{_SVG}title", f"{_SVG}desc"}:
            self.blocks.add(element.text or "", page=self._page)
        elif tag == f"{_DRAW}object":
            self.blocks.add(self._formula(element), page=self._page)
        elif tag not in _NO_TEXT:
            inner = Kind.LIST_ITEM if tag == f"{_TEXT}list" else kind
            for child in element:
                self.fill(child, inner)

    def _put_apart(self) -> None:
        apart, self._apart = self._apart, []
        for part in apart:
            self.fill(part)

    def _rows(self, table: "_Element") -> Iterator[list[str]]:
        for row in table.iter(f"{_TABLE}table-row"):
            if next(row.iterancestors(f"{_TABLE}table")) is not table:
                continue  # of a table inside a cell
            cells: list[str] = []
            for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                words = self._words(cell)
                repeated = _count(cell, "number-columns-repeated", _MOST_COLUMNS)
                room = max(0, _MOST_COLUMNS - len(cells))
                cells += [words] * min(repeated if repeats(words) else 1, room)
            while cells and not cells[-1]:
                cells.pop()
            repeated = _count(row, "number-rows-repeated", _MOST_ROWS if cells and all(map(repeats, cells)) else 1)
            self._cells += repeated * len(cells)
            if self._cells > _MOST_CELLS:
                raise ValueError("its tables repeat their cells millions of times")
            for _ in range(repeated):
                yield cells

    def _words(self, element: "_Element") -> str:
        """The text in an element, blocks on lines of their own; what stands apart from it waits in `_apart`."""
        parts: list[str] = []
        self._collect(element, parts)
        return "".join(parts)

    def _collect(self, element: "_Element", parts: list[str]) -> None:
        tag = element.tag
        if tag in {f"{_TEXT}note", f"{_OFFICE}annotation"}:
            body = element.find(f"{_TEXT}note-body") if tag == f"{_TEXT}note" else element
            if body is not None:
                self._apart.append(body)
        elif tag in {f"{_DRAW}text-box", f"{_DRAW}custom-shape"} and any(True for _ in element.iter(f"{_TEXT}p")):
            self._apart.append(element)
        elif tag == f"{_DRAW}object":
            parts.append(self._formula(element))
        elif tag == f"{_TEXT}s":
            parts.append(" " * _count(element, "c", 1000, _TEXT))
        elif tag in {f"{_TEXT}tab", f"{_TEXT}line-break"}:
            parts.append("\t" if tag.endswith("tab") else "\n")
        elif tag in {f"{_SVG}title", f"{_SVG}desc"}:
            parts.append(f"\n{element.text or ''}\n")
        elif tag not in _NO_TEXT:
            if tag in _BLOCKS and parts and not parts[-1].endswith("\n"):
                parts.append("\n")
            text = tag.startswith(_TEXT)
            if text and element.text:
                parts.append(" ".join(element.text.split("\n")))
            for child in element:
                self._collect(child, parts)
                if text and child.tail:
                    parts.append(" ".join(child.tail.split("\n")))

    def _formula(self, element: "_Element") -> str:
        """The letters and numbers of a formula, which is a document of its own."""
        name = element.get("{http://www.w3.org/1999/xlink}href", "").removeprefix("./")
        root = self._package.xml(f"{name}/content.xml")
        if root is None or not root.tag.startswith(_MATH):
            return ""
        return " ".join(
            words
            for node in root.iter(f"{_MATH}*")
            if node.tag != f"{_MATH}annotation" and (words := (node.text or "").strip())
        )


def _count(element: "_Element", name: str, most: int, space: str = _TABLE) -> int:
    said = element.get(f"{space}{name}", "1")
    return min(int(said), most) if said.isdecimal() and len(said) < 10 else 1
