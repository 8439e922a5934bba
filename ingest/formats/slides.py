"""PowerPoint files: slides with their tables, charts, diagrams, descriptions of pictures, and notes.

`unstructured` leaves out charts, diagrams and pictures, and notes can be told from text only by reading twice; so this
goes to python-pptx, the library underneath it. The only door to that.
"""

import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ingest.formats.blocks import Blocks
from ingest.formats.charts import chart_table
from ingest.formats.formula import formula_text
from ingest.formats.grid import put_table, repeats
from ingest.formats.package import Package, parsed_xml
from ingest.formats.pictures import Look, Pictures, put_words
from rag.errors import EmptyDocument
from rag.types import Document, Kind

if TYPE_CHECKING:
    from lxml.etree import _Element

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_CHOICE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Choice"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_ALTERNATE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}AlternateContent"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}oMath"
_SHAPES = frozenset(f"{_P}{name}" for name in ("sp", "pic", "graphicFrame", "grpSp", "cxnSp"))
_OUTLINED = frozenset({"body", "obj"})  # placeholders whose paragraphs are points
_NO_CONTENT = frozenset({"dt", "ftr", "sldNum", "hdr"})
_DEEPEST = 32


def parse_pptx(data: bytes, source: str, look: Look | None = None) -> Document:
    """One page a slide: its title as heading, what stands on it from top to bottom, then its notes and comments.

    Slides without text have no pieces. Raises EmptyDocument, UnreadableDocument for a zip bomb, and what python-pptx
    raises on a damaged file.
    """
    from pptx import Presentation

    Package(data, source).check_size()
    blocks = Blocks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of parts that stand twice in the file
        show = Presentation(io.BytesIO(data))
    layouts, pictures = _Layouts(), Pictures(look)
    for page, slide in enumerate(show.slides, start=1):
        _fill(blocks, slide, page, layouts, pictures)
    try:
        return blocks.document(
            source, blocks.first_heading or str(show.core_properties.title or ""), "pptx", pictures.metadata()
        )
    except EmptyDocument:
        raise EmptyDocument(f"{source} holds no text: its slides are empty or pictures") from None


def _fill(blocks: Blocks, slide: Any, page: int, layouts: "_Layouts", pictures: Pictures) -> None:
    blocks.stand_below()
    shapes = list(_ordered(slide, layouts))
    title = next((shape for shape in shapes if _role(shape) in {"title", "ctrTitle"} and _lines(shape)), None)
    if title is not None:
        blocks.heading(" ".join(_lines(title)), 1, page)
    for shape in shapes:
        if shape is not title:
            _put(blocks, shape, slide.part, page)
            for words in _pictured(shape, slide.part, pictures):
                put_words(blocks, words, page)
    if slide.has_notes_slide:
        for shape in slide.notes_slide.shapes._spTree.iter(f"{_P}sp"):
            if _role(shape) == "body":
                for line in _lines(shape):
                    blocks.add(line, page=page)
    for comment in _comments(slide.part):
        blocks.add(comment, page=page)


def _ordered(slide: Any, layouts: "_Layouts") -> Iterator["_Element"]:
    """The slide's shapes, groups taken apart, from top to bottom and left to right."""

    def place(element: "_Element") -> tuple[int, int]:
        offset = next(element.iter(f"{_A}off"), None)
        if offset is None:
            placeholder = element.find(f"./*/{_P}nvPr/{_P}ph")
            return (0, 0) if placeholder is None else layouts.place(slide, placeholder.get("idx", "0"))
        top, left = offset.get("y", "0"), offset.get("x", "0")
        return _about(int(top)) if top.isdecimal() else 0, int(left) if left.isdecimal() else 0

    for element in sorted(_shapes(slide.shapes._spTree, 0, apart=False), key=place):
        yield from _shapes(element, 0) if element.tag == f"{_P}grpSp" else (element,)


def _about(top: int) -> int:
    """Programs place the pieces of a row a little apart: a tenth of an inch is no line of its own."""
    return top // 100_000


