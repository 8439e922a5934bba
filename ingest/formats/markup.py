"""XML of any kind: prose with its headings, lists and tables, data as lines `name: value`.

`unstructured` gives the text nodes of an XML file one by one, without structure, and splits a paragraph at each word
in italics; the shapes that hold text (articles, patents, books, feeds, records) need no more than the names below.
"""

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.formats.blocks import Blocks, one_line
from ingest.formats.text import decode, parse_text
from ingest.formats.webpage import fill_from_html
from rag.errors import EmptyDocument
from rag.types import Document, Kind

if TYPE_CHECKING:
    from lxml.etree import _Element

_HEADS = frozenset("title heading head article-title invention-title title-of-invention bridgehead".split())
_PROSE = frozenset("p para simpara paragraph claim abstract disp-quote blockquote description".split())
_TABLES = frozenset({"table", "informaltable"})
_ROWS = frozenset({"tr", "row"})
_ITEMS = frozenset({"li", "list-item", "listitem", "item"})
_LISTS = frozenset("ul ol list itemizedlist orderedlist variablelist".split())
_CODE = frozenset("programlisting screen preformat pre literallayout verbatim code-block".split())
# Their parts read like headings and paragraphs, but they are one thing.
_WHOLE = frozenset(
    "ref mixed-citation element-citation citation bibl biblioentry contrib contrib-group aff name".split()
)
_SILENT = frozenset({"script", "style"})
_BREAKS = _TABLES | _LISTS | _CODE | _HEADS | {"fig", "figure", "table-wrap", "sec", "section", "claim-text"}
_NAMED = _HEADS | _PROSE | _BREAKS | _ITEMS | _ROWS | _SILENT | {"label", ""}
_WORD_CHARS = 40
_SHORT_CHARS = 300
_RECORD_CHARS = 1500
_ENTITY = re.compile(r"&([A-Za-z][\w.-]*);")
_DECLARED = re.compile(r"<!ENTITY\s+([\w.-]+)\s")
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([\w.:-]+)""")
_XML_OWN = frozenset({"lt", "gt", "amp", "quot", "apos"})
_TAGS = re.compile(r"<[^<>]*>")
_HTML = re.compile(r"<(?:p|div|span|table|ul|ol|li|br|h[1-6]|b|i|a|em|strong)\b[^<>]*>", re.IGNORECASE)


def parse_xml(data: bytes, source: str) -> Document:
    """An XML file. A damaged one is read as far as it makes sense, or else as the text that it is.

    Raises UnreadableDocument for binary data, EmptyDocument.
    """
    text = _text(data, source)
    blocks = Blocks()
    kept = 0
    for part in _documents(text):
        root, is_whole = _tree(part)
        if root is not None:
            # Twice the recovered text: what was between tags is all that can have been lost.
            kept += len(part) if is_whole else 2 * sum(len(words.strip()) for words in root.itertext())
            _Reader(blocks).read(root)
    if kept < len(_TAGS.sub("", text).strip()):
        return parse_text(text.encode("utf-8"), source)
    return blocks.document(source, blocks.first_heading, "xml")


def _text(data: bytes, source: str) -> str:
    declared = _ENCODING.search(data[:400])
    if declared:
        try:
            return data.decode(declared[1].decode("ascii")).removeprefix("\ufeff")
        except (LookupError, UnicodeDecodeError):
            pass
    text = decode(data, source)
    if not text.strip():
        raise EmptyDocument(f"{source} holds no text")
    return text


def _documents(text: str) -> Iterator[str]:
    """The documents of a file: patent offices and log writers put thousands into one, each with its declaration."""
    starts = [found.start() for found in _DECLARATION.finditer(text)] if text.count("<?xml ") > 1 else []
    for start, end in zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True):
        yield _DECLARATION.sub("", text[start:end], count=1)


def _tree(text: str) -> tuple["_Element | None", bool]:
    """The root, None where there is nothing to save, and whether the text was whole.

    Entities are expanded where the file declares them itself and where HTML knows them; nothing is fetched.
    """
    from lxml import etree

    own = _XML_OWN.union(_DECLARED.findall(text))
    named = _ENTITY.sub(lambda found: found[0] if found[1] in own else _character(found[0]), text)
    data = named.encode("utf-8", "replace")
    for recover in (False, True):
        parser = etree.XMLParser(
            encoding="utf-8", resolve_entities="internal", no_network=True, recover=recover, remove_comments=True,
            remove_pis=True,
        )  # fmt: skip
        try:
            return etree.fromstring(data, parser), not recover
        except (etree.XMLSyntaxError, ValueError):
            continue
    return None, False


def _character(entity: str) -> str:
    meant = html.unescape(entity)
    return f"&amp;{entity[1:]}" if meant == entity else meant


def _name(element: "_Element") -> str:
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _is_mixed(element: "_Element") -> bool:
    """Whether an element has words of its own between its children."""
    return len(element) > 0 and bool(
        (element.text or "").strip() or any((child.tail or "").strip() for child in element)
    )


class _Reader:
    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def read(self, root: "_Element") -> None:
        """Prose has words between elements somewhere, or says that it has paragraphs; all else is data."""
        if any(_is_mixed(element) or _name(element) in _PROSE for element in root.iter()):
            self.prose(root, 1)
        else:
            self.data(root, ())

    def prose(self, element: "_Element", level: int) -> None:
        """An element and what is in it; headings in it have the given level."""
        name = _name(element)
        if name in _SILENT or not name:
            return
        if name in _HEADS:
            self.blocks.heading(_words(element), level)
        elif name in _TABLES:
            self.table(element, level)
        elif name in _CODE:
            self.blocks.add("".join(element.itertext()), Kind.CODE)
        elif name in _WHOLE or self._is_short(element):
            self.blocks.add(_words(element), Kind.LIST_ITEM if name in _ITEMS else Kind.PARAGRAPH)
        elif len(element) == 0 or _is_mixed(element) or name == "p":
            self.mixed(element, level, Kind.LIST_ITEM if name in _ITEMS else Kind.PARAGRAPH)
        else:
            self.container(element, level)

    def container(self, element: "_Element", level: int) -> None:
        """An element of elements: with a heading of its own, what is in it stands one level deeper."""
        names = [_name(child) for child in element]
        head = next((at for at, name in enumerate(names) if name in _HEADS), None)
        label = ""
        inner = level + (head is not None)
        words: list[str] = []
        for name, child in zip(names, element, strict=True):
            if name not in _NAMED and len(child) == 0 and len(child.text or "") <= _WORD_CHARS:
                words.append(_words(child))  # codes and dates, one word each, say something only together
                continue
            self.blocks.add(" ".join(words))
            words = []
            if name == "label" and head is not None and not label and len(child) == 0:
                label = _words(child)
            elif name in _HEADS and head is not None:
                self.blocks.heading(f"{label} {_words(child)}", level)
                label = ""
            else:
                self.prose(child, inner)
        self.blocks.add(" ".join([*words, label]))

    def mixed(self, element: "_Element", level: int, kind: Kind) -> None:
        """Words with elements among them; tables, lists and figures part them."""
        if _HTML.search(element.text or "") and len(element) == 0:
            fill_from_html(self.blocks, element.text or "", below=level - 1)
            return
        parts = [element.text or ""]
        for child in element:
            name = _name(child)
            if name in _BREAKS or (_is_mixed(child) and any(_name(inner) in _BREAKS for inner in child)):
                self.blocks.add(one_line("".join(parts)), kind)
                parts = []
                self.prose(child, level)
            else:
                parts.append(_words(child))
            parts.append(child.tail or "")
        self.blocks.add(one_line("".join(parts)), kind)

    def table(self, element: "_Element", level: int) -> None:
        for child in element:
            if _name(child) in _HEADS or _name(child) == "caption":
                self.blocks.add(_words(child))
        self.blocks.table([_words(cell) for cell in row] for row in element.iter() if _name(row) in _ROWS)

    def data(self, element: "_Element", path: tuple[str, ...]) -> None:
        """A record, or what is in it where that is too much for one block."""
        here = (*path, _name(element))
        size = 0
        for found in element.iter():
            size += len(found.text or "") + sum(map(len, found.attrib.values()))
            if size > _RECORD_CHARS:
                break
        if len(element) == 0 and _HTML.search(element.text or ""):
            self.blocks.stand_below(*here[-3:])
            fill_from_html(self.blocks, element.text or "", below=3)
            return
        if len(element) == 0 or (size <= _RECORD_CHARS and not self._is_list(element)):
            self.blocks.stand_below(*here[-3:])
            self.blocks.add("\n".join(_fields(element)))
            return
        self.blocks.stand_below(*here[-3:])
        self.blocks.add("\n".join(f"{key}: {value}" for key, value in _attributes(element)))
        for child in element:
            if _name(child):
                self.data(child, here)

    @staticmethod
    def _is_list(element: "_Element") -> bool:
        """Whether an element holds records of one name."""
        names = {_name(child) for child in element if _name(child)}
        return len(element) > 1 and len(names) == 1 and any(len(child) for child in element)

    @staticmethod
    def _is_short(element: "_Element") -> bool:
        """Whether an element of elements is a name, a date or an address rather than text with structure."""
        if len(element) == 0 or _is_mixed(element):
            return False
        size = 0
        for inner in element.iter():
            size += len((inner.text or "").strip()) + len((inner.tail or "").strip())
            if size > _SHORT_CHARS or (inner is not element and _name(inner) in _PROSE | _BREAKS | _ITEMS):
                return False
        return True


def _words(element: "_Element") -> str:
    """All words in an element on one line, with a blank between elements that have nothing else between them."""
    return one_line("".join(_spaced(element)))


def _spaced(element: "_Element") -> Iterator[str]:
    apart = not _is_mixed(element) and len(element) > 1
    if _name(element) not in _SILENT:
        yield element.text or ""
        for child in element:
            yield from _spaced(child)
            yield child.tail or ""
            if apart:
                yield " "


def _attributes(element: "_Element") -> Iterator[tuple[str, str]]:
    for key, value in element.attrib.items():
        if value.strip() and not str(key).startswith("{"):
            yield str(key), one_line(str(value))


def _fields(element: "_Element") -> Iterator[str]:
    """The values in a record, each on its line behind its dotted name; the record's own name is left out."""
    waiting = [(element, "")]
    while waiting:
        inner, path = waiting.pop()
        for key, value in _attributes(inner):
            yield f"{path}.{key}: {value}" if path else f"{key}: {value}"
        if words := one_line(inner.text or ""):
            yield f"{path or _name(inner)}: {words}"
        named = [(child, _name(child)) for child in inner if _name(child)]
        waiting += [(child, f"{path}.{name}" if path else name) for child, name in reversed(named)]
