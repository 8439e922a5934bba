"""Files into a knowledge base: one outcome a file, and nothing lost whatever happens between."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

import rag.errors as errors
from ingest.chunk import chunk
from ingest.parse import parse, supported
from ingest.sources import File, Plan, Scope, compare, content_hash, moved_source, scopes, swallowed, unlistable, walk
from rag.knowledge_base import KnowledgeBase
from rag.store.schema import DocumentRow, digest
from rag.store.upkeep import tidy
from rag.store.write import NewVersion, Writer, embedded_hash, revision_of, write_lock
from rag.types import Chunk, Document

_GROUP_CHUNKS = 128  # embedded and committed together: few commits keep searches fast, small groups lose little
_TIDY_AFTER = 20_000  # chunks written since the last compaction in one run

_RESCUABLE = (errors.BadReply, errors.ContextOverflow)  # one text may have caused these; other errors stop the run


class FileStatus(StrEnum):
    """What became of a file."""

    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    RENAMED = "renamed"
    REMOVED = "removed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. `ms` is the time that it took, in milliseconds, its share of shared work included."""

    source: str
    status: FileStatus
    reason: str = ""
    chunks: int = 0
    ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The shape of a line of `ingest --json`."""
        return {"event": "file", **asdict(self), "ms": round(self.ms, 1)}


@dataclass(slots=True)
class IngestReport:
    """What an ingest did. `embedded` and `reused` count chunks whose vectors were made, or found by their hash."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    renamed: int = 0
    removed: int = 0
    failed: int = 0
    skipped: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list, repr=False)

    @property
    def changed(self) -> int:
        """How many documents the knowledge base now holds otherwise than before."""
        return self.added + self.updated + self.renamed + self.removed

    def to_dict(self) -> dict[str, Any]:
        """The shape of the last line of `ingest --json`."""
        counts = {name: value for name, value in asdict(self).items() if name != "outcomes"}
        return {"event": "report", **counts, "seconds": round(self.seconds, 3)}

    def __str__(self) -> str:
        names = ("added", "updated", "unchanged", "renamed", "removed", "failed")
        return ", ".join(f"{getattr(self, name)} {name}" for name in names) + (
            f", {self.skipped} skipped" if self.skipped else ""
        )


Watcher = Callable[[Outcome], None]


