"""Answers, hits and reports for a terminal: documents are hostile, so nothing of theirs reaches it as a command."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from rag.types import Answer, CitationStatus, Hit

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STYLE = {CitationStatus.VERIFIED: "green", CitationStatus.REPAIRED: "yellow", CitationStatus.UNVERIFIED: "red"}


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


def print_answer(console: Any, answer: Answer) -> None:
    """An answer and its sources, on a rich console, which leaves colours out where they are not wanted."""
    from rich.text import Text

    console.print(Text(printable(answer.text)), soft_wrap=True)
    if answer.abstained:
        console.print(Text(f"({answer.reason})", style="dim"), soft_wrap=True)
        if answer.hits:
            console.print(Text("Nearest passages:", style="dim"))
            for hit in answer.hits[:3]:
                console.print(
                    Text(f"  {printable(hit.location)}: {one_line(hit.text, 100)}", style="dim"), soft_wrap=True
                )
        return
    console.print()
    for citation in answer.citations:
        line = Text(f"[{citation.n}] {printable(citation.location)} ")
        line.append(f"({citation.status.value})", style=_STYLE[citation.status])
        if citation.stale:
            line.append(" (changed since it was indexed)", style="red")
        line.append(f"\n    “{one_line(citation.quote, 400)}”", style="dim")
        console.print(line, soft_wrap=True)


def print_hits(console: Any, hits: Sequence[Hit]) -> None:
    """Search results, best first."""
    from rich.text import Text

    for number, hit in enumerate(hits, 1):
        line = Text(f"{number}. {printable(hit.location)}", style="bold")
        line.append(f"  {hit.score:.2f}", style="dim")
        if hit.headings:
            line.append(f"  {one_line(' > '.join(hit.headings), 80)}", style="dim")
        console.print(line, soft_wrap=True)
        console.print(Text(f"   {one_line(hit.text, 300)}"), soft_wrap=True)


def print_table(
    console: Any, columns: Sequence[str], rows: Iterable[Sequence[object]], *, header_when_piped: bool = False
) -> None:
    """A table on a terminal; lines of tab-separated values where the output is piped."""
    listed = [[printable(str(cell)) for cell in row] for row in rows]
    if not console.is_terminal:
        for row in [list(columns), *listed] if header_when_piped else listed:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in listed:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
