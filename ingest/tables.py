"""The tables of a knowledge base as a run fills them: a group at a time, and kept small on the way."""

import time
from collections.abc import Mapping

import numpy as np

from ingest.ledger import Group
from ingest.vectors import Shelf
from rag.settings import own_folder
from rag.store.journal import Journal
from rag.store.schema import DocumentRow, Identity
from rag.store.upkeep import tidy
from rag.store.vectors import stored_hashes
from rag.store.write import Writer

_TIDY_AFTER = 2048  # chunks that no index covers yet: each makes searches slower, by some 40 microseconds
_TIDY_REST = 10  # times as long as the last tidying took


class Tables:
    """Where a run in this process brings what it has made.

    What has been embedded is kept in a journal until it is written, whatever ends the run; `settle` says that all is.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.identity: Identity = writer.store.identity
        self._journal = Journal(own_folder(writer.store.path), self.identity)
        self.halves = stored_hashes(writer.store) if writer.rows else np.zeros(0, np.uint64)
        self.shelf = Shelf(writer.store, self.halves, self._journal)
        self._chunks, self._next_tidying = 0, 0.0

    @property
    def rows(self) -> Mapping[str, DocumentRow]:
        """All documents by id."""
        return self.writer.rows

    def write(self, group: Group) -> None:
        """Commit a group."""
        self.writer.put(group.versions, group.failures, group.containers)
        self.writer.remove(group.removed)
        self._chunks += group.chunks
        if self._chunks >= _TIDY_AFTER and (began := time.monotonic()) >= self._next_tidying:
            tidy(self.writer.store)
            self._chunks = 0
            self._next_tidying = time.monotonic() + _TIDY_REST * (time.monotonic() - began)

    def settle(self) -> None:
        """The run is at its end: what a killed one has left goes as well."""
        self.writer.sweep()
        self._journal.clear()

    def close(self) -> None:
        """Close the journal; what it holds stays for the next run."""
        self._journal.close()