def ingest(
    paths: str | Path | Sequence[str | Path],
    into: KnowledgeBase,
    *,
    prune: bool = True,
    yes: bool = False,
    on_plan: Callable[[int], None] = lambda total: None,
    on_outcome: Watcher = lambda outcome: None,
) -> IngestReport:
    """Bring a knowledge base to agree with files and folders: new and changed ones are read, vanished ones removed.

    One file that cannot be read is an outcome, not an error. `on_plan` is told how many outcomes will come,
    `on_outcome` each as it is final. A run that is interrupted keeps what it had committed, and the next one goes on.
    Raises SourceNotFound for a path that is not there, UsageProblem where a folder holds nothing to read (and, unless
    `yes`, where that would remove what was known of it), KnowledgeBaseBusy, IdentityMismatch, or a ServerError.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    began = time.perf_counter()
    report = IngestReport()

    def tell(outcome: Outcome) -> None:
        report.outcomes.append(outcome)
        name = outcome.status.value
        setattr(report, name, getattr(report, name) + 1)
        on_outcome(outcome)

    known_roots = into.store.roots() if into.exists else {}
    found = scopes([Path(path) for path in given], known_roots)
    files, skipped = _readable(found)
    _refuse_empty(found, files, skipped, into, yes=yes)
    with write_lock(into.path):
        store = into.made()
        writer = Writer(store)
        _name_from_outer_roots(found, writer)
        documents = store.documents()
        known = {row.source: row for row in documents.values()}
        hidden = [path for scope in found for path in unlistable(scope)]
        in_scope = [
            row for row in known.values() if any(s.covers(row.source) for s in found) and not _below(into, row, hidden)
        ]
        plan = compare(files, known, in_scope if prune else [])
        on_plan(len(files) + len(skipped) + len(plan.removed))
        for outcome in skipped:
            tell(outcome)
        _settle(plan, writer, tell)
        if plan.fresh or plan.changed:
            if documents:
                into.check_canaries()
            for outcomes, counts in _stored(_versions(plan, documents, into), writer, into):
                report.chunks += counts.chunks
                report.embedded += counts.embedded
                report.reused += counts.reused
                for outcome in outcomes:
                    tell(outcome)
        for path in hidden:
            tell(Outcome(str(path), FileStatus.FAILED, "the folder cannot be listed: permission denied"))
        if report.changed:
            tidy(store)
    report.seconds = time.perf_counter() - began
    return report


def _readable(found: Sequence[Scope]) -> tuple[list[File], list[Outcome]]:
    """The files to look at; those of a format without a reader are skipped, unless they were named themselves."""
    files: dict[str, File] = {}
    skipped: dict[str, Outcome] = {}
    for scope in found:
        for file in walk(scope):
            if supported(file.path) or not scope.is_folder:
                files[file.source] = file
            else:
                suffix = file.path.suffix or "a file without a suffix"
                skipped[file.source] = Outcome(file.source, FileStatus.SKIPPED, f"no reader for {suffix}")
    return list(files.values()), [outcome for source, outcome in skipped.items() if source not in files]


def _refuse_empty(
    found: Sequence[Scope], files: Sequence[File], skipped: Sequence[Outcome], into: KnowledgeBase, *, yes: bool
) -> None:
    """An empty folder is more often a mount that is not there, or a wrong path, than a wish."""
    for scope in found:
        if any(scope.covers(file.source) for file in files):
            continue
        known = sum(scope.covers(row.source) for row in into.documents()) if into.exists else 0
        unread = sum(scope.covers(outcome.source) for outcome in skipped)
        detail = f" ({unread} files of formats without a reader)" if unread else ""
        if not known:
            raise errors.UsageProblem(f"{scope.path} holds no documents that can be read{detail}. Nothing was done.")
        if not yes:
            raise errors.UsageProblem(
                f"{scope.path} holds no documents any more{detail}, and the knowledge base knows {known} from there. "
                "Is a disk missing? Nothing was removed; with --yes they will be."
            )


def _name_from_outer_roots(found: Sequence[Scope], writer: Writer) -> None:
    """Remember the roots; documents of a root that now lies inside another are named from the outer one."""
    known = writer.store.roots()
    for root in dict.fromkeys(scope.root for scope in found):
        inner = swallowed(root, known)
        rows = writer.store.documents().values()
        for gone in inner:
            mine = [row for row in rows if row.root == gone.name]
            writer.change_rows(
                [replace(row, source=moved_source(row.source, gone, root), root=root.name) for row in mine]
            )
        writer.forget_roots(gone.name for gone in inner)
        if known.get(root.name) != root.path:
            writer.set_root(root.name, root.path)


def _below(into: KnowledgeBase, row: DocumentRow, folders: Sequence[Path]) -> bool:
    path = into.file_of(row.source)
    return path is not None and any(folder in path.parents for folder in folders)


def _settle(plan: Plan, writer: Writer, tell: Watcher) -> None:
    """All that needs no reading: unchanged, moved and removed files."""
    touched = [replace(row, size=file.size, mtime_ns=file.mtime_ns) for row, file in plan.touched]
    renamed = [
        replace(row, source=file.source, root=file.root, size=file.size, mtime_ns=file.mtime_ns)
        for row, file in plan.renamed
    ]
    writer.change_rows([*touched, *renamed])
    writer.remove(row.id for row in plan.removed)
    for row in [*plan.unchanged, *touched]:
        tell(Outcome(row.source, FileStatus.UNCHANGED, chunks=row.chunks))
    for (before, _), after in zip(plan.renamed, renamed, strict=True):
        tell(Outcome(after.source, FileStatus.RENAMED, f"was {before.source}", chunks=after.chunks))
    for row in plan.removed:
        tell(Outcome(row.source, FileStatus.REMOVED, "the file is gone"))


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read, or why it could not be."""

    row: DocumentRow
    status: FileStatus
    document: Document | None
    chunks: list[Chunk]
    error: str
    ms: float


def _versions(plan: Plan, documents: dict[str, DocumentRow], into: KnowledgeBase) -> Iterator[_Read]:
    """The new and changed files, read and cut one after another."""
    taken = set(documents)
    for file in plan.fresh:
        id_ = digest(file.source)
        while id_ in taken:  # a document that was moved away from this place keeps its id
            id_ = digest(id_)
        taken.add(id_)
        yield _read(id_, file, FileStatus.ADDED, into)
    for row, file in plan.changed:
        yield _read(row.id, file, FileStatus.UPDATED if row.revision else FileStatus.ADDED, into)