class _Layouts:
    """Where the placeholders of the layouts stand that slides leave where they are."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[int, int]]] = {}

    def place(self, slide: Any, number: str) -> tuple[int, int]:
        layout = slide.slide_layout
        name = str(layout.part.partname)
        if name not in self._known:
            self._known[name] = {
                str(shape.placeholder_format.idx): (_about(shape.top or 0), shape.left or 0)
                for shape in layout.placeholders
            }
        return self._known[name].get(number, (0, 0))


def _shapes(tree: "_Element", depth: int, apart: bool = True) -> Iterator["_Element"]:
    for child in tree:
        if child.tag == _ALTERNATE:
            choice = child.find(_CHOICE)
            if choice is not None:
                yield from _shapes(choice, depth + 1, apart)
        elif child.tag == f"{_P}grpSp" and apart:
            if depth < _DEEPEST:
                yield from _shapes(child, depth + 1)
        elif child.tag in _SHAPES:
            yield child


def _role(shape: "_Element") -> str:
    """The kind of placeholder that a shape fills, "" where it is none."""
    placeholder = shape.find(f"./*/{_P}nvPr/{_P}ph")
    return "" if placeholder is None else placeholder.get("type", "obj")


def _put(blocks: Blocks, shape: "_Element", part: Any, page: int) -> None:
    table = next(shape.iter(f"{_A}tbl"), None)
    chart, diagram = next(shape.iter(_CHART), None), next(shape.iter(_DIAGRAM), None)
    if _role(shape) in _NO_CONTENT:
        return
    if table is not None:
        put_table(blocks, _rows(table), page)
    elif chart is not None:
        title, rows = chart_table(_related(part, chart.get(f"{_R}id", "")))
        blocks.add(title, page=page)
        blocks.table(rows, page)
    elif diagram is not None:
        root = _related(part, diagram.get(f"{_R}dm", ""))
        for point in root.iter("{*}pt"):
            blocks.add("".join(node.text or "" for node in point.iter(f"{_A}t")), Kind.LIST_ITEM, page)
    else:
        kind = Kind.LIST_ITEM if _role(shape) in _OUTLINED else Kind.PARAGRAPH
        for line in _lines(shape):
            blocks.add(line, kind, page)
    described = next(shape.iter(f"{_P}cNvPr"), None)
    if described is not None:
        blocks.add(described.get("descr", ""), page=page)


def _pictured(shape: "_Element", part: Any, pictures: Pictures) -> Iterator[str]:
    """What the pictures in a shape show."""
    for shown in shape.iter(f"{_A}blip") if pictures.wanted else ():
        name = shown.get(f"{_R}embed", "")
        if name in part.rels and not part.rels[name].is_external:
            yield pictures.words_in(part.related_part(name).blob)


def _related(part: Any, name: str) -> "_Element":
    """The part that a shape refers to; an empty one where it is missing."""
    related = part.related_part(name) if name in part.rels and not part.rels[name].is_external else None
    return parsed_xml(related.blob if related is not None and related.blob else b"<none/>")


def _comments(part: Any) -> Iterator[str]:
    for relation in part.rels.values():
        if not relation.is_external and relation.reltype.endswith("/comments"):
            for comment in parsed_xml(relation.target_part.blob).iter("{*}cm"):
                yield " ".join(node.text or "" for node in comment.iter("{*}text", f"{_A}t"))


def _rows(table: "_Element") -> Iterator[list[str]]:
    """The rows; a cell that spans several rows stands in each of them."""
    above: list[str] = []
    for row in table.iterchildren(f"{_A}tr"):
        cells: list[str] = []
        for at, cell in enumerate(row.iterchildren(f"{_A}tc")):
            joined = cell.get("vMerge") in {"1", "true"} and at < len(above)
            cells.append(above[at] if joined and repeats(above[at]) else "\n".join(_lines(cell)))
        above = cells
        yield cells


def _lines(shape: "_Element") -> list[str]:
    """The paragraphs in a shape that have text."""
    lines = []
    for paragraph in shape.iter(f"{_A}p"):
        parts = [
            "\n" if node.tag == f"{_A}br" else formula_text(node) if node.tag == _MATH else node.text or ""
            for node in paragraph.iter(f"{_A}t", f"{_A}br", _MATH)
            if node.tag == _MATH or next(node.iterancestors(_FALLBACK), None) is None
        ]
        if line := "".join(parts).strip():
            lines.append(line)
    return lines
