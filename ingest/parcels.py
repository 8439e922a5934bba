"""What one worker of many does: a parcel of files, read, embedded and written beside the tables, in the usual way."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

import rag.errors as errors
from ingest.describe import describer
from ingest.flow import Flow, Server, Totals
from ingest.ledger import Group, Work
from ingest.members import ReadOptions
from ingest.report import Outcome
from ingest.servers import Servers, checked
from ingest.vectors import Shelf
from ingest.workers import Process
from rag.lmstudio.batches import Throttle
from rag.lmstudio.embeddings import Embedder
from rag.location import Location
from rag.settings import Settings, own_folder
from rag.store.fragments import Fragment, write_fragments
from rag.store.kept import Kept
from rag.store.names import digest
from rag.store.schema import DocumentRow, Identity
from rag.store.tables import Store
from rag.store.write import finished

_PARCEL_BYTES = 2 << 20  # what a killed worker costs at the most, in files of which none is larger
_LEAST_BYTES = 64 << 10
_PARCEL_FILES = 256
_SHARES = 8  # parcels of a worker, at the least: they take their times, and the last ones are waited for
_IN_FLIGHT = 4  # requests of one worker: there are others


@dataclass(frozen=True, slots=True)
class Parcel:
    """Some files to read. `known` are the rows that decide what their documents are called, by id."""

    work: Sequence[Work]
    known: Mapping[str, DocumentRow]


@dataclass(frozen=True, slots=True)
class Errand:
    """What holds for all parcels of a run; `halves` are as for Shelf, `hosts` the embedding servers."""

    kb: Location
    settings: Settings
    hosts: tuple[str, ...]
    options: ReadOptions
    halves: npt.NDArray[np.uint64]


@dataclass(slots=True)
class Done:
    """What came of a parcel: rows with texts to be committed after the fragments, and what `Group` has of the rest.

    `problem` is what ended it before its end; what is here is whole all the same.
    """

    documents: list[tuple[DocumentRow, str]] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    failures: list[tuple[DocumentRow, str]] = field(default_factory=list)
    containers: list[DocumentRow] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    notices: list[str] = field(default_factory=list)
    problem: errors.RagError | None = None

    def add(self, other: "Done") -> None:
        """Take what came of another parcel."""
        for name in ("documents", "fragments", "failures", "containers", "removed", "outcomes"):
            getattr(self, name).extend(getattr(other, name))
        self.totals.add(other.totals)


def parcels(work: Sequence[Work], rows: Mapping[str, DocumentRow], workers: int) -> list[Parcel]:
    """Files in the given order, so many together as one of the workers is not too long about, and each has its share.

    A document keeps its id when it moves, so that a new one at its former place has to take another: the rows of all
    that have moved go along with each parcel.
    """
    moved = {row.id: row for row in rows.values() if row.id != digest(row.source)}
    found: list[Parcel] = []
    some: list[Work] = []
    size, share = 0, sum(one.file.size for one in work) // (_SHARES * workers)
    most = min(_PARCEL_BYTES, max(_LEAST_BYTES, share))
    for one in work:
        if some and (size + one.file.size > most or len(some) >= _PARCEL_FILES):
            found.append(Parcel(some, moved | _rows_of(some)))
            some, size = [], 0
        some.append(one)
        size += one.file.size
    return [*found, Parcel(some, moved | _rows_of(some))] if some else found


def _rows_of(work: Sequence[Work]) -> dict[str, DocumentRow]:
    of_files = {one.before.id: one.before for one in work if one.before}
    return of_files | {row.id: row for one in work for row in one.members}


class Station:
    """A worker's own: its reader process, connections, what it knows of the servers' speed. Kept between parcels."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self._store = Store.open(errand.kb)
        self._notices: list[str] = []
        self._idle: list[Process] = []
        made_with = self._store.made_with()
        model, settings = made_with[0].embedding_model, errand.settings
        embedders = [Embedder(replace(settings, host=host), model, self._notices.append) for host in errand.hosts]
        first = threading.get_native_id()  # workers begin with different servers
        self._servers = Servers(embedders, checked(errand.kb, made_with), self._notices.append, first)
        throttle = Throttle(_IN_FLIGHT)
        # A parcel is what a kill costs: it need not be careful beyond that.
        at_risk = _IN_FLIGHT * settings.embed_batch
        self._server = Server(model, self._servers.embed, settings.embed_batch, throttle=throttle, at_risk=at_risk)
        self._look = None
        if errand.options.describe_images:
            kept = Kept(own_folder(errand.kb) / "image_descriptions.jsonl")
            self._look = describer(settings, kept, self._notices.append)

    def done(self, parcel: Parcel) -> Done:
        """Read, embed and write a parcel. Raises nothing for bad files and servers: it says so."""
        staged = _Staged(self._store, parcel.known, self.errand.halves)
        look = self._look or (lambda _picture: "")
        with closing(Flow(parcel.work, 1, look=look, idle=self._idle)) as flow:
            try:
                staged.done.outcomes += flow.run(staged, self._server, self.errand.options, lambda progress: None)
            except errors.RagError as exc:
                staged.done.problem = exc
        staged.done.totals = flow.totals
        staged.done.notices, self._notices[:] = list(self._notices), []
        return staged.done

    def close(self) -> None:
        """End the reader process, and close the connections."""
        self._servers.close()
        if self._look:
            self._look.close()
        for process in self._idle:
            process.close()


class _Staged:
    """Where a worker's flow brings what it made: files beside the tables, and rows that another will commit."""

    def __init__(self, store: Store, known: Mapping[str, DocumentRow], halves: npt.NDArray[np.uint64]) -> None:
        self.rows = known
        self.identity: Identity = store.identity
        self.shelf = Shelf(store, halves)
        self.done = Done()
        self._store = store

    def write(self, group: Group) -> None:
        """Write a group's chunks, and note the rest."""
        versions = list(map(finished, group.versions))
        self.done.fragments += write_fragments(self._store, versions, self.rows)
        self.done.documents += [(version.row, version.text) for version in versions]
        self.done.failures += group.failures
        self.done.containers += group.containers
        self.done.removed += group.removed


_AT_WORK: list[Station] = []  # of this process: none or one


def station(errand: Errand) -> Station:
    """This process's station for a run."""
    if not _AT_WORK or _AT_WORK[0].errand is not errand:
        while _AT_WORK:
            _AT_WORK.pop().close()
        _AT_WORK.append(Station(errand))
    return _AT_WORK[0]
