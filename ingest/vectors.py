"""Where a text's vector may be found without embedding it again."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from rag.lmstudio.batches import Vector
from rag.store.journal import Journal
from rag.store.tables import Store
from rag.store.vectors import stored_vectors

_RECENT = 4096  # vectors kept at hand, for texts that stand in several places
_MANY = 50_000


class Shelf:
    """Vectors by the hash of what was embedded: some at hand, the rest in the tables.

    The tables are asked only for hashes that seem to be there, the first halves of which are `halves`: most texts of a
    run are new. Without a journal, what is embedded is kept nowhere until it is written.
    """

    def __init__(self, store: Store, halves: npt.NDArray[np.uint64], journal: Journal | None = None) -> None:
        self._store = store
        self._journal = journal
        self._recent: OrderedDict[str, Vector] = OrderedDict()
        self._stored = halves
        self._added: set[int] = set()

    def at_hand(self, name: str) -> Vector | None:
        """The vector, if it need not be looked for."""
        if (vector := self._recent.get(name)) is not None:
            self._recent.move_to_end(name)
            return vector
        return self._journal.found.get(name) if self._journal else None

    def may_be_stored(self, name: str) -> bool:
        """Whether the tables seem to hold the vector. Sure where it says no."""
        half = int(name[:16], 16)
        if half in self._added:
            return True
        at = int(np.searchsorted(self._stored, np.uint64(half)))
        return at < self._stored.size and int(self._stored[at]) == half

    def stored(self, names: Sequence[str]) -> dict[str, Vector]:
        """The vectors that the tables do hold."""
        found = stored_vectors(self._store, names)
        for name, vector in found.items():
            self._keep(name, vector)
        return found

    def embedded(self, vectors: Iterable[tuple[str, Vector]]) -> None:
        """Take vectors that have just been made; the journal keeps them as well."""
        new = list(vectors)
        if self._journal:
            self._journal.add(new)
        for name, vector in new:
            self._keep(name, vector)

    def written(self, names: Iterable[str]) -> None:
        """Note that the tables hold these now."""
        done = list(names)
        if self._journal:
            self._journal.settled(done)
        self._added.update(int(name[:16], 16) for name in done)
        if len(self._added) > _MANY:  # sorted numbers take a tenth of the memory
            added = np.fromiter(self._added, np.uint64, len(self._added))
            self._stored = np.union1d(self._stored, added)
            self._added.clear()

    def _keep(self, name: str, vector: Vector) -> None:
        self._recent[name] = vector
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
