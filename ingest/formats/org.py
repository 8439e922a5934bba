"""Org files: pieces by the lines that each block stands on. Pandoc's way would lose the places, as with `rst`."""

import re

from ingest.formats.blocks import row_line
from ingest.formats.slices import Lines, Slices
from ingest.formats.text import decode
from rag.types import Document, Kind

_HEADING = re.compile(r"(?P<stars>\*{1,20})[ \t]+(?P<name>\S.*)")
# The states that Org itself knows: marks of its readers, not ours.
_STATE = re.compile(r"\A(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED|CANCELED)[ \t]+)?(?:\[#\w\][ \t]*)?(?:COMMENT[ \t]+)?")
_TAGS = re.compile(r"[ \t]+:[\w@#%:]+:[ \t]*\Z")
_ITEM = re.compile(r"\s*(?:[-+]|(?<=\s)\*|(?:\d{1,9}|[A-Za-z])[.)])\s+\S")
_KEYWORD = re.compile(r"#\+(?P<name>\w+):[ \t]*(?P<value>.*?)[ \t]*\Z")
_BEGIN = re.compile(r"\s*#\+begin_(?P<name>\w+)", re.IGNORECASE)
_VERBATIM = frozenset({"src", "example", "export", "comment"})
_MARKS = re.compile(r"\[\[[^\]]*\]\[|\]\]|\[\[|(?<!\w)[=~*/_+]+(?=\w)|(?<=\w)[=~*/+]+(?!\w)")
# Instructions to the exporter say nothing of what the document is about.
_INSTRUCTIONS = frozenset({"options", "startup", "property", "include", "setupfile", "todo", "macro", "tblfm", "latex"})


def parse_org(data: bytes, source: str) -> Document:
    """An Org file: `document.text` is the file's text, marks included.

    `#+TITLE` or else the first heading is the title, other keywords at the start are metadata. Raises
    UnreadableDocument for binary data, EmptyDocument.
    """
    text = decode(data, source)
    slices, lines = Slices(text), Lines(text)
    keywords: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        if lines.is_blank(number):
            number += 1
        elif found := _HEADING.match(line):
            name = _MARKS.sub("", _STATE.sub("", _TAGS.sub("", found["name"])))
            slices.heading(lines.starts[number], lines.starts[number + 1], name, len(found["stars"]))
            number += 1
        elif begin := _BEGIN.match(line):
            number = _block(slices, lines, number, begin["name"].lower())
        elif keyword := _KEYWORD.match(line):
            if not slices.first_heading and keyword["value"] and keyword["name"].lower() not in _INSTRUCTIONS:
                keywords.setdefault(keyword["name"].lower(), keyword["value"])
            slices.add(lines.starts[number], lines.starts[number + 1])
            number += 1
        elif line.lstrip().startswith("|"):
            number = _table(slices, lines, number)
        else:
            number = _text(slices, lines, number)
    title = keywords.pop("title", "")
    return slices.document(source, title or slices.first_heading, "org", keywords)


def _block(slices: Slices, lines: Lines, first: int, name: str) -> int:
    """A block from its begin to its end; one that is never ended, or that holds prose, is its first line alone."""
    end = re.compile(rf"\s*#\+end_{re.escape(name)}\b", re.IGNORECASE)
    behind = first + 1
    if name in _VERBATIM:
        while behind < len(lines) and not end.match(lines[behind]) and not _HEADING.match(lines[behind]):
            behind += 1
        behind = behind + 1 if end.match(lines[behind]) else first + 1
    slices.add(lines.starts[first], lines.starts[behind], Kind.CODE if behind > first + 1 else Kind.PARAGRAPH)
    return behind


def _table(slices: Slices, lines: Lines, number: int) -> int:
    header = ""
    begin = number
    while lines[number].lstrip().startswith("|"):
        number += 1
        if lines[number].lstrip().startswith("|-") or not _first_row(lines, begin, number):
            continue  # a rule belongs to the row above it, the first one to the row below
        slices.add(lines.starts[begin], lines.starts[number], Kind.ROW, header)
        header = header or _first_row(lines, begin, number)
        begin = number
    slices.add(lines.starts[begin], lines.starts[number], Kind.ROW, header)
    return number


def _first_row(lines: Lines, first: int, behind: int) -> str:
    rows = (lines[number].strip() for number in range(first, behind))
    return next((row_line(row.strip("|").split("|")) for row in rows if not row.startswith("|-")), "")


def _text(slices: Slices, lines: Lines, first: int) -> int:
    fixed = lines[first].lstrip().startswith(": ")
    behind = first
    while not lines.is_blank(behind) and lines[behind].lstrip().startswith(": ") == fixed:
        if behind > first and (_HEADING.match(lines[behind]) or lines[behind].lstrip().startswith(("#+", "|"))):
            break
        behind += 1
    for begin, end, is_item in lines.items(first, behind, _ITEM):
        kind = Kind.CODE if fixed else Kind.LIST_ITEM if is_item else Kind.PARAGRAPH
        slices.add(lines.starts[begin], lines.starts[end], kind)
    return behind
