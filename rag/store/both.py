"""Both searches of all chunks at once, by row numbers and scores alone; what the best rows hold is read afterwards.

Reading what a hit needs of a row costs more than finding it, and most of what two searches find is never shown.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rag.store.lance import LOOP
from rag.store.search import FIELDS, Found, found_of, refined, words_match
from rag.store.tables import Outline, Store, store_errors


class Row(NamedTuple):
    """A row of the chunks table as it was when it was found: its number, and a cosine or a BM25 score."""

    id: int
    score: float


class Both:
    """What the two searches found in one state of the table, each best first.

    `documents` are those of the knowledge base, by id, as they were when rows were read last. `outdated` says whether a
    row was read that belongs to no document's current version, as there are while a document is written: other rows
    that were found may be as well.
    """

    def __init__(
        self, store: Store, table: Any, vector: npt.NDArray[np.float32], near: list[Row], worded: list[Row]
    ) -> None:
        self.near, self.worded = near, worded
        self.documents: Mapping[str, Outline] = {}
        self.outdated = False
        self._store, self._table, self._vector = store, table, vector

    def read(self, ranked: Sequence[tuple[Row, float]], at_once: int) -> Iterator[tuple[Found, float]]:
        """The chunks of a ranking, best first, those of one score by id; so many are read at once, or a few more."""
        begin = 0
        while begin < len(ranked):
            end = min(begin + at_once, len(ranked))
            while end < len(ranked) and ranked[end][1] == ranked[end - 1][1]:
                end += 1
            read = self._read([(row.id, score) for row, score in ranked[begin:end]])
            yield from sorted(read, key=lambda item: (-item[1], item[0].id))
            begin = end

    def _read(self, numbered: list[tuple[int, float]]) -> list[tuple[Found, float]]:
        scores = dict(numbered)
        query = self._table.take_row_ids(list(scores)).with_row_id().select([*FIELDS, "vector"])

        async def read() -> tuple[pa.Table, Mapping[str, Outline]]:
            return await asyncio.gather(query.to_arrow(), asyncio.to_thread(self._store.outlines))

        with store_errors(self._store.path):
            rows, self.documents = LOOP.run(read())
            # `flatten` would import all that Arrow computes. Of another dimension where a rebuild has come between.
            cosines = np.vstack(rows["vector"].to_numpy()) @ self._vector
        fused = np.array([scores[number] for number in rows["_rowid"].to_pylist()])
        kept = [
            (chunk, chunk.score)
            for chunk in found_of(rows, fused, cosines)
            if chunk.document_id in self.documents and self.documents[chunk.document_id].revision == chunk.revision
        ]
        self.outdated |= len(kept) < len(numbered)
        return kept


def search_both(store: Store, question: str, vector: npt.NDArray[np.float32], limit: int) -> Both:
    """The `limit` rows nearest to a unit vector and the `limit` rows that best match a question's words."""

    async def nearest(table: Any) -> list[Row]:
        near = table.query().nearest_to(asked).column("vector").distance_type("cosine").refine_factor(refined(limit))
        rows = await near.limit(limit).with_row_id().select(["_distance"]).to_arrow()
        cosines = 1 - rows["_distance"].to_numpy()
        return list(map(Row, rows["_rowid"].to_pylist(), cosines.tolist()))

    async def worded(table: Any) -> list[Row]:
        match = await asyncio.to_thread(words_match, store, question)  # asks for the languages of the documents
        if match is None:
            return []
        rows = await table.query().nearest_to_text(match).limit(limit).with_row_id().select(["_score"]).to_arrow()
        return list(map(Row, rows["_rowid"].to_pylist(), rows["_score"].to_pylist()))

    async def searched() -> Both:
        table = await opening
        return Both(store, table, vector, *await asyncio.gather(nearest(table), worded(table)))

    with store_errors(store.path):
        asked = pa.array(vector.tolist(), pa.float32())  # of an array it would import masked arrays
        opening = store.asynchronous_chunks()
        found: Both = LOOP.run(searched())
        return found
