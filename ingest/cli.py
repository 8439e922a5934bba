"""The `ingest` command."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli.common import (
    EXIT_CODES,
    DownloadOption,
    JsonOption,
    KbOption,
    TtlOption,
    console,
    knowledge_base,
    new_app,
    notify,
    print_json,
    run,
)

if TYPE_CHECKING:
    from ingest.pipeline import IngestReport, Outcome
    from rag.knowledge_base import KnowledgeBase

app = new_app("")


@app.command(epilog=EXIT_CODES)
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)],
    kb: KbOption = None,
    prune: Annotated[bool, typer.Option(help="Remove documents whose files are gone from the given folders.")] = True,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Also where a folder is empty now and all of its documents would go.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", help="The embedding model of a new knowledge base.")] = None,
    ttl: TtlOption = None,
    download: DownloadOption = None,
    json: JsonOption = False,
) -> None:
    """Read documents into a knowledge base: new and changed ones are read, vanished ones removed.

    Example: ingest docs/ notes.md --kb notes.kb
    """
    with knowledge_base(kb, embedding_model=model, ttl_s=ttl, download=download) as base:
        try:
            report = _with_json(base, paths, prune, yes) if json else with_progress(base, paths, prune=prune, yes=yes)
        except KeyboardInterrupt:
            notify("Interrupted. What was committed is kept; run the same command to go on.")
            sys.exit(130)
    if report.failed:
        sys.exit(1)


def _with_json(base: "KnowledgeBase", paths: list[Path], prune: bool, yes: bool) -> "IngestReport":
    from ingest.pipeline import ingest as run_ingest

    report = run_ingest(paths, base, prune=prune, yes=yes, on_outcome=lambda outcome: print_json(outcome.to_dict()))
    print_json(report.to_dict())
    return report


def with_progress(
    base: "KnowledgeBase", paths: list[Path], *, prune: bool = True, yes: bool = False, quiet: bool = False
) -> "IngestReport":
    """Ingest with a bar on a terminal, and with lines for failures and the closing count in any case."""
    from ingest.pipeline import ingest as run_ingest

    errors_out = console(stderr=True)
    if not errors_out.is_terminal:
        report = run_ingest(paths, base, prune=prune, yes=yes, on_outcome=_tell_failure)
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=errors_out, transient=True) as bar:
            task = bar.add_task("reading", total=None)

            def plan(total: int) -> None:
                bar.update(task, total=total)

            def outcome(done: "Outcome") -> None:
                bar.advance(task)
                _tell_failure(done)

            report = run_ingest(paths, base, prune=prune, yes=yes, on_plan=plan, on_outcome=outcome)
    if not quiet:
        print(
            f"{report} ({report.chunks} chunks, {report.embedded} embedded, {report.reused} reused, "
            f"{report.seconds:.1f} s)"
        )
    return report


def _tell_failure(outcome: "Outcome") -> None:
    if outcome.status == "failed":
        notify(f"failed: {outcome.source}: {outcome.reason}")


def main() -> None:
    """The entry point of the `ingest` command."""
    run(app)
