"""Answers and hits on a terminal: each source a link to its file and page, each status in words."""

import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rag.display import one_line, printable
from rag.formed_answer import FormedAnswer
from rag.types import Answer, Citation, CitationStatus, Hit, also_in

FileOf = Callable[[str], Path | None]

_STYLE = {CitationStatus.VERIFIED: "green", CitationStatus.REPAIRED: "yellow", CitationStatus.UNVERIFIED: "red"}


def print_answer(console: Any, answer: Answer, file_of: FileOf) -> None:
    """An answer and its sources, on a rich console, which leaves colours out where they are not wanted.

    `file_of` says where a source's file lies, or None: KnowledgeBase.file_of does.
    """
    from rich.text import Text

    if answer.searched:
        console.print(Text(f"(searched for: {one_line(answer.searched, 400)})", style="dim"), soft_wrap=True)
    console.print(Text(printable(answer.text)), soft_wrap=True)
    if answer.notice:
        console.print(Text(f"({answer.notice})", style="yellow"), soft_wrap=True)
    if answer.abstained:
        console.print(Text(f"({printable(answer.reason)})", style="dim"), soft_wrap=True)
        if answer.hits:
            console.print(Text("Nearest passages:", style="dim"))
            for hit in answer.hits[:3]:
                line = Text("  ", style="dim")
                line.append(_located(console, hit, file_of))
                line.append(f": {one_line(hit.text, 100)}")
                console.print(line, soft_wrap=True)
        return
    console.print()
    _print_sources(console, answer.citations, file_of)


def print_formed(console: Any, answer: FormedAnswer[Any], file_of: FileOf) -> None:
    """A filled form, a line a field, and its sources, as print_answer does it."""
    from rich.text import Text

    console.print(Text(printable(answer.text)), soft_wrap=True)
    for told, style in ((answer.notice, "yellow"), (answer.reason, "dim")):
        if told:
            console.print(Text(f"({printable(told)})", style=style), soft_wrap=True)
    if answer.sources:
        console.print()
        _print_sources(console, answer.sources, file_of)


def _print_sources(console: Any, citations: Sequence[Citation], file_of: FileOf) -> None:
    from rich.text import Text

    for citation in citations:
        line = Text(f"[{citation.n}] ")
        line.append(_located(console, citation, file_of))
        line.append(f" ({citation.status.value})", style=_STYLE[citation.status])
        for caveat in citation.caveats:
            line.append(f" ({caveat})", style="bold red")
        line.append(f"\n    “{one_line(citation.quote, 400)}”", style="dim")
        if citation.also:
            line.append(f"\n    {also_in(citation.also)}", style="dim")
        console.print(line, soft_wrap=True)


def print_hits(console: Any, hits: Sequence[Hit], file_of: FileOf) -> None:
    """Search results, best first."""
    from rich.text import Text

    for number, hit in enumerate(hits, 1):
        line = Text(f"{number}. ", style="bold")
        line.append(_located(console, hit, file_of))
        line.append(f"  {hit.score:.2f}", style="dim")
        if hit.headings:
            line.append(f"  {one_line(' > '.join(hit.headings), 80)}", style="dim")
        console.print(line, soft_wrap=True)
        console.print(Text(f"   {one_line(hit.text, 300)}"), soft_wrap=True)
        if hit.also:
            console.print(Text(f"   {also_in(hit.also)}", style="dim"), soft_wrap=True)


def _located(console: Any, shown: Hit | Citation, file_of: FileOf) -> Any:
    from rich.style import Style
    from rich.text import Text

    link = link_to(console, shown.source, shown.page, file_of)
    return Text(" ".join(printable(shown.location).split()), style=Style(link=link))


def link_to(console: Any, source: str, page: int | None, file_of: FileOf) -> str | None:
    """The address of a source where a person can follow it: on a terminal, to a file that is there; else None.

    FORCE_COLOR makes rich take a pipe for a terminal; colours may go there, links must not.
    """
    can_be_followed = console.file.isatty() and not console.is_dumb_terminal
    file = file_of(source) if can_be_followed else None
    return file_uri(file, page) if file else None


def file_uri(path: Path, page: int | None) -> str | None:
    """The address of a file, with its page if it is a PDF; None where no such file is there.

    Of a document inside an archive or a mailbox it is the address of that file. The address names this machine, as
    terminals ask for: over SSH they would open a file of the same name on the machine in front of the person.
    """
    file = next((path for path in (path, *path.parents) if path.is_file()), None)
    if file is None:
        return None
    uri = file.absolute().as_uri()
    if sys.platform != "win32":
        uri = f"file://{quote(socket.gethostname())}{uri.removeprefix('file://')}"
    return f"{uri}#page={page}" if page and file == path and file.suffix.lower() == ".pdf" else uri
