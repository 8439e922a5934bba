"""Word files made whole: what `unstructured` and python-docx pass over is moved to where they look."""

import io
import posixpath
import zipfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ingest.formats.charts import chart_table
from ingest.formats.formula import formula_text
from ingest.formats.package import Package, parsed_xml
from ingest.formats.pictures import Pictures

if TYPE_CHECKING:
    from lxml.etree import _Element

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Wrappers whose content counts as text: content controls, tracked insertions, smart tags, simple fields.
_WRAPPERS = (f"{_W}ins", f"{_W}moveTo", f"{_W}smartTag", f"{_W}fldSimple")
_DELETED = (f"{_W}del", f"{_W}moveFrom", _FALLBACK)
_NOTES = ("word/footnotes.xml", "word/endnotes.xml", "word/comments.xml")
_BODY = f"{_W}body"
DESCRIBED = "\ue000"  # a character of nobody's: no font has a picture for it
_NO_TEXT = ("word/media/", "word/embeddings/", "word/fonts/")


def completed(data: bytes, source: str, pictures: Pictures) -> bytes:
    """The file with text boxes, content controls, tracked insertions, formulas and notes as ordinary paragraphs.

    Charts become tables, what pictures show becomes paragraphs that begin with DESCRIBED. Raises UnreadableDocument for
    a zip bomb, and what zipfile and lxml raise on a damaged file.
    """
    from lxml import etree

    package = Package(data, source)
    main = _main_part(package)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as rewritten:
        for name in sorted(package.names):
            if name.startswith(_NO_TEXT):
                # The library underneath would unpack and hold every picture.
                part = b""
            elif name == main:
                root = parsed_xml(package.read(name))
                _draw_charts(package, main, root)
                _describe(package, main, root, pictures)
                _complete(root)
                body = root.find(f"{_W}body")
                for notes in map(package.xml, _NOTES):
                    if body is not None and notes is not None:
                        _append_notes(body, notes)
                part = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
            else:
                part = package.read(name)
            rewritten.writestr(name, part)
    return target.getvalue()


def _main_part(package: Package) -> str:
    """The name of the part with the text, which the format leaves to the program that writes."""
    for kind, name in _relations(package, "").values():
        if kind.endswith("/officeDocument"):
            return name
    return "word/document.xml"


def _relations(package: Package, part: str) -> dict[str, tuple[str, str]]:
    """Kind and name of each part that this one (the package itself for "") refers to, by the number it uses."""
    folder, name = posixpath.split(part)
    root = package.xml(posixpath.join(folder, "_rels", f"{name}.rels"))
    return {
        node.get("Id", ""): (
            node.get("Type", ""),
            posixpath.normpath(posixpath.join("/", folder, node.get("Target", ""))).lstrip("/"),
        )
        for node in (() if root is None else root.iter("{*}Relationship"))
        if node.get("TargetMode") != "External"
    }


def _draw_charts(package: Package, main: str, root: "_Element") -> None:
    """Put the table that a chart draws, and the words of a diagram, behind the paragraph that shows it."""
    relations = _relations(package, main)
    for drawn in list(root.iter(_CHART, _DIAGRAM)):
        place = relations.get(drawn.get(f"{_R}id" if drawn.tag == _CHART else f"{_R}dm", ""))
        content = package.xml(place[1]) if place else None
        anchor = next(drawn.iterancestors(f"{_W}p"), None)
        if content is None or anchor is None:
            continue
        if drawn.tag == _CHART:
            title, rows = chart_table(content)
            added = [*([_paragraph(root, title)] if title else []), *([_table(root, rows)] if rows else [])]
        else:
            points = ("".join(node.text or "" for node in point.iter("{*}t")) for point in content.iter("{*}pt"))
            added = [_paragraph(root, words) for words in points if words]
        for element in reversed(added):
            anchor.addnext(element)


def _describe(package: Package, main: str, root: "_Element", pictures: Pictures) -> None:
    """Put what a picture shows behind the paragraph or the table that it stands in."""
    relations = _relations(package, main) if pictures.wanted else {}
    for shown in list(root.iter("{*}blip")) if relations else ():
        place = relations.get(shown.get(f"{_R}embed", ""))
        block = next((above for above in shown.iterancestors() if above.getparent() in (root, root.find(_BODY))), None)
        if place and block is not None and (words := pictures.words_in(package.read(place[1]))):
            block.addnext(_paragraph(root, DESCRIBED + words))


def _complete(root: "_Element") -> None:
    for element in list(root.iter(*_DELETED)):
        _drop(element)
    for element in list(root.iter(f"{_W}sdt")):
        content = element.find(f"{_W}sdtContent")
        _replace(element, [] if content is None else list(content))
    for element in list(root.iter(*_WRAPPERS)):
        _replace(element, list(element))
    for element in list(root.iter(f"{_MATH}oMath")):
        _replace(element, [_run(element, formula_text(element))])
    for element in list(root.iter(f"{_MATH}oMathPara")):
        _replace(element, list(element))
    for box in list(root.iter(f"{_W}txbxContent")):
        anchor = next((above for above in box.iterancestors(f"{_W}p") if above.getparent() is not None), None)
        if anchor is not None:
            for block in reversed(list(box)):
                anchor.addnext(block)


def _append_notes(body: "_Element", notes: "_Element") -> None:
    """Put the notes' paragraphs behind the body's last one; section properties must stay the last."""
    at = len(body) - (len(body) > 0 and body[-1].tag == f"{_W}sectPr")
    for note in notes:
        # Separators are stored as notes, too.
        if note.get(f"{_W}type") in {None, "normal"}:
            _complete(note)
            for paragraph in note.findall(f"{_W}p"):
                body.insert(at, paragraph)
                at += 1


def _run(beside: "_Element", words: str) -> "_Element":
    run = beside.makeelement(f"{_W}r", {})
    text = run.makeelement(f"{_W}t", {"{http://www.w3.org/XML/1998/namespace}space": "preserve"})
    text.text = words
    run.append(text)
    return run


def _paragraph(beside: "_Element", words: str) -> "_Element":
    paragraph = beside.makeelement(f"{_W}p", {})
    paragraph.append(_run(beside, words))
    return paragraph


def _table(beside: "_Element", rows: Iterable[Sequence[str]]) -> "_Element":
    table = beside.makeelement(f"{_W}tbl", {})
    for name in ("tblPr", "tblGrid"):
        table.append(table.makeelement(f"{_W}{name}", {}))
    for cells in rows:
        row = table.makeelement(f"{_W}tr", {})
        for words in cells:
            cell = row.makeelement(f"{_W}tc", {})
            cell.append(_paragraph(row, words))
            row.append(cell)
        table.append(row)
    return table


def _drop(element: "_Element") -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _replace(element: "_Element", children: "list[_Element]") -> None:
    """Put the children where their wrapper stands."""
    parent = element.getparent()
    if parent is None:
        return
    at = parent.index(element)
    parent.remove(element)
    for offset, child in enumerate(children):
        parent.insert(at + offset, child)
