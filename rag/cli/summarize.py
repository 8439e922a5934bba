"""`rag summarize`: whole documents in a few sentences, each with its evidence."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.complete as complete
import rag.cli.flags as flags
from rag.cli.common import console, knowledge_base, notify, print_json
from rag.errors import ServerError
from rag.search.where import all_of
from rag.types import Cut

if TYPE_CHECKING:
    from rag.answer import Said
    from rag.summarizing.summarize import Progress, Summarizer
    from rag.summarizing.summary import Summary

    Show = Callable[[Progress | Said], None]


class Length(StrEnum):
    """How long a summary is."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


_SENTENCES = {Length.SHORT: 3, Length.MEDIUM: 6, Length.LONG: 12}


def summarize(
    source: Annotated[
        str,
        typer.Argument(
            help="A document as `rag ls` names it, its file, the end of either, or a folder or glob of them.",
            autocompletion=complete.sources,
        ),
    ] = "",
    length: Annotated[Length, typer.Option(help="3, 6 or 12 sentences.")] = Length.MEDIUM,
    sentences: Annotated[int | None, typer.Option(min=1, help="How many sentences.", show_default=False)] = None,
    about: Annotated[str, typer.Option(help="Only what is said about this.", show_default=False)] = "",
    strict: flags.Strict = False,
    kb: flags.Kb = None,
    at: flags.At = None,
    where: flags.Where = None,
    path: flags.Paths = None,
    model: flags.ChatModel = None,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown: the summary and its sources.")] = False,
    json: flags.Json = False,
) -> None:
    """Sum up whole documents, each sentence with its evidence in them; say which parts it cites and which it does not.

    Long documents are read in parts. Ctrl-C prints what those give that were read; run again, it goes on from there.

    Example: rag summarize manual.pdf --length short --about "safety"
    """
    if json and markdown:
        raise typer.BadParameter("choose one of --json and --markdown.", param_hint="--markdown")
    if not (source or where or path):
        raise typer.BadParameter("name a document, or give --path or --where; --path '**' is all.", param_hint="SOURCE")
    with knowledge_base(kb, at, chat_model=model, ttl_s=ttl, download=download) as base:
        summarizer = base.summarizing(
            source,
            where=all_of(where or ()),
            paths=path or (),
            sentences=sentences or _SENTENCES[length],
            about=about,
            strict=strict,
        )
        with _shown() as show:
            summary = _summarized(summarizer, show)
        if json:
            print_json(summary.to_dict())
        elif markdown:
            sys.stdout.write(summary.to_markdown())
        else:
            from rag.display_answer import print_answer

            out = console()
            print_answer(out, summary.answer, base.file_of)
            out.print(f"\n{summary.told_coverage}", soft_wrap=True, style="dim")
    if summary.answer.cut is Cut.INTERRUPTED:
        raise typer.Exit(130)


def _summarized(summarizer: "Summarizer", show: "Show") -> "Summary":
    """The summary; after an interrupt what there is of it, if there is anything."""
    from rag.summarizing.summarize import Progress
    from rag.summarizing.summary import Summary

    summary: Summary | None = None
    begun = 0
    events = summarizer.run()
    try:
        for event in events:
            if isinstance(event, Summary):
                summary = event
            else:
                begun = event.number if isinstance(event, Progress) else begun
                show(event)
    except ServerError:
        if begun > 1:
            notify(f"What was written of {begun - 1} parts is kept; run the same command to go on.")
        raise
    except KeyboardInterrupt as interrupt:
        if summary is None:  # it came while something was being shown
            last = events.throw(interrupt)
            assert isinstance(last, Summary)
            return last
    assert summary is not None
    return summary


@contextmanager
def _shown() -> "Iterator[Show]":
    """What tells how far it is, on stderr: a line that changes on a terminal, else ten lines at most."""
    from rag.answer import Said

    err = console(stderr=True)
    if not err.is_terminal:

        def tell(event: "Progress | Said") -> None:
            if (
                not isinstance(event, Said)
                and event.number * 10 // event.count > (event.number - 1) * 10 // event.count
            ):
                notify(_told(event))

        yield tell
        return

    from rich.live import Live
    from rich.text import Text

    from rag.display import printable

    draft = ""
    with Live(Text("…", style="dim"), console=err, transient=True, refresh_per_second=12) as live:

        def show(event: "Progress | Said") -> None:
            nonlocal draft
            if isinstance(event, Said):
                draft = event.text if event.again else draft + event.text
                live.update(Text(printable(draft) or "…", style="dim"))
            else:
                live.update(Text(_told(event), style="dim"))

        yield show


def _told(step: "Progress") -> str:
    if step.part is None:
        return f"joining {step.count} parts"
    return f"part {step.number} of {step.count}: {step.part.name}"
