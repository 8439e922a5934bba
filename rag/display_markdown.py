"""Documents' words in Markdown: they show as what they are and make no link, image, heading or HTML."""

import re
from collections.abc import Iterable, Sequence

from rag.display import printable

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_INLINE = re.compile(r"[\\`*_\[\]#|~$@]")
_LINE_START = re.compile(r"^([-+=:])|^(\d+)([.)])")
# Many viewers make links of bare addresses: https://…, www.…, and some of any two words with a dot between.
_ADDRESS = re.compile(r":(?=//)|(?<=\w)\.(?=[^\W\d])")


def markdown_lines(text: str) -> list[str]:
    """The lines of a text as Markdown that shows just these lines, without the empty ones."""
    return [_escaped(line) for line in map(str.strip, printable(text).split("\n")) if line]


def markdown_text(text: str) -> str:
    """A text as a Markdown paragraph that keeps its line breaks."""
    return "\\\n".join(markdown_lines(text))


def markdown_line(text: str) -> str:
    """A text as Markdown on one line."""
    return _escaped(" ".join(printable(text).split()))


def markdown_source(number: int, title: str, notes: Sequence[str], quote: str) -> str:
    """A source as an item of a numbered list, its quote in a block of its own below."""
    label = f"{number}. "
    indent = " " * len(label)
    told = "".join(f"\\\n{indent}{markdown_line(note)}" for note in notes)
    quoted = f"\\\n{indent}> ".join(markdown_lines(quote))
    return f"{label}**{markdown_line(title)}**{told}\n\n{indent}> {quoted}\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows below the names of their columns."""
    lines = [[str(cell) for cell in row] for row in rows]
    shown = ["| " + " | ".join(map(markdown_line, line)) + " |" for line in [[*columns], *lines]]
    return "\n".join([shown[0], "|" + " --- |" * len(columns), *shown[1:]]) + "\n"


def _escaped(line: str) -> str:
    line = _ADDRESS.sub(r"\\\g<0>", _INLINE.sub(r"\\\g<0>", line))
    return _LINE_START.sub(lambda start: f"\\{start[1]}" if start[1] else f"{start[2]}\\{start[3]}", line).translate(
        _ENTITIES
    )
