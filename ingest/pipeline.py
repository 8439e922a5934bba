"""Files into a knowledge base: one outcome a file, and nothing lost whatever happens between."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import rag.errors as errors
from ingest.chunk import chunk
from ingest.fetch import fetched, is_address
from ingest.filters import NO_FILTER, Filter
from ingest.inventory import Inventory, comparison, great_loss, look, refuse_empty, why_removed
from ingest.members import ReadOptions
from ingest.parse import parse
from ingest.report import FileStatus, IngestReport, Outcome, Progress
from ingest.sources import File, Plan, Scope, content_hash, moved_source, size_and_time, swallowed
from rag.knowledge_base import KnowledgeBase
from rag.store.names import digest, embedded_hash, revision_of
from rag.store.schema import DocumentRow
from rag.store.upkeep import tidy
from rag.store.write import NewVersion, Writer, write_lock
from rag.types import Chunk, Document

_GROUP_CHUNKS = 128  # embedded and committed together: few commits keep searches fast, small groups lose little
_TIDY_AFTER = 20_000  # chunks written since the last compaction in one run

_RESCUABLE = (errors.BadReply, errors.ContextOverflow)  # one text may have caused these; other errors stop the run


__all__ = ["FileStatus", "IngestReport", "Outcome", "Progress", "ReadOptions", "ingest"]

Watcher = Callable[[Outcome], None]

_DEFAULTS = ReadOptions()


def ingest(
    paths: str | Path | Sequence[str | Path],
    into: KnowledgeBase,
    *,
    prune: bool = True,
    yes: bool = False,
    dry_run: bool = False,
    options: ReadOptions = _DEFAULTS,
    workers: int | None = None,
    chosen: Filter = NO_FILTER,
    also: Sequence[File] = (),
    retry: bool = True,
    on_plan: Callable[[int], None] = lambda total: None,
    on_outcome: Watcher = lambda outcome: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> IngestReport:
    """Bring a knowledge base to agree with files and folders: new and changed ones are read, vanished ones removed.

    An `http://` or `https://` address among `paths` is fetched and kept as `web/HOST/PATH`; no other run removes it.
    One file that cannot be read is an outcome, not an error. `on_plan` is told how many outcomes will come,
    `on_outcome` each as it is final. A run that is interrupted keeps what it had committed, and the next one goes on.
    With `dry_run` the report says what would be done; nothing is read, written or asked of the model server.
    `workers` is how many processes read files, by default as many as there are processors, within reason.
    `chosen` says which files of folders count: what `exclude` or an ignore file leaves out is removed if it was known,
    what `include` does not match is neither read nor removed. `also` are files that are known by another name than
    their path, as what was piped in. Without `retry`, what could not be read and has not changed is left alone.
    Raises SourceNotFound for a path that is not there, UsageProblem where a folder holds nothing to read (and, unless
    `yes`, where that would remove what was known of it), KnowledgeBaseBusy, IdentityMismatch, or a ServerError.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    began = time.perf_counter()
    report = IngestReport(dry_run=dry_run)

    def tell(outcome: Outcome) -> None:
        report.add(outcome)
        on_outcome(outcome)

    addresses = [str(path) for path in given if is_address(path)]
    seen = look(
        [Path(path) for path in given if not is_address(path)], into.store.roots() if into.exists else {}, chosen
    )
    refuse_empty(seen, into.documents() if into.exists else [], yes=yes)
    if dry_run:
        with fetched(addresses, into.path, _by_source(into), remember=False) as pages:
            seen = replace(seen, files=[*seen.files, *also, *pages])
            _foretell(seen, into, tell, prune=prune, yes=yes, retry=retry)
        report.files = len(seen.files) + len(seen.skipped)
        report.seconds = time.perf_counter() - began
        return report
    with fetched(addresses, into.path, _by_source(into)) as pages, write_lock(into.path):
        seen = replace(seen, files=[*seen.files, *also, *pages])
        store = into.made()
        writer = Writer(store)
        _name_from_outer_roots(seen.scopes, writer)
        documents = store.documents()
        plan, told = comparison(seen, list(documents.values()), store.roots(), prune=prune, yes=yes, retry=retry)
        if loss := great_loss(plan):
            into.notify(loss)
        on_plan(len(seen.files) + len(seen.skipped) + len(plan.removed) + len(told) - len(plan.left))
        for outcome in (*seen.skipped, *told):
            tell(outcome)
        _settle(plan, seen, writer, tell)
        if plan.fresh or plan.changed:
            if documents:
                into.check_canaries()
            for outcomes, counts in _stored(_versions(plan, documents, into), writer, into):
                report.chunks += counts.chunks
                report.embedded += counts.embedded
                report.reused += counts.reused
                for outcome in outcomes:
                    tell(outcome)
        if report.changed:
            tidy(store)
    report.files = len(seen.files) + len(seen.skipped)
    report.seconds = time.perf_counter() - began
    return report


def _by_source(into: KnowledgeBase) -> dict[str, DocumentRow]:
    return {row.source: row for row in into.documents()} if into.exists else {}


def _foretell(seen: Inventory, into: KnowledgeBase, tell: Watcher, *, prune: bool, yes: bool, retry: bool) -> None:
    """Tell what `ingest` would do, as far as the files' sizes, times and contents say so without being read."""
    rows = list(into.store.documents().values()) if into.exists else []
    roots = into.store.roots() if into.exists else {}
    for root in dict.fromkeys(scope.root for scope in seen.scopes):
        for gone in swallowed(root, roots):
            rows = [
                replace(row, source=moved_source(row.source, gone, root)) if row.root == gone.name else row
                for row in rows
            ]
    plan, told = comparison(seen, rows, roots, prune=prune, yes=yes, retry=retry)
    for outcome in (*seen.skipped, *told):
        tell(outcome)
    _tell_settled(plan, seen, tell)
    for file in plan.fresh:
        tell(_foretold(file, FileStatus.ADDED))
    for row, file in plan.changed:
        tell(_foretold(file, FileStatus.UPDATED if row.revision else FileStatus.ADDED))


def _foretold(file: File, status: FileStatus) -> Outcome:
    return Outcome(file.source, FileStatus.FAILED if file.problem else status, file.problem)


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


def _settle(plan: Plan, seen: Inventory, writer: Writer, tell: Watcher) -> None:
    """All that needs no reading: unchanged, moved and removed files."""
    touched = [replace(row, size=file.size, mtime_ns=file.mtime_ns) for row, file in plan.touched]
    renamed = [
        replace(row, source=file.source, root=file.root, size=file.size, mtime_ns=file.mtime_ns)
        for row, file in plan.renamed
    ]
    writer.change_rows([*touched, *renamed])
    writer.remove(row.id for row in plan.removed)
    _tell_settled(plan, seen, tell)


def _tell_settled(plan: Plan, seen: Inventory, tell: Watcher) -> None:
    for row in [*plan.unchanged, *(row for row, _ in plan.touched)]:
        tell(Outcome(row.source, FileStatus.UNCHANGED, chunks=row.chunks))
    for before, file in plan.renamed:
        tell(Outcome(file.source, FileStatus.RENAMED, f"was {before.source}", chunks=before.chunks))
    for row in plan.removed:
        tell(Outcome(row.source, FileStatus.REMOVED, why_removed(seen, row)))


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
        if file.problem:
            raise errors.UnreadableDocument(file.problem)
        hashed = content_hash(file.path)
        document = parse(file.path, file.source)
        chunks = chunk(document, max_tokens=into.store.identity.chunk_tokens)
        if size_and_time(file.path.stat()) != (file.size, file.mtime_ns):
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
