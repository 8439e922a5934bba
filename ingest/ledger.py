"""Which documents a run makes of its files: their rows and ids, what becomes of them, what is written together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingest.frames import FileDone, ReadDocument, UnreadMember
from ingest.report import FileStatus, Outcome
from ingest.sources import File
from rag.store.names import digest
from rag.store.schema import DocumentRow
from rag.store.write import FAILED, OK, NewVersion


@dataclass(frozen=True, slots=True)
class Work:
    """A file to read, with what is known of it: its row, and the rows of the documents in it."""

    file: File
    before: DocumentRow | None
    members: Sequence[DocumentRow] = ()


@dataclass(slots=True)
class FileState:
    """A file under way.

    `open` counts its documents that are in no group yet, `seen` are the sources of the documents in it. `has_own` says
    that it is a document itself: a plain file, or a mail with attachments.
    """

    work: Work
    id: str
    has_own: bool = False
    seen: set[str] = field(default_factory=set)
    open: int = 0
    unchanged: int = 0
    done: FileDone | None = None

    @property
    def source(self) -> str:
        """The file's source."""
        return self.work.file.source


@dataclass(slots=True)
class Group:
    """What is written together, and told of when it is."""

    versions: list[NewVersion] = field(default_factory=list)
    failures: list[tuple[DocumentRow, str]] = field(default_factory=list)
    containers: list[DocumentRow] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    chunks: int = 0
    held: int = 0
    files: int = 0
    bytes: int = 0
    since: float | None = None

    def fail(self, row: DocumentRow, reason: str, ms: float = 0.0) -> None:
        """Add a document that could not be read."""
        self.failures.append((row, reason))
        self.outcomes.append(Outcome(row.source, FileStatus.FAILED, reason, ms=ms))


class Ledger:
    """The documents of one run. `rows` are all documents as they were, by id."""

    def __init__(self, work: Sequence[Work], rows: Mapping[str, DocumentRow]) -> None:
        self._taken = set(rows)
        self._known = {row.source: row for row in rows.values()}
        self.files: dict[str, FileState] = {}
        for one in work:
            id_ = one.before.id if one.before else self._new_id(one.file.source)
            self.files[one.file.source] = FileState(one, id_)

    def row(self, state: FileState, read: ReadDocument) -> tuple[DocumentRow, FileStatus]:
        """The row of a document that was read, and what it is: added, updated or unchanged.

        The row of the file's own document still lacks the file's hash, which comes with its end.
        """
        if read.source == state.source:
            row = self._row(state, read.source, state.id, "", state.work.file.size, read)
            before = state.work.before
            same = before is not None and _same(before, replace(row, content_hash=before.content_hash))
        else:
            source = _unique(state, read.source)
            before = self._known.get(source)
            size = len(read.text.encode("utf-8", "surrogatepass"))
            row = self._row(state, source, self._id_of(source), read.content_hash, size, read)
            same = before is not None and _same(before, row)
        if same:
            return row, FileStatus.UNCHANGED
        return row, FileStatus.UPDATED if before and before.revision else FileStatus.ADDED

    def unread(self, state: FileState, answer: UnreadMember, group: Group) -> None:
        """Add a part of a file that could not be read."""
        source = _unique(state, answer.source)
        if answer.unsupported:
            group.outcomes.append(Outcome(source, FileStatus.SKIPPED, answer.reason))
            return
        group.fail(self._row(state, source, self._id_of(source), "", 0), answer.reason)

    def finish(self, state: FileState, group: Group) -> None:
        """Add the end of a file all of whose documents are in groups: its own row, and what it holds no longer."""
        del self.files[state.source]
        file = state.work.file
        group.files += 1
        group.bytes += file.size
        assert state.done is not None
        row = self._row(state, file.source, state.id, state.done.content_hash, file.size)
        if state.done.error:
            group.fail(row, state.done.error, state.done.ms)
        elif not state.has_own and not state.seen:
            group.fail(row, "the file holds no text", state.done.ms)
        elif not state.has_own:
            group.containers.append(row)
        if state.unchanged:
            group.outcomes.append(
                Outcome(file.source, FileStatus.UNCHANGED, ms=state.done.ms, documents=state.unchanged)
            )
        if not state.done.error:
            gone = [row for row in state.work.members if row.source not in state.seen]
            group.removed += [row.id for row in gone]
            group.outcomes += [
                Outcome(row.source, FileStatus.REMOVED, "it is not in the file any more") for row in gone
            ]

    def _row(
        self, state: FileState, source: str, id_: str, hashed: str, size: int, read: ReadDocument | None = None
    ) -> DocumentRow:
        return DocumentRow(
            id=id_,
            source=source,
            root=state.work.file.root,
            content_hash=hashed,
            size=size,
            mtime_ns=state.work.file.mtime_ns,
            revision=read.revision if read else "",
            title=read.title if read else "",
            parser=read.parser if read else "",
            status=OK,
            error="",
            chunks=len(read.chunks) if read else 0,
            indexed_at=0,
            part_of="" if source == state.source else state.id,
            metadata=read.metadata if read else {},
        )

    def _id_of(self, source: str) -> str:
        known = self._known.get(source)
        return known.id if known else self._new_id(source)

    def _new_id(self, source: str) -> str:
        id_ = digest(source)
        while id_ in self._taken:  # a document that was moved away from this place keeps its id
            id_ = digest(id_)
        self._taken.add(id_)
        return id_


def _same(before: DocumentRow, now: DocumentRow) -> bool:
    """Whether a document in a file that changed is what it was."""
    return before.status != FAILED and all(
        getattr(before, name) == getattr(now, name)
        for name in ("revision", "content_hash", "title", "parser", "metadata", "part_of")
    )


def _unique(state: FileState, source: str) -> str:
    """A member's source; a second one of the same name is numbered."""
    unique, number = source, 2
    while unique in state.seen:
        unique, number = f"{source} ({number})", number + 1
    state.seen.add(unique)
    return unique
