"""Reading, embedding and writing at the same time, with so much under way at once and no more.

Threads serve the reading processes, the embedding server and the tables; the caller's thread decides. A document is
told of when it is on disk.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

import rag.errors as errors
from ingest.frames import Answer, FileDone, Job, ReadDocument, Task
from ingest.ledger import FileState, Group, Ledger, Work
from ingest.members import ReadOptions
from ingest.report import FileStatus, Outcome, Progress
from ingest.vectors import Shelf
from ingest.workers import Budget, Limits, Readers, workers_for
from rag.lmstudio.batches import Embedded, Embedding, Text, Vector
from rag.settings import own_folder
from rag.store.journal import Journal
from rag.store.schema import DocumentRow
from rag.store.upkeep import tidy
from rag.store.write import NewVersion, Writer

_UNDER_WAY_BYTES = 16 << 20  # of what the reading processes sent and no table holds yet
_GROUP_CHUNKS = 1024  # written together: few commits keep searches fast
_GROUP_BYTES = 8 << 20
_GROUP_S = 1.0  # the longest that something waits to be written
_LOOK_UP = 1000
_TIDY_AFTER = 2048  # chunks that no index covers yet: each makes searches slower, by some 40 microseconds
_TIDY_REST = 10  # times as long as the last tidying took
_PROGRESS_S = 0.1


@dataclass(slots=True)
class _Open:
    """A document that waits for vectors, or for the end of its file."""

    state: FileState
    row: DocumentRow
    status: FileStatus
    read: ReadDocument
    held: int
    vectors: npt.NDArray[np.float32]
    missing: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    task: Task
    answer: Answer
    held: int


@dataclass(frozen=True, slots=True)
class _ReadingEnded:
    problem: BaseException | None


@dataclass(frozen=True, slots=True)
class _Written:
    group: Group


@dataclass(frozen=True, slots=True)
class _Stopped:
    problem: BaseException


_Event = _Read | _ReadingEnded | Embedded | _Written | _Stopped


@dataclass(frozen=True, slots=True)
class Server:
    """The embedding model as a flow needs it: its key, what embeds, and how many texts a request.

    `lead` are texts that stand before others in the first request; `check_lead` raises where its vectors are not right.
    """

    model: str
    embed: Callable[[Sequence[str], Sequence[int]], npt.NDArray[np.float32]]
    batch: int
    lead: tuple[str, ...] = ()
    check_lead: Callable[[npt.NDArray[np.float32]], None] = lambda vectors: None


@dataclass(slots=True)
class Totals:
    """What a run has done: documents and chunks written, chunks whose vectors were made or found, tokens embedded."""

    documents: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    tokens: int = 0
    files: int = 0
    bytes: int = 0


class Flow:
    """One run over some files. The reading processes start with it; `run` does the work; `close` ends them."""

    def __init__(
        self,
        work: Sequence[Work],
        workers: int | None = None,
        limits: Limits | None = None,
        look: Callable[[bytes], str] = lambda _picture: "",
    ) -> None:
        self.totals = Totals()
        self._work = work
        self._limits = limits or Limits()
        self._tasks = [
            Task(str(w.file.path), w.file.source, w.file.size, w.file.mtime_ns) for w in work if not w.file.problem
        ]
        self._bytes = sum(task.size for task in self._tasks)
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._budget = Budget(_UNDER_WAY_BYTES)
        self._readers = Readers(
            self._limits,
            self._budget,
            lambda task, answer, held: self._events.put(_Read(task, answer, held)),
            lambda problem: self._events.put(_ReadingEnded(problem)),
            look,
        )
        self._waiting: dict[str, list[tuple[_Open, int]]] = {}  # by hash: whose chunk that is, and which one
        self._look_up: dict[str, Text] = {}
        self._own: dict[str, _Open] = {}  # documents that are a file themselves, by source
        self._group = Group()
        self._reading = bool(self._tasks)
        self._is_writing = False
        self._began = time.monotonic()
        self._readers.start(workers_for(self._tasks, workers) if self._tasks else 0)

    def close(self) -> None:
        """End the reading processes."""
        self._readers.close()

    def run(
        self, writer: Writer, server: Server, options: ReadOptions, on_progress: Callable[[Progress], None]
    ) -> Iterator[Outcome]:
        """Read, embed and write; yields outcomes as they are on disk. Raises ServerError or KnowledgeBaseError.

        What has been embedded is kept in the journal until it is written, whatever ends the run.
        """
        self._ledger = Ledger(self._work, writer.rows)
        journal = Journal(own_folder(writer.store.path), writer.store.identity)
        self._shelf = Shelf(writer, journal)
        self._dimension = writer.store.identity.dimension
        self._embedding = Embedding(
            server.embed,
            server.batch,
            self._events.put,
            lambda problem: self._events.put(_Stopped(problem)),
            server.lead,
            server.check_lead,
        )
        writing = threading.Thread(target=self._write, args=(writer,), daemon=True)
        writing.start()
        job = Job(options, writer.store.identity.chunk_tokens, server.model, self._limits.megabytes)
        self._readers.read(self._tasks, job)
        for state in list(self._ledger.files.values()):
            if problem := state.work.file.problem:
                state.done = FileDone("", problem, 0.0)
                self._finish_file(state)
        try:
            yield from self._loop(writing, on_progress)
            writer.sweep()
            journal.clear()
        finally:
            self._embedding.close()
            self._readers.close()
            self._groups.put(None)
            writing.join()  # in the middle of a commit is no time to leave
            journal.close()

    def _loop(self, writing: threading.Thread, on_progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        told = 0.0
        while self._reading or self._ledger.files or self._has_group or self._is_writing:
            event = self._next_event()
            if isinstance(event, _Read):
                self._take(self._ledger.files[event.task.source], event.answer, event.held)
            elif isinstance(event, Embedded):
                self._settle(event.results)
                self.totals.embedded += len(event.results)
                self.totals.tokens += event.tokens
            elif isinstance(event, _ReadingEnded):
                if event.problem:
                    raise event.problem
                self._reading = False
            elif isinstance(event, _Written):
                yield from self._tell(event.group)
            elif isinstance(event, _Stopped):
                yield from self._last_group(writing)
                raise event.problem
            self._write_if_due()
            if (now := time.monotonic()) - told > _PROGRESS_S:
                told = now
                on_progress(self._progress())
        on_progress(self._progress())

    def _next_event(self) -> _Event | None:
        """The next event; before it waits for one, what can be done without."""
        with suppress(queue.Empty):
            return self._events.get_nowait()
        self._find_vectors()
        self._embedding.flush(not self._reading)
        with suppress(queue.Empty):
            return self._events.get(timeout=0.2)  # not for ever: on Windows Ctrl-C does not end a wait
        self._make_room()
        return None

    def _make_room(self) -> None:
        """Where nothing moves, a file's own document may be waiting for others in it that find no room."""
        if self._embedding.idle and not self._is_writing and not self._has_group:
            for opened in self._own.values():
                self._budget.give(opened.held)
                opened.held = 0

    def _take(self, state: FileState, answer: Answer, held: int) -> None:
        """What a reading process said of a file."""
        if isinstance(answer, ReadDocument):
            self._open(state, answer, held)
            return
        self._budget.give(held)
        if isinstance(answer, FileDone):
            state.done = answer
            self._finish_file(state)
        else:
            self._ledger.unread(state, answer, self._begun())

    def _open(self, state: FileState, read: ReadDocument, held: int) -> None:
        """A document was read: find its vectors, or have them made."""
        row, status = self._ledger.row(state, read)
        is_own = read.source == state.source
        if status is FileStatus.UNCHANGED and not is_own:
            state.unchanged += 1
            self._budget.give(held)
            return
        vectors = np.zeros((len(read.chunks), self._dimension), np.float32)
        opened = _Open(state, row, status, read, held, vectors, len(read.chunks))
        state.open += 1
        new: list[Text] = []
        for index, (name, chunk) in enumerate(zip(read.hashes, read.chunks, strict=True)):
            if (vector := self._shelf.at_hand(name)) is not None:
                vectors[index] = vector
                opened.missing -= 1
            elif name in self._waiting:
                self._waiting[name].append((opened, index))
            else:
                self._waiting[name] = [(opened, index)]
                text = Text(name, chunk.searched, read.estimates[index])
                if self._shelf.may_be_stored(name):
                    self._look_up[name] = text
                else:
                    new.append(text)
        self._embedding.add(new)
        if len(self._look_up) >= _LOOK_UP:
            self._find_vectors()
        if is_own:
            state.has_own = True
            self._own[state.source] = opened
        self._finish(opened)

    def _find_vectors(self) -> None:
        """Ask the tables for all that they seem to hold, and embed what they do not."""
        if self._look_up:
            wanted, self._look_up = self._look_up, {}
            found = self._shelf.stored(list(wanted))
            self._embedding.add(text for name, text in wanted.items() if name not in found)
            self._place(found)

    def _settle(self, results: dict[str, Vector | errors.ServerError]) -> None:
        """Take what was embedded, and what could not be."""
        vectors = {name: vector for name, vector in results.items() if not isinstance(vector, errors.ServerError)}
        self._shelf.embedded(vectors.items())
        self._place(vectors)
        for name, problem in results.items():
            if isinstance(problem, errors.ServerError):
                for opened, _ in self._waiting.pop(name, ()):
                    opened.error = str(problem)
                    opened.missing -= 1
                    self._finish(opened)

    def _place(self, vectors: dict[str, Vector]) -> None:
        for name, vector in vectors.items():
            for opened, index in self._waiting.pop(name, ()):
                opened.vectors[index] = vector
                opened.missing -= 1
                self._finish(opened)

    def _finish(self, opened: _Open) -> None:
        """Put a document into the group once nothing of it is missing.

        A file's own document comes last: its row says that the file has been dealt with.
        """
        state = opened.state
        is_own = self._own.get(state.source) is opened
        if opened.missing or (is_own and (state.done is None or state.open > 1)):
            return
        if is_own and state.done:
            del self._own[state.source]
            opened.row = replace(opened.row, content_hash=state.done.content_hash)
            state.done = replace(state.done, error=state.done.error or opened.error)
        state.open -= 1
        group = self._begun()
        group.held += opened.held
        if is_own and state.done and state.done.error:
            state.has_own = False  # the end of the file tells of it
        elif opened.error:
            group.fail(opened.row, opened.error, opened.read.ms)
        else:
            read = opened.read
            group.versions.append(NewVersion(opened.row, read.text, read.chunks, opened.vectors))
            group.outcomes.append(
                Outcome(opened.row.source, opened.status, _told(read), chunks=len(read.chunks), ms=read.ms)
            )
            group.hashes += read.hashes
            group.chunks += len(read.chunks)
        self._finish_file(state)

    def _finish_file(self, state: FileState) -> None:
        if state.done is None or state.source not in self._ledger.files:
            return
        if state.open == 1 and (own := self._own.get(state.source)):
            self._finish(own)
        elif not state.open:
            self._ledger.finish(state, self._begun())

    def _begun(self) -> Group:
        if self._group.since is None:
            self._group.since = time.monotonic()
        return self._group

    @property
    def _has_group(self) -> bool:
        return self._group.since is not None

    def _write_if_due(self) -> None:
        group = self._group
        if self._is_writing or group.since is None:
            return
        if (
            group.chunks >= _GROUP_CHUNKS
            or group.held >= _GROUP_BYTES
            or time.monotonic() - group.since >= _GROUP_S
            or not (self._reading or self._ledger.files)
        ):
            self._is_writing = True
            self._groups.put(group)
            self._group = Group()

    def _write(self, writer: Writer) -> None:
        """The thread that changes the tables."""
        chunks, next_tidying = 0, 0.0
        while (group := self._groups.get()) is not None:
            try:
                writer.put(group.versions, group.failures, group.containers)
                writer.remove(group.removed)
                chunks += group.chunks
                if chunks >= _TIDY_AFTER and (began := time.monotonic()) >= next_tidying:
                    tidy(writer.store)
                    chunks = 0
                    next_tidying = time.monotonic() + _TIDY_REST * (time.monotonic() - began)
            except BaseException as exc:  # noqa: BLE001 - it is handed to the thread that waits for us
                self._events.put(_Stopped(exc))
                return
            self._events.put(_Written(group))

    def _tell(self, group: Group) -> Iterator[Outcome]:
        """A group is on disk."""
        self._is_writing = False
        self._budget.give(group.held)
        self._shelf.written(group.hashes)
        self.totals.files += group.files
        self.totals.bytes += group.bytes
        self.totals.documents += len(group.versions)
        self.totals.chunks += group.chunks
        yield from group.outcomes

    def _last_group(self, writing: threading.Thread) -> Iterator[Outcome]:
        """Something went wrong: write what is complete."""
        self._groups.put(self._group)
        self._groups.put(None)
        writing.join()
        for event in self._drained():
            if isinstance(event, _Written):
                yield from self._tell(event.group)

    def _drained(self) -> Iterator[_Event]:
        with suppress(queue.Empty):
            while True:
                yield self._events.get_nowait()

    def _progress(self) -> Progress:
        totals = self.totals
        seconds = max(time.monotonic() - self._began, 1e-3)
        rest = (self._bytes - totals.bytes) / totals.bytes * seconds if totals.bytes else None
        return Progress(
            files_done=totals.files,
            files_total=len(self._tasks),
            documents=totals.documents,
            chunks=totals.chunks,
            tokens=totals.tokens,
            tokens_per_s=totals.tokens / seconds,
            eta_s=rest,
        )


def _told(read: ReadDocument) -> str:
    """What a document's outcome tells beside its name."""
    images = read.metadata.get("images_described")
    return f"images described: {images}" if images else ""
