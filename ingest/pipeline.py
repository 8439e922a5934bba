"""Files into a knowledge base: one outcome a file, and nothing lost whatever happens between."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.describe import Describer, describer
from ingest.distribute import Cluster, Distributed
from ingest.fetch import fetched, is_address
from ingest.filters import NO_FILTER, Filter
from ingest.flow import Flow
from ingest.in_notebook import progress_line
from ingest.inventory import Inventory, comparison, great_loss, look, refuse_empty, why_removed
from ingest.ledger import Work
from ingest.members import ReadOptions
from ingest.report import FileStatus, IngestReport, Outcome, Progress
from ingest.servers import embedding_server
from ingest.sources import File, Plan, Scope, moved_source, swallowed
from ingest.tables import Tables
from rag.knowledge_base import KnowledgeBase
from rag.settings import own_folder
from rag.store.journal import Journal
from rag.store.kept import Kept
from rag.store.lease import Lease
from rag.store.names import digest
from rag.store.schema import DocumentRow
from rag.store.tables import Store
from rag.store.upkeep import tidy
from rag.store.versions import record
from rag.store.write import FAILED, OK, Writer, write_lock

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
    embed_urls: Sequence[str] = (),
    cluster: str | None = None,
    chosen: Filter = NO_FILTER,
    also: Sequence[File] = (),
    retry: bool = True,
    on_plan: Callable[[int], None] = lambda total: None,
    on_outcome: Watcher = lambda outcome: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Bring a knowledge base to agree with files and folders: new and changed ones are read, vanished ones removed.

    An `http://` or `https://` address among `paths` is fetched and kept as `web/HOST/PATH`; no other run removes it.
    One file that cannot be read is an outcome, not an error. `on_plan` is told how many outcomes will come,
    `on_outcome` each as it is final, `on_progress` how far it has come; a notebook shows that by itself. A run that is
    interrupted keeps what it had committed, and the next one goes on.
    With `dry_run` the report says what would be done; nothing is read, written or asked of the model server.
    `workers` is how many processes read files, by default as many as there are processors, within reason.
    `embed_urls` are servers that embed in turn, in place of the one that the settings name. `cluster` has workers of
    Ray do the work: `local` for a Ray of this machine while it takes, else an address; `workers` is then how many.
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
    before = list(into.store.documents().values()) if into.exists else []
    seen = look(
        [Path(path) for path in given if not is_address(path)],
        into.store.roots() if into.exists else {},
        chosen,
        {row.source for row in before if row.status == OK or row.revision},
    )
    refuse_empty(seen, before, yes=yes)
    if dry_run:
        with fetched(addresses, own_folder(into.path), _by_source(into), remember=False) as pages:
            seen = replace(seen, files=[*seen.files, *also, *pages])
            _foretell(seen, into, tell, prune=prune, yes=yes, retry=retry)
        report.files = len(seen.files) + len(seen.skipped)
        report.seconds = time.perf_counter() - began
        return report
    memory = own_folder(into.path)
    with fetched(addresses, memory, _by_source(into)) as pages, write_lock(into.path) as lease:
        seen = replace(seen, files=[*seen.files, *also, *pages])
        writer = _writer(into, seen, embed_urls, lease) if into.exists else None
        rows = list(writer.rows.values()) if writer else []
        roots = writer.store.roots() if writer else {}
        plan, told = _compared(seen, rows, roots, prune=prune, yes=yes, retry=retry)
        if loss := great_loss(plan.files):
            into.notify(loss)
        on_plan(len(seen.files) + len(seen.skipped) + len(plan.files.removed) + len(told) - len(plan.files.left))
        # The processes that read start while the server is asked for its model.
        options, describe = _describing(into, options) if plan.work else (options, None)
        with closing(_flow(plan.work, workers, describe, into, embed_urls, cluster)) as flow:
            writer = writer or _writer(into, seen, embed_urls, lease)
            for outcome in (*seen.skipped, *told):
                tell(outcome)
            _settle(plan, writer)
            _tell_settled(plan, seen, tell)
            try:
                if plan.work:
                    with closing(Tables(writer)) as tables:
                        for outcome in _made(flow, tables, into, embed_urls, options, on_progress or progress_line()):
                            tell(outcome)
                        tables.settle()
            finally:
                if describe:
                    describe.close()
                report.chunks, report.embedded = flow.totals.chunks, flow.totals.embedded
                report.reused = max(0, report.chunks - report.embedded)
        if not plan.work:  # a run that was killed at its very end has left something all the same
            writer.sweep()
            Journal(memory, writer.store.identity).clear()
        if report.changed:
            tidy(writer.store, report.chunks)
        record(writer.store)
    into.store.refresh()
    report.files = len(seen.files) + len(seen.skipped)
    report.seconds = time.perf_counter() - began
    return report


def _writer(into: KnowledgeBase, seen: Inventory, embed_urls: Sequence[str], lease: Lease | None) -> Writer:
    writer = Writer(_store(into, embed_urls), lease)
    _name_from_outer_roots(seen.scopes, writer)
    return writer


def _store(into: KnowledgeBase, embed_urls: Sequence[str]) -> Store:
    """The tables; where there are none yet, one of the servers that are to embed says for which model."""
    if into.exists or not embed_urls:
        return into.made()
    settings = replace(into.settings, host=embed_urls[0])
    with KnowledgeBase(into.path, settings=settings, notify=into.notify) as served:
        return served.made()


def _flow(
    work: Sequence[Work],
    workers: int | None,
    describe: Describer | None,
    into: KnowledgeBase,
    embed_urls: Sequence[str],
    cluster: str | None,
) -> Flow | Distributed:
    """What does the work: this process, or a cluster."""
    if cluster is None or not work:
        return Flow(work, workers, look=describe or _nothing)
    hosts = embed_urls or (into.settings.host,)
    return Distributed(work, Cluster(cluster, workers), into.settings, hosts, into.notify)


def _made(
    flow: Flow | Distributed,
    tables: Tables,
    into: KnowledgeBase,
    embed_urls: Sequence[str],
    options: ReadOptions,
    on_progress: Callable[[Progress], None],
) -> Iterator[Outcome]:
    """Do the work; the outcomes as they are on disk."""
    if isinstance(flow, Distributed):
        yield from flow.run(tables, options, on_progress)
        return
    with embedding_server(into, embed_urls) as server:
        yield from flow.run(tables, server, options, on_progress)


def _describing(into: KnowledgeBase, options: ReadOptions) -> tuple[ReadOptions, Describer | None]:
    """Who says what pictures show, if that is wanted and there is such a model, and the options as they hold then."""
    if not (options.describe_images or into.settings.describe_images):
        return options, None
    describe = describer(into.settings, Kept(own_folder(into.path) / "image_descriptions.jsonl"), into.notify)
    return replace(options, describe_images=describe is not None), describe


def _nothing(_picture: bytes) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A plan for files, and for the documents in them: what is to be read, and which rows go along with a file's."""

    files: Plan
    work: list[Work]
    members: Mapping[str, Sequence[DocumentRow]]  # by the id of their file's row
    orphans: list[DocumentRow]

    def documents(self, row: DocumentRow) -> int:
        """How many documents a file's row stands for."""
        return max(1, bool(row.revision) + len(self.members.get(row.id, ())))


