"""The two searches: by vector and by words. Both see every committed row, indexed or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lancedb.query
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lancedb.expr import Expr, col

from rag.select import Selection
from rag.store.tables import Store, store_errors
from rag.store.upkeep import coverage
from rag.store.within import best_rows
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
    store: Store, vector: npt.NDArray[np.float32], limit: int, within: Selection | None = None
) -> list[Found]:
    """The `limit` chunks nearest to a unit vector, best first, with their cosines; within a selection if given."""

    def run(count: int, narrowing: Expr | None) -> pa.Table:
        query = vector_query(store, vector)
        # An index looks into some of its parts only, which may hold nothing of what is selected.
        return _rows(query if within is None else query.bypass_vector_index(), count, narrowing, "_distance")

    with store_errors(store.path):
        return _found(best_rows(store, run, limit, within), "_distance")


def by_words(store: Store, question: str, limit: int, within: Selection | None = None) -> list[Found]:
    """The `limit` chunks that best match a question's words (BM25), best first; none where no word matches."""
    if words_query(store, question) is None:
        return []

    def run(count: int, narrowing: Expr | None) -> pa.Table:
        return _rows(words_query(store, question), count, narrowing, "_score")

    with store_errors(store.path):
        # Rows that are not indexed yet are scored by how many rows have their words among those that a filter lets
        # through: with a filter their scores would be others than without, and not comparable with indexed rows'.
        narrowed = within is not None and coverage(store).unindexed == 0
        return _found(best_rows(store, run, limit, within, narrowed=narrowed), "_score")


def vector_query(store: Store, vector: npt.NDArray[np.float32]) -> Any:
    """A new query that orders chunks by nearness to a unit vector, `_distance`."""
    return store.chunks_table.search(vector, vector_column_name="vector").distance_type("cosine")


def words_query(store: Store, question: str) -> Any:
    """A new query that orders chunks by a question's words, `_score`; None where it has none to search for."""
    words = query_terms(question[:_LONGEST_QUERY], store.languages()[:_MOST_LANGUAGES])
    match: Any = lancedb.query.MatchQuery  # its generated signature hides which arguments have defaults
    return store.chunks_table.search(match(words, "words"), query_type="fts") if words else None


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


def _rows(query: Any, count: int, narrowing: Expr | None, measure: str) -> pa.Table:
    if narrowing is not None:
        query = query.where(narrowing)
    return query.limit(count).select([*_FIELDS, measure]).to_arrow()


def _found(rows: pa.Table, measure: str) -> list[Found]:
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
        for row in rows.to_pylist()
    ]
