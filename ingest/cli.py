"""The `ingest` command."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import rag.cli.flags as flags
from rag.cli.common import EXIT_CODES, knowledge_base, new_app, notify, run
from rag.errors import ServerError, UsageProblem
from rag.settings import own_folder

if TYPE_CHECKING:
    from ingest.members import ReadOptions
    from ingest.report import IngestReport
    from ingest.show import Lines
    from ingest.sources import File
    from rag.knowledge_base import KnowledgeBase

app = new_app("")


@app.command(epilog=EXIT_CODES)
def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders and http(s) addresses; - for what is piped in.", show_default=False),
    ],
    kb: flags.Kb = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only files that match, as in .gitignore: '*.pdf', 'reports/'.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files that match; known ones are removed.", show_default=False)
    ] = None,
    gitignore: Annotated[
        bool, typer.Option(help="Leave out what .gitignore files leave out. A .ragignore always counts.")
    ] = True,
    name: Annotated[
        str | None, typer.Option(help="What is piped in is named stdin/NAME.", metavar="NAME", show_default=False)
    ] = None,
    prune: Annotated[bool, typer.Option(help="Remove documents whose files are gone from the given folders.")] = True,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Also where a folder is empty now and all of its documents would go.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on when files change, until Ctrl-C.")] = False,
    record_id: Annotated[
        str | None,
        typer.Option(help="JSONL and CSV: one document a record, with this field as its name.", show_default=False),
    ] = None,
    record_text: Annotated[
        list[str] | None, typer.Option(help="Fields with the text of a record.", show_default=False)
    ] = None,
    record_title: Annotated[
        str | None, typer.Option(help="The field with the title of a record.", show_default=False)
    ] = None,
    ocr: Annotated[bool, typer.Option(help="Read text in images, where Tesseract is installed.")] = True,
    describe_images: Annotated[
        bool | None,
        typer.Option(
            "--describe-images",
            help="Have a model that sees ($RAG_VISION_MODEL, else one of the server's) describe images in documents.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that read files; workers of --ray. Default: by the processors.",
            show_default=False,
        ),
    ] = None,
    embed_url: Annotated[
        list[str] | None,
        typer.Option(
            help="A server that embeds, in place of $LMSTUDIO_HOST; several take turns.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Have workers of Ray do it: `local`, or the address of a cluster (`auto`, HOST:PORT, ray://HOST:PORT).",
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The embedding model of a new knowledge base.")] = None,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every document, not failures alone.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Failures alone.")] = False,
    json: flags.Json = False,
) -> None:
    """Read documents into a knowledge base: new and changed ones are read, vanished ones removed.

    Example: ingest docs/ notes.md https://example.org/manual.html --kb notes.kb
    """
    import tempfile

    from ingest.filters import Filter
    from ingest.members import ReadOptions
    from ingest.pipeline import ingest as run_ingest
    from ingest.show import reporter
    from rag.lmstudio.http import log_notice

    _refuse_contradictions(paths, name, dry_run=dry_run, watch=watch)
    chosen = Filter(tuple(include or ()), tuple(exclude or ()), gitignore)
    options = ReadOptions(record_id, tuple(record_text or ()), record_title, ocr)
    shown = reporter(json=json, verbose=verbose, quiet=quiet, dry_run=dry_run)
    places: list[str | Path] = [path for path in paths if path != "-"]
    with (
        knowledge_base(
            kb, embedding_model=model, ttl_s=ttl, download=download, describe_images=describe_images
        ) as base,
        tempfile.TemporaryDirectory(prefix="lmstudio-rag-") as folder,
    ):
        if quiet:
            base.notify = log_notice
        also = [_piped(name, Path(folder))] if "-" in paths else []

        def once(*, again: bool = False) -> "IngestReport":
            report = run_ingest(
                places,
                base,
                prune=prune,
                yes=yes and not again,  # the answer was given for what was there then
                dry_run=dry_run,
                options=options,
                workers=workers,
                embed_urls=embed_url or (),
                cluster=ray,
                chosen=chosen,
                also=also,
                retry=not again,
                on_plan=shown.plan,
                on_outcome=shown.outcome,
                on_progress=shown.progress,
            )
            shown.report(report)
            return report

        with _kept(shown), shown:
            if watch:
                _follow([Path(path) for path in paths], base, once, shown)
            report = once()
    if report.failed and not dry_run:
        if not (json or quiet):
            notify("`rag ls --failed` lists what could not be read; the next run tries it again.")
        sys.exit(1)


def _refuse_contradictions(paths: Sequence[str], name: str | None, *, dry_run: bool, watch: bool) -> None:
    from ingest.fetch import is_address

    if ("-" in paths) != (name is not None):
        raise UsageProblem("What is piped in needs a name, and only that has one: ingest - --name notes.md")
    if watch and dry_run:
        raise UsageProblem("--watch and --dry-run do not go together.")
    if watch and any(path == "-" or is_address(path) for path in paths):
        raise UsageProblem("--watch follows files and folders; pages and what is piped in are read once.")


def _piped(name: str | None, folder: Path) -> "File":
    from ingest.fetch import piped

    if sys.stdin.isatty():
        notify("Reading from the terminal; Ctrl-D ends the document.")
    return piped(sys.stdin.buffer, name or "", folder)


@contextmanager
def _kept(shown: "Lines") -> Iterator[None]:
    """Say what is kept where a run ends before its time."""
    try:
        yield
    except KeyboardInterrupt:
        notify(
            f"Interrupted. What was committed is kept ({shown.kept} documents of this run); "
            "run the same command to go on."
        )
        sys.exit(130)
    except ServerError:
        if shown.kept:
            notify(
                f"{shown.kept} documents of this run are kept; run the same command to go on when the server answers."
            )
        raise


def _follow(
    paths: Sequence[Path], base: "KnowledgeBase", once: Callable[..., "IngestReport"], shown: "Lines"
) -> NoReturn:
    """Run, and run again after changes, until Ctrl-C: between two runs it is the way to end, within one a break."""
    from ingest.watch import follow

    def again() -> None:
        try:
            once(again=True)
        except ServerError:
            base.close()  # what was known of a server that went away need not be true of the one that comes
            raise
        finally:
            if not isinstance(sys.exception(), KeyboardInterrupt):
                shown.is_busy = False

    trouble = ""
    try:
        try:
            once()
        except ServerError as exc:
            trouble, shown.is_busy = str(exc), False
            base.close()
        shown.following()
        notify(f"Watching {', '.join(map(str, paths))}. Ctrl-C ends it.")
        follow(paths, own_folder(base.path), again, notify, trouble=trouble)
    except KeyboardInterrupt:
        if shown.is_busy:
            raise
        notify("Stopped watching.")
        sys.exit(0)
    raise AssertionError("only an interrupt or an error ends it")


def with_progress(
    base: "KnowledgeBase", paths: list[Path], *, options: "ReadOptions | None" = None, quiet: bool = False
) -> "IngestReport":
    """Ingest folders or files, shown as the command shows it; with `quiet` without the closing line."""
    from ingest.members import ReadOptions
    from ingest.pipeline import ingest as run_ingest
    from ingest.show import reporter

    with reporter(quiet=quiet) as shown:
        report = run_ingest(
            paths,
            base,
            options=options or ReadOptions(),
            on_plan=shown.plan,
            on_outcome=shown.outcome,
            on_progress=shown.progress,
        )
        shown.report(report)
    return report


def main() -> None:
    """The entry point of the `ingest` command."""
    run(app)
