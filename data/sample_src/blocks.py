"""A very small markup, a subset of Markdown, from which the PDF, DOCX, ODT, EPUB and HTML files are made."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
Kind = Literal["heading", "paragraph", "note", "bullets", "steps", "table"]


@dataclass
class Block:
    """One heading, paragraph, note, list or table."""

    kind: Kind
    text: str = ""
    level: int = 0
    items: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def source(name: str) -> str:
    """Return the text of a file in this folder."""
    return (HERE / name).read_text(encoding="utf-8")


def parse(text: str) -> Iterator[Block]:
    """Yield the blocks of a text; blank lines stand between them."""
    for chunk in re.split(r"\n\s*\n", text.strip()):
        lines = chunk.split("\n")
        first = lines[0]
        if heading := re.match(r"(#+) (.+)", first):
            yield Block("heading", heading[2], len(heading[1]))
        elif first.startswith("> "):
            yield Block("note", " ".join(line.removeprefix("> ") for line in lines))
        elif first.startswith("- "):
            yield Block("bullets", items=[line[2:] for line in lines])
        elif re.match(r"\d+\. ", first):
            yield Block("steps", items=[line.split(". ", 1)[1] for line in lines])
        elif first.startswith("|"):
            yield Block("table", rows=[[cell.strip() for cell in line.strip("|").split("|")] for line in lines])
        else:
            yield Block("paragraph", " ".join(lines))


def load(name: str) -> list[Block]:
    """Return the blocks of a source file."""
    return list(parse(source(name)))
