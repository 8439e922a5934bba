"""The two searches: by vector and by words. Both see every committed row, indexed or not."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.store.lance import MatchQuery, col
from rag.store.tables import Outline, Store, store_errors
from rag.types import Box
from rag.words import query_terms

_FIELDS = ["id", "document_id", "revision", "ordinal", "text", "start", "end", "page", "box", "headings"]
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


def by_vector(store: Store, vector: Vector, limit: int, documents: Sequence[str] | None = None) -> list[Found]:
    """The `limit` chunks nearest to a unit vector, best first, with their cosines; within some documents if given."""
    with store_errors(store.path):
        query = store.chunks_table.search(vector, vector_column_name="vector").distance_type("cosine")
        query = query.refine_factor(max(_REFINE, _LEAST_COMPARED // limit)).limit(limit).select([*_FIELDS, "_distance"])
        rows = _within(query, documents).to_arrow()
    cosines = 1 - rows["_distance"].to_numpy()
    return _found(store, rows, cosines, cosines)


def by_words(
    store: Store,
    question: str,
    limit: int,
    documents: Sequence[str] | None = None,
    vector: Vector | None = None,
) -> list[Found]:
    """The `limit` chunks that best match a question's words (BM25), best first; none where no word matches.

    With the question's unit `vector` they come with their similarity to it.
    """
    words = query_terms(question[:_LONGEST_QUERY], store.languages()[:_MOST_LANGUAGES])
    if not words:
        return []
    with store_errors(store.path):
        match: Any = MatchQuery  # its generated signature hides which arguments have defaults
        query = store.chunks_table.search(match(words, "words"), query_type="fts")
        fields = [*_FIELDS, "_score"] if vector is None else [*_FIELDS, "_score", "vector"]
        rows = _within(query.limit(limit).select(fields), documents).to_arrow()
    cosines = None
    if vector is not None:
        cosines = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, vector.size) @ vector
    return _found(store, rows, rows["_score"].to_numpy(), cosines)


def passages(store: Store, groups: Sequence[Sequence[Found]]) -> list[tuple[Outline, str] | None]:
    """The document and the text of each group of neighbouring chunks, all that stands between them included.

    The text is the slice of the document's from the first chunk's start to the last one's end; it is fetched only
    where chunks do not lie end to end. None where the document was replaced since the search.
    """
    whole = store.texts(
        group[0].document_id for group in groups if any(a.end != b.start for a, b in itertools.pairwise(group))
    )
    current = store.outlines()
    found: list[tuple[Outline, str] | None] = []
    for group in groups:
        first, outline = group[0], current.get(group[0].document_id)
        if outline is None or outline.revision != first.revision:
            found.append(None)
        elif first.document_id in whole:
            found.append((outline, whole[first.document_id][first.start : group[-1].end]))
        else:
            found.append((outline, "".join(part.text for part in group)))
    return found


def _within(query: Any, documents: Sequence[str] | None) -> Any:
    return query if documents is None else query.where(col("document_id").isin(sorted(set(documents))))


def _found(store: Store, rows: Any, scores: Scores, cosines: Scores | None) -> list[Found]:
    """Rows as chunks, those left out whose document has another revision by now, or none."""
    values = rows.select(_FIELDS).to_pylist()
    current = store.outlines()
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
            values, scores, cosines if cosines is not None else itertools.repeat(None), strict=False
        )
        if value["document_id"] in current and current[value["document_id"]].revision == value["revision"]
    ]