def _compared(
    seen: Inventory, rows: Sequence[DocumentRow], roots: Mapping[str, Path], *, prune: bool, yes: bool, retry: bool
) -> tuple[_Whole, list[Outcome]]:
    """What has to be done. Files are compared; the documents in a file go its way."""
    of_files = [row for row in rows if not row.part_of]
    plan, told = comparison(seen, of_files, roots, prune=prune, yes=yes, retry=retry)
    members: dict[str, list[DocumentRow]] = {}
    for row in rows:
        if row.part_of:
            members.setdefault(row.part_of, []).append(row)
    # What failed in a file is tried again, as a file that failed is.
    failed = {id_ for id_, found in members.items() if retry and any(row.status == FAILED for row in found)}
    here = {file.source: file for file in seen.files}
    again = [(row, here[row.source]) for row in plan.unchanged if row.id in failed]
    again += [(row, file) for row, file in plan.touched if row.id in failed]
    plan = replace(
        plan,
        unchanged=[row for row in plan.unchanged if row.id not in failed],
        touched=[(row, file) for row, file in plan.touched if row.id not in failed],
        changed=[*plan.changed, *again],
    )
    # A run that was killed in the middle of a file leaves its documents without the file's row.
    ids = {row.id for row in of_files}
    astray = {id_: found for id_, found in members.items() if id_ not in ids}
    work = [Work(file, None, astray.pop(digest(file.source), ())) for file in plan.fresh]
    work += [Work(file, row, members.get(row.id, ())) for row, file in plan.changed]
    orphans = [row for found in astray.values() for row in found if any(s.covers(row.source) for s in seen.scopes)]
    return _Whole(plan, work, members, orphans if prune else []), told


