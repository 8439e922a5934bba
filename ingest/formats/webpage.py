"""Web pages, and whatever else is written in HTML: chapters of e-books, bodies of mails.

`unstructured` loses text here (what stands beside a picture in a paragraph, terms of definition lists, line breaks in
cells), makes one line of a page that is laid out in tables, and takes two seconds to be imported. So this walks the
tree of lxml.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.formats.blocks import Blocks, one_line
from ingest.formats.charsets import declared
from ingest.formats.grid import put_table, repeats
from ingest.formats.text import decode
from rag.types import Document, Kind

if TYPE_CHECKING:
    from lxml.html import HtmlElement

# Without a reader's text. What browsers keep from those who listen to a page is decoration or said twice, if short.
_BOILERPLATE = (
    "//nav|//footer|//script|//style|//noscript|//template|//head|//svg|//canvas|//iframe|//object|//audio|//video|//rt"
    "|//rp|//datalist|//*[@role='navigation' or @role='contentinfo']|//*[@hidden]|//option[not(@selected)]"
    "|//*[@aria-hidden='true'][string-length(normalize-space()) < 200]|//*[contains(@class, 'mw-editsection')]"
)
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure form "
    "frameset header hgroup hr html legend li main menu ol p section summary table tbody td tfoot th thead tr "
    "ul".split()
)
_SHOWN_INPUTS = frozenset({"text", "submit", "button", "email", "tel", "number", "date"})
_HEADING = re.compile("h([1-6])")
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""")
_SPACE = re.compile(r"[ \t\n\r\f]+")
_BREAK = "\x00"
_BREAKS = re.compile(f" ?{_BREAK} ?")
_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|gif|svg|webp)", re.IGNORECASE)
_DEEPEST = 200
_LONGEST_CELL = 400  # characters on average: longer ones are the columns of a page
_MOST_SPANNED = 1_000
_MOST_CELLS = 200_000  # empty or repeated ones included


def parse_html(data: bytes, source: str) -> Document:
    """A web page. Raises ParseError, or what lxml raises for a damaged file."""
    blocks = Blocks()
    page_title = fill_from_html(blocks, html_text(data, source))
    return blocks.document(source, page_title or blocks.first_heading, "html")


def html_text(data: bytes, source: str) -> str:
    """A page's text: a declared encoding is tried before any guess. Raises UnreadableDocument for binary data."""
    named = _CHARSET.search(data[:2048])
    text = declared(data, named[1].decode("ascii")) if named else None
    return decode(data, source) if text is None else text


def fill_from_html(blocks: Blocks, text: str, below: int = 0) -> str:
    """The blocks of a web page, headings `below` levels down; returns the page's title. Raises ValueError."""
    from lxml import html as lxml_html

    if not text.strip():
        return ""
    # An encoding that a page declares is refused by lxml in text that has been decoded.
    parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    root: HtmlElement = lxml_html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    if any("depth" in entry.message.lower() for entry in parser.error_log):
        # The rest of the page is lost then, without a word.
        raise ValueError("its elements are nested too deep")
    title = str(root.findtext(".//title") or "")
    for element in root.xpath(_BOILERPLATE):
        if element.getparent() is not None:
            element.drop_tree()
    walker = _Walker(blocks, below)
    walker.walk(root, Kind.PARAGRAPH, 0)
    walker.flush(Kind.PARAGRAPH)
    return title


class _Walker:
    """Walks the tree; text of inline elements gathers until a block begins or ends."""

    def __init__(self, blocks: Blocks, below: int) -> None:
        self._blocks = blocks
        self._below = below
        self._line: list[str] = []
        self._number = ""  # of the list item whose text has not begun

    def flush(self, kind: Kind) -> None:
        text = _SPACE.sub(" ", "".join(self._line))
        self._line = []
        # Two line breaks are how old pages part their paragraphs.
        for paragraph in re.split(f"(?: ?{_BREAK} ?){{2,}}", text):
            if words := _BREAKS.sub("\n", paragraph).strip():
                self._blocks.add(self._number + words, kind)
                self._number = ""

    def walk(self, element: "HtmlElement", kind: Kind, depth: int) -> None:
        """The content of an element, without what follows it."""
        tag = element.tag if isinstance(element.tag, str) else ""
        if depth > _DEEPEST:
            self._line.append(" ".join(element.itertext()))
        elif heading := _HEADING.fullmatch(tag):
            self.flush(kind)
            words = _flat(element).replace("\n", " ").strip("¶# \u200b")
            self._blocks.heading(words, int(heading[1]) + self._below)
        elif tag == "pre":
            self.flush(kind)
            for line_break in element.iter("br"):
                line_break.text = "\n"
            self._blocks.add("".join(element.itertext()).strip("\n"), Kind.CODE)
        elif tag == "table":
            self.flush(kind)
            if _is_data(element):
                self._table(element)
            else:
                self._children(element, kind, depth)
                self.flush(kind)
        elif tag in _BLOCKS:
            self.flush(kind)
            inner = Kind.LIST_ITEM if tag == "li" else kind
            if tag == "li":
                above = element.getparent()
                ordered = above is not None and above.tag == "ol" and "none" not in (above.get("style") or "")
                self._number = f"{element.get('value')}. " if ordered else ""
            elif tag == "ol":
                _number(element)
            self._children(element, inner, depth)
            self.flush(inner)
        elif tag == "br":
            self._line.append(_BREAK)
        elif tag == "img":
            self._line.append(_description(element))
        elif tag == "math":
            self._line.append(_formula(element))
        elif tag == "input":
            shown = element.get("type", "text").lower() in {
                "text",
                "submit",
                "button",
                "email",
                "tel",
                "number",
                "date",
            }
            self._line.append(f" {element.get('value', '')} " if shown else "")
        elif tag != "annotation":
            self._children(element, kind, depth)

    def _children(self, element: "HtmlElement", kind: Kind, depth: int) -> None:
        if element.text:
            self._line.append(element.text)
        for child in element:
            self.walk(child, kind, depth + 1)
            if child.tail:
                self._line.append(child.tail)

    def _table(self, table: "HtmlElement") -> None:
        caption = table.find("caption")
        if caption is not None:
            self._blocks.add(_flat(caption))
        put_table(self._blocks, _rows(table))


