"""Markdown: pieces by the lines that each block stands on. The only door to markdown-it-py."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from ingest.formats.blocks import HeadingPath, one_line, row_line
from ingest.formats.front_matter import front_matter
from ingest.formats.text import decode
from rag.errors import EmptyDocument
from rag.types import Document, Kind, Piece

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@lru_cache(maxsize=1)
def _reader() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def parse_markdown(data: bytes, source: str) -> Document:
    """A Markdown file: `document.text` is the file's text, marks included.

    Front matter is no piece: its simple fields are the metadata. Its `title`, or else the first heading of level 1, is
    the title. Raises UnreadableDocument for binary data, EmptyDocument.
    """
    text = decode(data, source)
    body, fields = front_matter(text)
    pieces, first = markdown_pieces(text, body, HeadingPath())
    if not pieces:
        raise EmptyDocument(f"{source} holds no text")
    title = fields.pop("title", "") or first
    return Document(source, text, one_line(title), tuple(pieces), "markdown", fields)


class _Block:
    """The lines [first, behind) of one block, its kind, and what is known of it."""

    __slots__ = ("behind", "first", "header", "kind", "level", "name")

    def __init__(self, first: int, behind: int, kind: Kind, level: int = 0, name: str = "", header: str = "") -> None:
        self.first, self.behind, self.kind = first, behind, kind
        self.level, self.name, self.header = level, name, header


def markdown_pieces(text: str, body: int, path: HeadingPath) -> tuple[list[Piece], str]:
    """The pieces of the text from `body` on, below the headings of `path`, and the first heading of level 1."""
    starts = [body]
    starts += (found.end() for found in re.compile("\n").finditer(text, body))
    starts.append(len(text) + 1)
    title, line = "", 0
    pieces: list[Piece] = []

    def put(first: int, behind: int, kind: Kind, header: str = "") -> None:
        start, end = starts[first], starts[behind] - 1
        if first < behind and (stripped := text[start:end].strip()):
            start = text.index(stripped[0], start)
            pieces.append(Piece(start, start + len(stripped), kind, None, path.names, header))

    for block in _blocks(text[body:]):
        # Rules, comments and link definitions are no blocks of their own: they are text all the same.
        put(line, max(line, block.first), Kind.PARAGRAPH)
        if block.kind is Kind.HEADING:
            path.enter(block.name, block.level)
            title = title or (block.name if block.level == 1 else "")
        line = max(line, block.first)
        put(line, max(line, block.behind), block.kind, block.header)
        line = max(line, block.behind)
    put(line, len(starts) - 1, Kind.PARAGRAPH)
    return pieces, title


def _blocks(text: str) -> Iterator[_Block]:
    """The innermost blocks with the lines they stand on, in order."""
    reader = _reader()
    # Inline marks are read for headings and table headers alone: that is half of the time, and all of the bad cases.
    tokens: list[Token] = []
    reader.block.parse(text, reader, {}, tokens)
    items = 0
    header = ""
    for at, token in enumerate(tokens):
        items += token.nesting if token.type == "list_item_open" or token.type == "list_item_close" else 0
        if token.map is None:
            continue
        first, behind = token.map
        if token.type == "heading_open":
            yield _Block(first, behind, Kind.HEADING, int(token.tag[1:]), _plain(reader, tokens[at + 1].content))
        elif token.type in {"fence", "code_block"}:
            yield _Block(first, behind, Kind.CODE)
        elif token.type in {"paragraph_open", "html_block"}:
            yield _Block(first, behind, Kind.LIST_ITEM if items else Kind.PARAGRAPH)
        elif token.type == "thead_open":
            header = row_line(_plain(reader, cell) for cell in _cells(tokens, at))
            # The line of dashes belongs to the header.
            yield _Block(first, first + 2, Kind.ROW)
        elif token.type == "tr_open" and tokens[at - 1].type != "thead_open":
            yield _Block(first, behind, Kind.ROW, header=header)


def _cells(tokens: "list[Token]", at: int) -> Iterator[str]:
    """The contents of the cells of the table head that opens at `at`."""
    while tokens[at].type != "thead_close":
        if tokens[at].type == "inline":
            yield tokens[at].content
        at += 1


def _plain(reader: "MarkdownIt", inline: str) -> str:
    """A heading's or cell's words without their marks."""
    tokens = reader.parseInline(inline)[0].children or []
    return one_line(
        "".join(" " if t.type in {"softbreak", "hardbreak"} else t.content for t in tokens if t.type != "html_inline")
    )