def _by_source(into: KnowledgeBase) -> dict[str, DocumentRow]:
    return {row.source: row for row in into.store.documents().values()} if into.exists else {}


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
    plan, told = _compared(seen, rows, roots, prune=prune, yes=yes, retry=retry)
    for outcome in (*seen.skipped, *told):
        tell(outcome)
    _tell_settled(plan, seen, tell)
    for work in plan.work:
        known = work.before is not None and bool(work.before.revision or work.members)
        tell(_foretold(work, FileStatus.UPDATED if known else FileStatus.ADDED))


def _foretold(work: Work, status: FileStatus) -> Outcome:
    if work.file.problem:
        return Outcome(work.file.source, FileStatus.FAILED, work.file.problem)
    failed_before = work.before is not None and work.before.status == FAILED
    return Outcome(work.file.source, status, "could not be read before" if failed_before else "")


def _name_from_outer_roots(found: Sequence[Scope], writer: Writer) -> None:
    """Remember the roots; documents of a root that now lies inside another are named from the outer one."""
    known = writer.store.roots()
    for root in dict.fromkeys(scope.root for scope in found):
        inner = swallowed(root, known)
        rows = list(writer.rows.values())
        for gone in inner:
            mine = [row for row in rows if row.root == gone.name]
            writer.change_rows(
                [replace(row, source=moved_source(row.source, gone, root), root=root.name) for row in mine]
            )
        writer.forget_roots(gone.name for gone in inner)
        if known.get(root.name) != root.path:
            writer.set_root(root.name, root.path)


def _settle(plan: _Whole, writer: Writer) -> None:
    """All that needs no reading: moved and removed files, and those whose time of change alone is another."""
    changed = [replace(row, size=file.size, mtime_ns=file.mtime_ns) for row, file in plan.files.touched]
    for row, file in plan.files.renamed:
        changed.append(replace(row, source=file.source, root=file.root, size=file.size, mtime_ns=file.mtime_ns))
        changed += [
            replace(member, source=file.source + member.source.removeprefix(row.source), root=file.root)
            for member in plan.members.get(row.id, ())
        ]
    writer.change_rows(changed)
    gone = [*plan.files.removed, *plan.orphans]
    writer.remove(one.id for row in gone for one in (row, *plan.members.get(row.id, ())))


def _tell_settled(plan: _Whole, seen: Inventory, tell: Watcher) -> None:
    files = plan.files
    for row in [*files.unchanged, *(row for row, _ in files.touched)]:
        tell(Outcome(row.source, FileStatus.UNCHANGED, chunks=row.chunks, documents=plan.documents(row)))
    for before, file in files.renamed:
        reason = f"was {before.source}"
        tell(Outcome(file.source, FileStatus.RENAMED, reason, before.chunks, documents=plan.documents(before)))
    for row in files.removed:
        tell(Outcome(row.source, FileStatus.REMOVED, why_removed(seen, row), documents=plan.documents(row)))
    for row in plan.orphans:
        tell(Outcome(row.source, FileStatus.REMOVED, "its file is gone"))
