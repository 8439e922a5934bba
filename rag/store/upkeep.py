"""Keeping the tables small and fast: index coverage, compaction, old versions."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rag.store.tables import Store, store_errors

_KEEP_VERSIONS = timedelta(days=7)
_LARGE = 20_000  # chunks; below, tidying takes less than a tenth of a second
_LITTLE = 0.05
_FRAGMENTS = 32  # searches become slower with each


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many chunks the full-text index covers; the rest is scanned, so that nothing is ever missed."""

    indexed: int
    unindexed: int


def coverage(store: Store) -> Coverage:
    """The full-text index's coverage."""
    with store_errors(store.path):
        stats = store.chunks_table.index_stats("words_idx")
    return (
        Coverage(stats.num_indexed_rows, stats.num_unindexed_rows)
        if stats
        else Coverage(0, store.chunks_table.count_rows())
    )


def tidy(store: Store, changed: int | None = None) -> None:
    """Bring new rows into the indexes, merge small fragments and drop versions older than a week.

    This writes all of a table anew. Where it is known how many chunks have changed, a large table that has changed
    little is left as it is.
    """
    with store_errors(store.path):
        if changed is not None and _is_well(store, changed):
            return
        for table in (store.documents_table, store.chunks_table, store.roots_table):
            table.optimize(cleanup_older_than=_KEEP_VERSIONS)


def _is_well(store: Store, changed: int) -> bool:
    rows = store.chunks_table.count_rows()
    if rows < _LARGE or changed > rows * _LITTLE:
        return False
    fragments = store.chunks_table.stats()["fragment_stats"]["num_small_fragments"]
    return bool(fragments < _FRAGMENTS and coverage(store).unindexed < rows * _LITTLE)


def size_on_disk(path: Path) -> int:
    """Bytes of all files of the knowledge base."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
