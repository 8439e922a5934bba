"""Text for a terminal: documents are hostile, so nothing of theirs reaches it as a command."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB")


def as_text(value: object, printer: Any, _cycle: bool) -> None:
    """A class's `_repr_pretty_`: IPython shows `str` where it shows no HTML, not the code that would make the value."""
    printer.text(str(value))


def printable(text: str) -> str:
    """The text with every character that could steer a terminal, or turn its writing round, made visible.

    Line breaks and tabs stay. Escape sequences, other control characters and bidirectional overrides become `\\x1b`
    and the like.
    """
    return "".join(
        char if char in "\n\t" or not _steers(char) else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _steers(char: str) -> bool:
    is_bidi_control = "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"
    return is_bidi_control or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def one_line(text: str, length: int = 160) -> str:
    """The text on one line, printable, and no longer than `length` characters."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= length else f"{flat[: length - 1].rstrip()}…"


def human_bytes(size: float | None) -> str:
    """A size in the largest unit that leaves a number above 1: `1.4 GB`."""
    if size is None:
        return "-"
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes everything")


def text_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows below the names of their columns, in columns of equal width."""
    lines = [[one_line(str(cell), 80) for cell in row] for row in [columns, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def print_table(
    console: Any,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    header_when_piped: bool = False,
    link: Callable[[str], str | None] = lambda cell: None,
) -> None:
    """A table on a terminal; lines of tab-separated values where the output is piped.

    `link` gives the address that a first cell leads to, if any.
    """
    whole = list(rows)
    listed = [[printable(str(cell)) for cell in row] for row in whole]
    if not console.is_terminal:
        for row in [list(columns), *listed] if header_when_piped else listed:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for cells, (first, *rest) in zip(whole, listed, strict=True):
        table.add_row(Text(first, style=Style(link=link(str(cells[0])))), *(Text(cell) for cell in rest))
    console.print(table)
