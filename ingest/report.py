"""What an ingest tells: an outcome a document, progress on the way, and the count at the end."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rag.display_html import html_frame, html_list, html_table


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

    def _repr_html_(self) -> str:
        """What a notebook shows: the counts, and the files that failed with their reasons."""
        names = ("added", "updated", "unchanged", "renamed", "removed", "failed", "skipped", "chunks", "embedded")
        rows = [(name, getattr(self, name)) for name in names]
        parts = [html_table([*rows, ("seconds", f"{self.seconds:.1f}")])]
        failures = [f"{o.source}: {o.reason}" for o in self.outcomes if o.status is FileStatus.FAILED]
        if failures:
            parts.append(html_list(f"{len(failures)} failed", failures))
        return html_frame(parts)


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
