"""Keeping the tables small and fast: index coverage, compaction, old versions."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rag.store.tables import Store, store_errors

_KEEP_VERSIONS = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many chunks the full-text index covers; the rest is scanned, so that nothing is ever missed."""

    indexed: int
    unindexed: int


def coverage(store: Store) -> Coverage:
    """The full-text index's coverage."""
    with store_errors(store.path):
        stats = store.chunks_table.index_stats("searched_idx")
    return (
        Coverage(stats.num_indexed_rows, stats.num_unindexed_rows)
        if stats
        else Coverage(0, store.chunks_table.count_rows())
    )


def tidy(store: Store) -> None:
    """Bring new rows into the indexes, merge small fragments and drop versions older than a week."""
    with store_errors(store.path):
        for table in (store.documents_table, store.chunks_table, store.roots_table):
            table.optimize(cleanup_older_than=_KEEP_VERSIONS)


def size_on_disk(path: Path) -> int:
    """Bytes of all files of the knowledge base."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
