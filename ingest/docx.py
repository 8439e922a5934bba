"""Word files made whole: what `unstructured` and python-docx pass over is moved to where they look."""

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Wrappers whose content counts as text: content controls, tracked insertions, smart tags, simple fields.
_WRAPPERS = (f"{_W}ins", f"{_W}moveTo", f"{_W}smartTag", f"{_W}fldSimple")
_DELETED = (f"{_W}del", f"{_W}moveFrom", _FALLBACK)
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")


def completed(data: bytes) -> bytes:
    """The file with text boxes, content controls, tracked insertions, formulas and notes as ordinary paragraphs.

    Raises what zipfile and lxml raise on a damaged file, KeyError where the document is missing.
    """
    from lxml import etree

    target = io.BytesIO()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as rewritten:
        names = archive.namelist()
        for name in dict.fromkeys(names):
            part = archive.read(name)
            if name == "word/document.xml":
                root = etree.fromstring(part, parser)
                _complete(root)
                body = root.find(f"{_W}body")
                for notes in (etree.fromstring(archive.read(note), parser) for note in _NOTES if note in names):
                    if body is not None:
                        _append_notes(body, notes)
                part = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
            rewritten.writestr(name, part)
    return target.getvalue()


def _complete(root: "_Element") -> None:
    for element in list(root.iter(*_DELETED)):
        _drop(element)
    for element in list(root.iter(f"{_W}sdt")):
        content = element.find(f"{_W}sdtContent")
        _replace(element, [] if content is None else list(content))
    for element in list(root.iter(*_WRAPPERS)):
        _replace(element, list(element))
    for element in list(root.iter(f"{_MATH}oMath")):
        words = "".join(element.itertext(f"{_MATH}t"))
        _replace(element, [_run(element, words)])
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
            for paragraph in note.findall(f"{_W}p"):
                body.insert(at, paragraph)
                at += 1


def _run(beside: "_Element", words: str) -> "_Element":
    run = beside.makeelement(f"{_W}r", {})
    text = run.makeelement(f"{_W}t", {"{http://www.w3.org/XML/1998/namespace}space": "preserve"})
    text.text = words
    run.append(text)
    return run


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
