"""What an ingest tells: an outcome a document, progress on the way, and the count at the end."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rag.display import as_text
from rag.display_html import html_folded, html_frame, html_grid, html_list
from rag.display_markdown import markdown_table
from rag.display_rows import Rows


class FileStatus(StrEnum):
    """What became of a document."""

    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    RENAMED = "renamed"
    REMOVED = "removed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one document, which for most files is the file.

    A file of several documents (records, an archive, a mailbox) has an outcome for each that was added, updated,
    removed or failed, and one of its own, with the file's source, for those that stayed as they were: `documents` says
    how many that one stands for. `ms` is the time that its reading took, in milliseconds.
    """

    source: str
    status: FileStatus
    reason: str = ""
    chunks: int = 0
    ms: float = 0.0
    documents: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The shape of a line of `ingest --json`."""
        return {"event": "file", **asdict(self), "ms": round(self.ms, 1)}


@dataclass(slots=True)
class IngestReport:
    """What an ingest did, or with `dry_run` would do.

    The counts are of documents, and `files` is of files that were looked at. `embedded` and `reused` count chunks
    whose vectors were made, or found by their hash.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    renamed: int = 0
    removed: int = 0
    failed: int = 0
    skipped: int = 0
    files: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    outcomes: list[Outcome] = field(default_factory=list, repr=False)

    @property
    def changed(self) -> int:
        """How many documents the knowledge base now holds otherwise than before."""
        return self.added + self.updated + self.renamed + self.removed

    def add(self, outcome: Outcome) -> None:
        """Count an outcome and keep it."""
        self.outcomes.append(outcome)
        name = outcome.status.value
        setattr(self, name, getattr(self, name) + outcome.documents)

    def to_dict(self) -> dict[str, Any]:
        """The shape of the last line of `ingest --json`."""
        # asdict would copy every outcome first.
        counts = {name: getattr(self, name) for name in self.__slots__ if name != "outcomes"}
        return {"event": "report", **counts, "seconds": round(self.seconds, 3)}

    def __str__(self) -> str:
        names = ("added", "updated", "unchanged", "renamed", "removed", "failed")
        return ", ".join(f"{getattr(self, name)} {name}" for name in names) + (
            f", {self.skipped} skipped" if self.skipped else ""
        )

    def counts(self) -> dict[str, object]:
        """What its table shows, by the heads of its columns."""
        names = ("added", "updated", "unchanged", "renamed", "removed", "failed", "skipped", "chunks", "embedded")
        return {**{name: getattr(self, name) for name in names}, "seconds": f"{self.seconds:.1f}"}

    @property
    def files_table(self) -> Rows[Outcome]:
        """What became of each document, what failed first."""
        ordered = sorted(self.outcomes, key=lambda outcome: (outcome.status is not FileStatus.FAILED, outcome.source))
        return Rows(ordered, ("document", "what became of it", "chunks", "because"), _cells)

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        counts = self.counts()
        return f"{markdown_table([*counts], [[*counts.values()]])}\n{self.files_table._repr_markdown_()}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the counts, and each file, those that failed with their reasons."""
        failures = [f"{o.source}: {o.reason}" for o in self.outcomes if o.status is FileStatus.FAILED]
        counts = self.counts()
        parts = [html_grid([*counts], [[*counts.values()]])]
        if failures:
            parts.append(html_list(f"{len(failures)} failed", failures))
        if self.outcomes:
            parts.append(html_folded("every document", self.files_table._repr_html_()))
        return html_frame(parts)


def _cells(outcome: Outcome) -> tuple[object, ...]:
    return outcome.source, outcome.status.value, outcome.chunks or "", outcome.reason


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest has come. `tokens` are those embedded, by estimate; rates are over the run so far.

    `files_total` counts the files that have to be read; `eta_s` is None until something can be said.
    """

    files_done: int
    files_total: int
    documents: int
    chunks: int
    tokens: int
    tokens_per_s: float
    eta_s: float | None

    def __str__(self) -> str:
        """`12/340 files, 1,234 chunks, 5,321 tokens/s, 0:42 left`."""
        said = [f"{self.files_done:,}/{self.files_total:,} files", f"{self.chunks:,} chunks"]
        if self.tokens_per_s:
            said.append(f"{self.tokens_per_s:,.0f} tokens/s")
        if self.eta_s is not None and self.files_done < self.files_total:
            minutes, seconds = divmod(round(self.eta_s), 60)
            left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
            said.append(f"{left} left")
        return ", ".join(said)
