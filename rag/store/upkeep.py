"""Keeping the tables small and fast: the indexes and their coverage, compaction, files that nothing needs any more.

Whoever writes does this, after writing; who searches neither waits nor misses anything: a search reads a version of the
tables that nobody changes, and compares what an index does not cover yet one by one.
"""

from dataclasses import dataclass
from datetime import timedelta

from rag.store.lance import BTree, IvfRq
from rag.store.tables import Store, store_errors

# Below so many chunks, comparing a question with every vector takes a few milliseconds, and is exact. At so many, of
# documents in MiniLM's vectors, the index missed none of the nearest 50 of 200 questions, in half of the time.
LARGE = 10_000
# Files of former states of a table stay so long, for searches that began then. What `rag versions` lists has its own.
_UNREAD = timedelta(hours=1)
_BEHIND = 500  # chunks that the full-text index lacks; a search reads their texts, some 40 microseconds each
_LITTLE = 0.05
_FRAGMENTS = 32  # searches become slower with each


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many chunks an index covers; the rest is compared one by one, so that nothing is ever missed.

    `kind` is LanceDB's name for the index, "" where there is none yet.
    """

    kind: str
    indexed: int
    unindexed: int


@dataclass(frozen=True, slots=True)
class Coverages:
    """The coverage of both searches."""

    words: Coverage
    vectors: Coverage


def coverage(store: Store) -> Coverages:
    """How many chunks the indexes of the two searches cover."""
    return Coverages(_coverage(store, "words_idx"), _coverage(store, "vector_idx"))


def _coverage(store: Store, index: str) -> Coverage:
    with store_errors(store.path):
        stats = store.chunks_table.index_stats(index)
        if stats is None:
            return Coverage("", 0, int(store.chunks_table.count_rows()))
    return Coverage(stats.index_type, stats.num_indexed_rows, stats.num_unindexed_rows)


def tidy(store: Store, changed: int | None = None, *, large: int = LARGE, unread: timedelta = _UNREAD) -> None:
    """Bring new rows into the indexes, merge small fragments and delete files that no state of an hour ago needs.

    From `large` chunks on there is an index of the vectors: IVF_RQ, which on 200,000 vectors of 384 dimensions builds
    in seconds, takes 13 MB and finds, compared exactly ten times deep, 0.99 of the nearest 50. It grows with the table.

    This writes all of a table anew. Where it is known how many chunks have changed, a large table that has changed
    little is left as it is. Make it within the write lock.
    """
    with store_errors(store.path):
        if changed is not None and _is_well(store, changed, large):
            return
        for table in (store.documents_table, store.chunks_table, store.roots_table):
            table.optimize(cleanup_older_than=unread)
        if store.chunks_table.count_rows() >= large and not coverage(store).vectors.kind:
            store.chunks_table.create_index("vector", config=IvfRq(distance_type="cosine"))
            store.chunks_table.create_index("document_id", config=BTree())  # filters come before the vectors


def _is_well(store: Store, changed: int, large: int) -> bool:
    rows = store.chunks_table.count_rows()
    if rows < large or changed > rows * _LITTLE:
        return False
    fragments = store.chunks_table.stats()["fragment_stats"]["num_small_fragments"]
    now = coverage(store)
    return bool(fragments < _FRAGMENTS and now.words.unindexed < _BEHIND and now.vectors.kind)
