"""`rag rebuild`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.cli.flags as flags
from rag.cli.common import console, knowledge_base, notify, print_json
from rag.errors import ServerError

if TYPE_CHECKING:
    from rag.rebuild import RebuildPlan, RebuildProgress, RebuildReport


def rebuild(
    kb: flags.Kb = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The embedding model. Default: the one that the settings name, else the one that made the index.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    json: flags.Json = False,
) -> None:
    """Embed all passages anew: by another model, or after the model has changed. No file is read again.

    Searches find the former vectors until all new ones are there. An interrupted run keeps what it has embedded; the
    same command goes on.

    Example: rag rebuild --model text-embedding-nomic-embed-text-v1.5
    """
    from rag.rebuild import rebuild as run_rebuild

    with (
        knowledge_base(kb, embedding_model=model, ttl_s=ttl, download=download) as base,
        _shown(json=json, dry_run=dry_run) as shown,
    ):
        report = run_rebuild(base, dry_run=dry_run, on_plan=shown.plan, on_progress=shown.progress)
    shown.report(report)


class _Lines:
    """A line for each tenth; JSON objects for scripts: plan, progress, report."""

    def __init__(self, *, json: bool, dry_run: bool) -> None:
        self._json, self._dry_run = json, dry_run
        self._tenth = 0
        self.done = 0

    def plan(self, plan: "RebuildPlan") -> None:
        """So much is to be done."""
        if self._json:
            print_json({"event": "plan", **asdict(plan)})
            return
        by = plan.model if plan.model == plan.before else f"{plan.model}, no longer by {plan.before}"
        verb = "Would embed" if self._dry_run else "Embedding"
        notify(f"{verb} {plan.chunks} passages by {by}.")

    def progress(self, progress: "RebuildProgress") -> None:
        """It has come so far."""
        self.done = progress.done
        tenth = 10 * progress.done // max(1, progress.chunks)
        if tenth > self._tenth:
            self._tenth = tenth
            if self._json:
                print_json({"event": "progress", **asdict(progress)})
            else:
                notify(f"{progress.done} of {progress.chunks} passages, {progress.tokens_per_s:,.0f} tokens/s")

    def report(self, report: "RebuildReport") -> None:
        """It is over."""
        if self._json:
            print_json(report.to_dict())
        elif not self._dry_run:
            kept = f", {report.kept} of them by an interrupted run" if report.kept else ""
            print(f"{report.chunks} passages embedded by {report.model}{kept}, {report.seconds:.1f} s")


class _Bar(_Lines):
    """The same with a bar, on a terminal."""

    def __init__(self, bar: Any, *, dry_run: bool) -> None:
        super().__init__(json=False, dry_run=dry_run)
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def progress(self, progress: "RebuildProgress") -> None:
        """It has come so far."""
        self.done = progress.done
        said = f"{progress.done:,}/{progress.chunks:,} passages, {progress.tokens_per_s:,.0f} tokens/s"
        self._bar.update(self._task, completed=progress.done, total=progress.chunks, description=said)


@contextmanager
def _shown(*, json: bool, dry_run: bool) -> Iterator[_Lines]:
    """What shows the run; says what is kept where it ends before its time."""
    shown = _Lines(json=json, dry_run=dry_run)
    try:
        if json or not console(stderr=True).is_terminal:
            yield shown
        else:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns: tuple[Any, ...] = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            with Progress(*columns, console=console(stderr=True), transient=True) as bar:
                shown = _Bar(bar, dry_run=dry_run)
                yield shown
    except KeyboardInterrupt:
        notify("Interrupted. The index is as it was. " + _kept(shown))
        sys.exit(130)
    except ServerError:
        if shown.done:
            notify(_kept(shown))
        raise


def _kept(shown: _Lines) -> str:
    return f"The vectors of {shown.done} passages are kept; run the same command to go on."
