"""How an ingest is shown: a bar on a terminal, plain lines where the output is piped, JSON lines for scripts."""

from types import TracebackType
from typing import Any

from ingest.report import FileStatus, IngestReport, Outcome, Progress
from rag.cli.common import console, notify, print_json
from rag.display import printable


class Lines:
    """Plain lines: failures on stderr, the closing line on stdout.

    `verbose` prints every outcome, `quiet` failures alone. `kept` counts the documents that this run has changed so
    far, which stay if it is interrupted; `is_busy` is whether there is something to interrupt. After `following` only
    what is new is told: no file that stayed as it was, no failure for the second time, no line for nothing.
    """

    def __init__(self, *, verbose: bool = False, quiet: bool = False, dry_run: bool = False) -> None:
        self.verbose, self.quiet, self.dry_run = verbose, quiet, dry_run
        self.follows = self.is_busy = False
        self.kept = 0
        self._failures: dict[str, str] = {}

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take down."""

    def following(self) -> None:
        """From now on each run is one of many."""
        self.follows = True

    def plan(self, total: int) -> None:
        """So many outcomes will come."""
        self.is_busy = True

    def progress(self, progress: Progress) -> None:
        """The run has come so far."""

    def outcome(self, outcome: Outcome) -> None:
        """One outcome is final."""
        if outcome.status in _CHANGES:
            self.kept += outcome.documents
        if self._is_new(outcome):
            self._tell(outcome)

    def report(self, report: IngestReport) -> None:
        """The run is over."""
        self.is_busy = False
        if self.quiet or (self.follows and not report.changed):
            return
        if self.verbose:
            print(
                f"{report.chunks} chunks, {report.embedded} embedded, {report.reused} reused, {report.seconds:.1f} s",
            )
        print(f"{report} (dry run: nothing was changed)" if self.dry_run else report, flush=True)

    def _is_new(self, outcome: Outcome) -> bool:
        if outcome.status is FileStatus.FAILED:
            known = self._failures.get(outcome.source)
            self._failures[outcome.source] = outcome.reason
            return not self.follows or known != outcome.reason
        return not self.follows or outcome.status in _CHANGES

    def _tell(self, outcome: Outcome) -> None:
        if outcome.status is FileStatus.FAILED:
            # Readers name the document that they speak of, as it is called inside an archive, too.
            named = outcome.reason.startswith(outcome.source)
            notify(f"failed: {outcome.reason}" if named else f"failed: {outcome.source}: {outcome.reason}")
        elif self.verbose or (self.dry_run and not self.quiet and outcome.status is not FileStatus.UNCHANGED):
            print(printable(_line(outcome)), flush=True)


_CHANGES = (FileStatus.ADDED, FileStatus.UPDATED, FileStatus.RENAMED, FileStatus.REMOVED)


def _line(outcome: Outcome) -> str:
    details = [outcome.reason] if outcome.reason else []
    if outcome.chunks:
        details.append(f"{outcome.chunks} chunks" if outcome.chunks > 1 else "1 chunk")
    if outcome.ms >= 1:
        details.append(f"{outcome.ms:.0f} ms")
    source = outcome.source.replace("\n", "\\n")
    return f"{outcome.status.value:<9} {source}" + (f"  ({', '.join(details)})" if details else "")


class Bar(Lines):
    """The same with a bar below, on a terminal: files, chunks, tokens a second, and the time that is left."""

    def __init__(self, *, verbose: bool = False, dry_run: bool = False) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__(verbose=verbose, dry_run=dry_run)
        bar: tuple[Any, ...] = (BarColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*bar, console=console(stderr=True), transient=True)
        self._task = self._bar.add_task("looking at files", total=None)
        self._counts_outcomes = True

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def following(self) -> None:
        """A bar that stands still for hours says nothing: from now on there are lines."""
        super().following()
        self._bar.stop()

    def plan(self, total: int) -> None:
        """So many outcomes will come."""
        super().plan(total)
        self._bar.reset(self._task, total=total, description="comparing")

    def progress(self, progress: Progress) -> None:
        """The run has come so far."""
        self._counts_outcomes = False
        self._bar.update(
            self._task, completed=progress.files_done, total=progress.files_total, description=str(progress)
        )

    def outcome(self, outcome: Outcome) -> None:
        """One outcome is final."""
        super().outcome(outcome)
        if self._counts_outcomes:
            self._bar.advance(self._task)

    def report(self, report: IngestReport) -> None:
        """The run is over."""
        self._bar.stop()
        super().report(report)


class Json(Lines):
    """One JSON object a line.

    {"event": "plan", "total": N}                    so many file events will come (more where a file holds several
                                                     documents)
    {"event": "file", "source", "status", "reason",  what became of a document; `status` is added, updated, unchanged,
     "chunks", "ms", "documents"}                    renamed, removed, skipped or failed
    {"event": "report", "added", "updated", …,       the counts at the end of a run; with --watch each run that changed
     "chunks", "embedded", "reused", "seconds"}      something has one
    """

    def plan(self, total: int) -> None:
        """So many outcomes will come."""
        super().plan(total)
        if not self.follows:
            print_json({"event": "plan", "total": total})

    def report(self, report: IngestReport) -> None:
        """The run is over."""
        self.is_busy = False
        if not self.follows or report.changed:
            print_json(report.to_dict())

    def _tell(self, outcome: Outcome) -> None:
        if not self.quiet or outcome.status is FileStatus.FAILED:
            print_json(outcome.to_dict())


def reporter(*, json: bool = False, verbose: bool = False, quiet: bool = False, dry_run: bool = False) -> Lines:
    """What fits the options and the place that stderr leads to."""
    if json:
        return Json(quiet=quiet, dry_run=dry_run)
    if quiet or not console(stderr=True).is_terminal:
        return Lines(verbose=verbose, quiet=quiet, dry_run=dry_run)
    return Bar(verbose=verbose, dry_run=dry_run)