def _read(id_: str, file: File, status: FileStatus, into: KnowledgeBase) -> _Read:
    began = time.perf_counter()
    document: Document | None = None
    chunks: list[Chunk] = []
    error = hashed = ""
    try:
        hashed = content_hash(file.path)
        document = parse(file.path, file.source)
        chunks = chunk(document, max_tokens=into.store.identity.chunk_tokens)
        after = file.path.stat()
        if (after.st_size, after.st_mtime_ns) != (file.size, file.mtime_ns):
            error = "the file changed while it was read; run again"
        elif not chunks:
            error = "the file holds no text"
    except errors.ParseError as exc:
        error = str(exc)
    except OSError as exc:
        error = f"the file cannot be read: {exc.strerror or exc}"
    row = DocumentRow(
        id=id_,
        source=file.source,
        root=file.root,
        content_hash=hashed,
        size=file.size,
        mtime_ns=file.mtime_ns,
        revision=revision_of(document.text, chunks) if document and not error else "",
        title=document.title if document else "",
        parser=document.parser if document else "",
        status="failed" if error else "ok",
        error=error,
        chunks=len(chunks),
        indexed_at=0,
    )
    return _Read(
        row, FileStatus.FAILED if error else status, document, chunks, error, (time.perf_counter() - began) * 1000
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    chunks: int = 0
    embedded: int = 0
    reused: int = 0


def _stored(reads: Iterator[_Read], writer: Writer, into: KnowledgeBase) -> Iterator[tuple[list[Outcome], _Counts]]:
    """Embed and commit what was read, in groups; yields the outcomes of each group when they are on disk."""
    group: list[_Read] = []
    written = 0
    for read in reads:
        if read.error:
            writer.fail(read.row, read.error)
            yield [Outcome(read.row.source, FileStatus.FAILED, read.error, ms=read.ms)], _Counts()
            continue
        group.append(read)
        size = sum(len(member.chunks) for member in group)
        if size >= _GROUP_CHUNKS:
            yield from _commit(group, writer, into)
            group = []
            written += size
            if written >= _TIDY_AFTER:
                tidy(writer.store)
                written = 0
    if group:
        yield from _commit(group, writer, into)


def _commit(group: Sequence[_Read], writer: Writer, into: KnowledgeBase) -> Iterator[tuple[list[Outcome], _Counts]]:
    try:
        yield _commit_all(group, writer, into)
    except _RESCUABLE as exc:
        if len(group) > 1:  # one text among them is at fault; the others shall not pay for it
            for read in group:
                yield from _commit([read], writer, into)
            return
        read = group[0]
        writer.fail(read.row, str(exc))
        yield [Outcome(read.row.source, FileStatus.FAILED, str(exc), ms=read.ms)], _Counts()


def _commit_all(group: Sequence[_Read], writer: Writer, into: KnowledgeBase) -> tuple[list[Outcome], _Counts]:
    began = time.perf_counter()
    chunks = [chunk for read in group for chunk in read.chunks]
    hashes = [embedded_hash(chunk) for chunk in chunks]
    vectors = writer.vectors_of(hashes) if writer.store.documents() else {}
    reused = sum(name in vectors for name in hashes)
    missing = {name: chunk.searched for name, chunk in zip(hashes, chunks, strict=True) if name not in vectors}
    vectors |= zip(missing, into.embedder.embed_documents(list(missing.values())), strict=True)
    versions = []
    at = 0
    for read in group:
        assert read.document is not None
        mine = hashes[at : at + len(read.chunks)]
        at += len(read.chunks)
        versions.append(
            NewVersion(read.row, read.document.text, read.chunks, np.stack([vectors[name] for name in mine]))
        )
    writer.put(versions)
    ms_a_chunk = (time.perf_counter() - began) * 1000 / max(1, len(chunks))
    outcomes = [
        Outcome(read.row.source, read.status, chunks=len(read.chunks), ms=read.ms + ms_a_chunk * len(read.chunks))
        for read in group
    ]
    return outcomes, _Counts(len(chunks), len(missing), reused)
