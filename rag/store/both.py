"""Both searches of all chunks at once, by row numbers and scores alone; what the best rows hold is read afterwards.

Reading what a hit needs of a row costs more than finding it, and most of what two searches find is never shown.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rag.store.lance import LOOP
from rag.store.search import FIELDS, Found, found_of, refined, words_match
from rag.store.tables import Store, store_errors


class Row(NamedTuple):
    """A row of the chunks table as it was when it was found: its number, and a cosine or a BM25 score."""

    id: int
    score: float


class Both:
    """What the two searches found in one state of the table, each best first.

    `outdated` says whether a row was read that belongs to no document's current version, as there are while a document
    is written: other rows that were found may be as well.
    """

    def __init__(
        self, store: Store, table: Any, vector: npt.NDArray[np.float32], near: list[Row], worded: list[Row]
    ) -> None:
        self.near, self.worded = near, worded
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
        with store_errors(self._store.path):
            query = self._table.take_row_ids(list(scores)).with_row_id().select([*FIELDS, "vector"])
            rows: pa.Table = LOOP.run(query.to_arrow())
            # `flatten` would import all that Arrow computes. Of another dimension where a rebuild has come between.
            cosines = np.vstack(rows["vector"].to_numpy()) @ self._vector
        fused = np.array([scores[number] for number in rows["_rowid"].to_pylist()])
        found = found_of(rows, fused, cosines)
        current = self._store.outlines()
        kept = [
            (chunk, chunk.score)
            for chunk in found
            if chunk.document_id in current and current[chunk.document_id].revision == chunk.revision
        ]
        self.outdated |= len(kept) < len(numbered)
        return kept


def search_both(store: Store, question: str, vector: npt.NDArray[np.float32], limit: int) -> Both:
    """The `limit` rows nearest to a unit vector and the `limit` rows that best match a question's words."""

    async def searched() -> tuple[Any, list[pa.Table]]:
        table = await opening
        near = table.query().nearest_to(asked).column("vector").distance_type("cosine").refine_factor(refined(limit))
        searches: list[Awaitable[pa.Table]] = [near.limit(limit).with_row_id().select(["_distance"]).to_arrow()]
        if match is not None:
            worded = table.query().nearest_to_text(match)
            searches.append(worded.limit(limit).with_row_id().select(["_score"]).to_arrow())
        return table, await asyncio.gather(*searches)

    with store_errors(store.path):
        asked = pa.array(vector.tolist(), pa.float32())  # of an array it would import masked arrays
        match, opening = words_match(store, question), store.asynchronous_chunks()
        table, found = LOOP.run(searched())
        near, *worded = found
        cosines = 1 - near["_distance"].to_numpy()
        return Both(
            store,
            table,
            vector,
            list(map(Row, near["_rowid"].to_pylist(), cosines.tolist())),
            [row for rows in worded for row in map(Row, rows["_rowid"].to_pylist(), rows["_score"].to_pylist())],
        )
