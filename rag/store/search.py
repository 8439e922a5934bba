"""The two searches: by vector and by words. Both see every committed row, indexed or not."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rag.search.select import Selection
from rag.store.lance import Expr, MatchQuery, col
from rag.store.tables import Outline, Store, store_errors
from rag.store.upkeep import coverage
from rag.store.within import best_rows
from rag.types import Box
from rag.words import query_terms

FIELDS = ["id", "document_id", "revision", "ordinal", "text", "start", "end", "page", "box", "headings"]
# A word beyond these adds nothing to a ranking and a pasted page as a question must not cost minutes.
_LONGEST_QUERY = 2000
_MOST_LANGUAGES = 5  # each adds its own form of every word
# An index holds one bit a dimension: so many times the chunks wanted, or at least so many chunks, are looked up by it
# and compared exactly.
_REFINE = 10
_LEAST_COMPARED = 500

Vector = npt.NDArray[np.float32]
Scores = npt.NDArray[np.floating]


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
    similarity: float | None = None
    revision: str = ""


def by_vector(store: Store, vector: Vector, limit: int, within: Selection | None = None) -> list[Found]:
    """The `limit` chunks nearest to a unit vector, best first, with their cosines; within a selection if given."""

    def run(count: int, narrowing: Expr | None) -> pa.Table:
        query = vector_query(store, vector)
        # An index looks into some of its parts only, which may hold nothing of what is selected.
        query = query.refine_factor(refined(count)) if within is None else query.bypass_vector_index()
        return _rows(query, count, narrowing, [*FIELDS, "_distance"])

    with store_errors(store.path):
        rows = best_rows(store, run, limit, within)
    cosines = 1 - rows["_distance"].to_numpy()
    return found_of(rows, cosines, cosines)


def by_words(
    store: Store, question: str, limit: int, within: Selection | None = None, vector: Vector | None = None
) -> list[Found]:
    """The `limit` chunks that best match a question's words (BM25), best first; none where no word matches.

    With the question's unit `vector` they come with their similarity to it.
    """
    if words_query(store, question) is None:
        return []
    # Within a selection many more rows may be asked for than are wanted: their vectors are fetched afterwards.
    at_once = vector is not None and within is None

    def run(count: int, narrowing: Expr | None) -> pa.Table:
        fields = [*FIELDS, "_score", *(["vector"] if at_once else [])]
        return _rows(words_query(store, question), count, narrowing, fields)

    with store_errors(store.path):
        # Rows that are not indexed yet are scored by how many rows have their words among those that a filter lets
        # through: with a filter their scores would be others than without, and not comparable with indexed rows'.
        narrowed = within is not None and coverage(store).words.unindexed == 0
        rows = best_rows(store, run, limit, within, narrowed=narrowed)
        cosines = None
        if vector is not None:  # of another dimension where a rebuild has come between
            vectors = rows["vector"] if at_once else _vectors(store, rows)
            cosines = vectors.combine_chunks().flatten().to_numpy().reshape(-1, vector.size) @ vector
    return found_of(rows, rows["_score"].to_numpy(), cosines)


def vector_query(store: Store, vector: Vector) -> Any:
    """A new query that orders chunks by nearness to a unit vector, `_distance`."""
    return store.chunks_table.search(vector, vector_column_name="vector").distance_type("cosine")


def refined(count: int) -> int:
    """How many times the chunks wanted are compared exactly, of those that an index of the vectors names."""
    return max(_REFINE, _LEAST_COMPARED // count)


def words_query(store: Store, question: str) -> Any:
    """A new query that orders chunks by a question's words, `_score`; None where it has none to search for."""
    match = words_match(store, question)
    return store.chunks_table.search(match, query_type="fts") if match else None


def words_match(store: Store, question: str) -> MatchQuery | None:
    """A question's words as the full-text index has them; None where it has none to search for."""
    words = query_terms(question[:_LONGEST_QUERY], store.languages()[:_MOST_LANGUAGES])
    match: Any = MatchQuery  # its generated signature hides which arguments have defaults
    return match(words, "words") if words else None


def chunk_vectors(store: Store, chunk_ids: Sequence[str]) -> dict[str, Vector]:
    """The unit vectors of some chunks, by id; those that are not there any more are left out."""
    if not chunk_ids:
        return {}
    with store_errors(store.path):
        table = (
            store.chunks_table.search()
            .where(col("id").isin(sorted(set(chunk_ids))))
            .select(["id", "vector"])
            .to_arrow()
        )
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    return dict(zip(table["id"].to_pylist(), vectors, strict=True))


def passages(
    store: Store, groups: Sequence[Sequence[Found]], documents: Mapping[str, Outline]
) -> list[tuple[Outline, str] | None]:
    """The document and the text of each group of neighbouring chunks, all that stands between them included.

    `documents` are those of the knowledge base by id. The text is the slice of the document's from the first chunk's
    start to the farthest end; it is fetched only where chunks do not lie end to end. None where the document was
    replaced since the search.
    """
    whole = store.texts(
        group[0].document_id for group in groups if any(a.end != b.start for a, b in itertools.pairwise(group))
    )
    found: list[tuple[Outline, str] | None] = []
    for group in groups:
        first, outline = group[0], documents.get(group[0].document_id)
        text = whole.get(first.document_id)
        if outline is None or outline.revision != first.revision:
            found.append(None)
        elif text is None:
            found.append((outline, "".join(part.text for part in group)))
        elif all(text.startswith(part.text, part.start) for part in group):
            found.append((outline, text[first.start : max(part.end for part in group)]))
        else:  # the text is already that of the next version
            found.append(None)
    return found


def _rows(query: Any, count: int, narrowing: Expr | None, fields: list[str]) -> pa.Table:
    if narrowing is not None:
        query = query.where(narrowing)
    return query.limit(count).select(fields).to_arrow()


def _vectors(store: Store, rows: pa.Table) -> pa.ChunkedArray:
    """The vectors of chunks, in their order."""
    wanted = list(zip(rows["id"].to_pylist(), rows["revision"].to_pylist(), strict=True))
    query = store.chunks_table.search().where(col("id").isin([id_ for id_, _ in wanted] or [""]))
    table = query.select(["id", "revision", "vector"]).to_arrow()
    found = zip(table["id"].to_pylist(), table["revision"].to_pylist(), strict=True)
    places = {key: place for place, key in enumerate(found)}
    return table["vector"].take(pa.array([places[key] for key in wanted], pa.int64()))


def found_of(rows: pa.Table, scores: Scores, cosines: Scores | None) -> list[Found]:
    """The chunks of a table's rows, in their order."""
    return [
        Found(
            **{
                **value,
                "headings": tuple(value["headings"]),
                "box": tuple(value["box"]) if value["box"] else None,
            },
            score=float(score),
            similarity=float(cosine) if cosine is not None else None,
        )
        for value, score, cosine in zip(
            rows.select(FIELDS).to_pylist(),
            scores,
            cosines if cosines is not None else itertools.repeat(None),
            strict=False,
        )
    ]
