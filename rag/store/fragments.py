"""Chunks that many processes write and one commits: files of the table that no reader sees until then."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rag.errors import MissingExtra
from rag.store.schema import DocumentRow
from rag.store.tables import Store, store_errors
from rag.store.write import NewVersion, chunk_table

Fragment = str  # what Lance knows of a file that it has written, as JSON


def write_fragments(store: Store, versions: Sequence[NewVersion], before: Mapping[str, DocumentRow]) -> list[Fragment]:
    """Write the chunks of finished versions beside the table's files, but for those that stand there `before`, by id.

    Any number of processes may do so at once, also on other machines. What is never committed counts for nobody, and
    is deleted by a tidying a week later.
    """
    table = chunk_table(versions, before, store.chunks_table.schema)
    if not table.num_rows:
        return []
    lance = library()
    with store_errors(store.path):
        written = lance.fragment.write_fragments(table, store.chunks_table.to_lance(), schema=table.schema)
    return [json.dumps(fragment.to_json()) for fragment in written]


def commit_fragments(store: Store, fragments: Sequence[Fragment]) -> None:
    """Make all of them a part of the table, in one commit. Make it within the write lock."""
    if not fragments:
        return
    lance = library()
    with store_errors(store.path):
        dataset = store.chunks_table.to_lance()
        new = lance.LanceOperation.Append([lance.fragment.FragmentMetadata.from_json(one) for one in fragments])
        lance.LanceDataset.commit(dataset, new, read_version=dataset.version)
        store.chunks_table.checkout_latest()  # which a table that does not look for new versions would not see


def library() -> Any:
    """Lance by itself, which only this file needs: LanceDB has its own. Raises MissingExtra."""
    try:
        import lance
    except ImportError as exc:
        raise MissingExtra("Lance", "ray") from exc
    return lance
