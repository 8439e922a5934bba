"""Where chunks stand among all chunks, exactly: both searches without an end, of ids and scores alone."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rag.store.lance import Expr
from rag.store.search import vector_query, words_query
from rag.store.tables import Store, store_errors
from rag.store.within import best_rows


@dataclass(frozen=True, slots=True)
class Rank:
    """A chunk's place in a search of all chunks, from 1, and its score there: a cosine, or a BM25 score."""

    rank: int
    score: float


def vector_ranks(store: Store, vector: npt.NDArray[np.float32], chunk_ids: Collection[str]) -> dict[str, Rank]:
    """The places of some chunks by their nearness to a unit vector. No index takes part: each is compared."""
    with store_errors(store.path):
        query = vector_query(store, vector).bypass_vector_index()
        found = _ranks(store, query, chunk_ids, "_distance")
    return {id_: Rank(place.rank, 1 - place.score) for id_, place in found.items()}


def word_ranks(store: Store, question: str, chunk_ids: Collection[str]) -> dict[str, Rank]:
    """The places of those of some chunks that hold a word of the question, by BM25."""
    with store_errors(store.path):
        query = words_query(store, question)
        return _ranks(store, query, chunk_ids, "_score") if query is not None else {}


def _ranks(store: Store, query: Any, chunk_ids: Collection[str], measure: str) -> dict[str, Rank]:
    def run(count: int, _: Expr | None) -> pa.Table:
        return query.limit(count).select(["id", "document_id", "revision", measure]).to_arrow()

    rows = best_rows(store, run, store.chunks_table.count_rows() or 1, None)
    wanted = set(chunk_ids)
    return {
        id_: Rank(place, score)
        for place, (id_, score) in enumerate(zip(rows["id"].to_pylist(), rows[measure].to_pylist(), strict=True), 1)
        if id_ in wanted
    }