def _number(items: "HtmlElement") -> None:
    """Give each item of an ordered list its number, as a page shows it. In one go: a list may have 100,000 items."""
    start = items.get("start", "1")
    number = int(start) if start.lstrip("-").isdecimal() and len(start) < 9 else 1
    for item in items.iterchildren("li"):
        said = item.get("value", "")
        number = int(said) if said.isdecimal() and len(said) < 9 else number
        item.set("value", str(number))
        number += 1


def _description(image: "HtmlElement") -> str:
    said = one_line(image.get("alt") or "")
    # Formulas on Wikipedia come twice, the second time as a picture.
    repeated = "mwe-math" in (image.get("class") or "")
    return "" if repeated or len(said) < 2 or _FILE_NAME.fullmatch(said) else f" {said} "


def _formula(math: "HtmlElement") -> str:
    """A formula as its author wrote it, where the page holds that, else its letters and signs."""
    for annotation in math.iter("annotation"):
        if "tex" in (annotation.get("encoding") or ""):
            return f" {one_line(annotation.text or '')} "
    return f" {one_line(' '.join(math.itertext()))} "


def _flat(element: "HtmlElement") -> str:
    """All text in an element, blocks and line breaks as line breaks."""
    parts: list[str] = []
    for step, node in _steps(element):
        if node.tag == "br" or node.tag in _BLOCKS:
            parts.append("\n" if step == "start" or node.tag != "br" else "")
        elif node.tag == "img" and step == "start":
            parts.append(_description(node))
        if step == "start" and node.text and node.tag != "annotation":
            parts.append(_SPACE.sub(" ", node.text))
        if step == "end" and node is not element and node.tail:
            parts.append(_SPACE.sub(" ", node.tail))
    return re.sub(r"\s*\n\s*", "\n", "".join(parts)).strip()


def _steps(element: "HtmlElement") -> "Iterator[tuple[str, HtmlElement]]":
    from lxml import etree

    return iter(etree.iterwalk(element, events=("start", "end")))


def _own_rows(table: "HtmlElement") -> "list[HtmlElement]":
    return [row for row in table.iter("tr") if next(row.iterancestors("table"), None) is table]


def _is_data(table: "HtmlElement") -> bool:
    """Whether a table holds data; others give a page its layout."""
    if (
        table.get("role") == "presentation"
        or next(table.iterdescendants("table", "h1", "h2", "h3", "pre"), None) is not None
    ):
        return False
    cells = [len(row.xpath("./td|./th")) for row in _own_rows(table)]
    if max(cells, default=0) < 2:
        return False
    if table.find(".//th") is not None:
        return True
    return len(cells) > 1 and len(table.text_content()) < _LONGEST_CELL * sum(cells)


def _rows(table: "HtmlElement") -> list[list[str]]:
    """The rows; a cell that spans several rows stands in each of them, one that spans columns in its first."""
    rows: list[list[str]] = []
    hanging: dict[int, tuple[int, str]] = {}  # by column: rows that a cell from above still covers, and its words
    made = 0
    for row in _own_rows(table):
        cells: list[str] = []
        for cell in row.iterchildren("td", "th"):
            _hang(cells, hanging)
            words, at = _flat(cell), len(cells)
            # A page may claim spans without end; past the limit its cells stand where they are.
            covered = _span(cell, "colspan") if made < _MOST_CELLS else 1
            below = _span(cell, "rowspan") - 1 if made < _MOST_CELLS else 0
            cells += [words, *[""] * (covered - 1)]
            if below:
                hanging[at] = (below, words if repeats(words) else "")
                hanging.update({at + step: (below, "") for step in range(1, covered)})
        _hang(cells, hanging)
        made += len(cells)
        if made > _MOST_CELLS:
            hanging.clear()
        rows.append(cells)
    return rows


def _hang(cells: list[str], hanging: dict[int, tuple[int, str]]) -> None:
    """Put the cells from above that cover the next columns."""
    while (at := len(cells)) in hanging:
        left, words = hanging.pop(at)
        cells.append(words)
        if left > 1:
            hanging[at] = (left - 1, words)


def _span(cell: "HtmlElement", name: str) -> int:
    said = cell.get(name, "1").strip()
    return min(max(int(said), 1), _MOST_SPANNED) if said.isdecimal() and len(said) < 9 else 1
