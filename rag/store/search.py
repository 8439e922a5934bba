"""The two searches: by vector and by words. Both see every committed row, indexed or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lancedb.query
import numpy as np
import numpy.typing as npt
from lancedb.expr import col

from rag.store.tables import Store, store_errors
from rag.types import Box
from rag.words import query_terms

_FIELDS = ["id", "document_id", "revision", "ordinal", "text", "start", "end", "page", "box", "headings"]
# A word beyond these adds nothing to a ranking and a pasted page as a question must not cost minutes.
_LONGEST_QUERY = 2000
_MOST_LANGUAGES = 5  # each adds its own form of every word


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk that one search found; `score` is a cosine or a BM25 score, larger is better."""

    id: str
    document_id: str
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None
    headings: tuple[str, ...]
    score: float
    box: Box | None = None


def by_vector(
    store: Store, vector: npt.NDArray[np.float32], limit: int, documents: Sequence[str] | None = None
) -> list[Found]:
    """The `limit` chunks nearest to a unit vector, best first, with their cosines; within some documents if given."""
    with store_errors(store.path):
        query = store.chunks_table.search(vector, vector_column_name="vector").distance_type("cosine")
        return _found(store, query, limit, documents, "_distance")


def by_words(store: Store, question: str, limit: int, documents: Sequence[str] | None = None) -> list[Found]:
    """The `limit` chunks that best match a question's words (BM25), best first; none where no word matches."""
    words = query_terms(question[:_LONGEST_QUERY], store.languages()[:_MOST_LANGUAGES])
    if not words:
        return []
    with store_errors(store.path):
        match: Any = lancedb.query.MatchQuery  # its generated signature hides which arguments have defaults
        query = store.chunks_table.search(match(words, "words"), query_type="fts")
        return _found(store, query, limit, documents, "_score")


def similarities(store: Store, vector: npt.NDArray[np.float32], chunk_ids: Sequence[str]) -> dict[str, float]:
    """The cosines between a unit vector and some chunks."""
    if not chunk_ids:
        return {}
    with store_errors(store.path):
        table = (
            store.chunks_table.search()
            .where(col("id").isin(sorted(set(chunk_ids))))
            .select(["id", "vector"])
            .to_arrow()
        )
    return {
        id_: float(np.dot(vector, np.array(found, np.float32)))
        for id_, found in zip(table["id"].to_pylist(), table["vector"].to_pylist(), strict=True)
    }


def _found(store: Store, query: Any, limit: int, documents: Sequence[str] | None, measure: str) -> list[Found]:
    if documents is not None:
        query = query.where(col("document_id").isin(sorted(set(documents))))
    rows = query.limit(limit).select([*_FIELDS, measure]).to_arrow().to_pylist()
    current = store.documents()
    return [
        Found(
            id=row["id"],
            document_id=row["document_id"],
            ordinal=row["ordinal"],
            text=row["text"],
            start=row["start"],
            end=row["end"],
            page=row["page"],
            headings=tuple(row["headings"]),
            score=1 - row[measure] if measure == "_distance" else row[measure],
            box=tuple(row["box"]) if row["box"] else None,
        )
        for row in rows
        if row["document_id"] in current and current[row["document_id"]].revision == row["revision"]
    ]
