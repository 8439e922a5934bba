"""Question to passages: two searches, one ranking, copies and neighbours merged. Plain functions of their arguments."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rag.search.diversity import diverse
from rag.search.duplicates import LOOKED_AT, distinct, places
from rag.search.fusion import Judge, fused, judged, merged
from rag.search.options import Mode, SearchOptions
from rag.search.select import Selection
from rag.store.both import search_both
from rag.store.schema import parsed_metadata
from rag.store.search import Found, by_vector, by_words, chunk_vectors, passages
from rag.store.tables import Outline, Store
from rag.types import Hit, Place, enclosing

_LEAST_POOL = 50
_NEIGHBOURS_SHARE = 0.6  # of the floor: what goes on in the next chunk has fewer of the question's words
_MOST_JOINED = 3  # chunks that one passage may join: more would push other passages out of the context


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the two searches found, each best first, and both as one ranking with the scores of the fusion."""

    near: list[Found]
    worded: list[Found]
    ranked: list[tuple[Found, float]]


@dataclass(frozen=True, slots=True)
class Choice:
    """A search, stage by stage.

    What was found, also by other questions; copies, by the chunk that they repeat; what is left without them; the same
    as a judge and the wish for diversity order it; and what becomes passages.
    """

    found: Candidates
    copies: dict[str, list[Found]]
    unlike: list[tuple[Found, float]]
    ranked: list[tuple[Found, float]]
    groups: list[tuple[list[Found], float]]


def retrieve(
    store: Store,
    question: str,
    vector: npt.NDArray[np.float32] | None,
    options: SearchOptions,
    within: Selection | None = None,
    *,
    others: Sequence[tuple[str, npt.NDArray[np.float32] | None]] = (),
    judge: Judge | None = None,
) -> list[Hit]:
    """The passages that best fit a question, best first.

    `vector` is the question's unit vector, None by words only. `within` is what the filters of the options select, None
    for all. `others` are questions with their vectors to search for besides. Where there is a `judge`, its marks count
    for the best candidates.
    """
    plain = within is None and not others and judge is None and not options.diversity
    if plain and vector is not None and options.mode is Mode.HYBRID:
        found = _at_once(store, question, vector, options)
        if found is not None:
            return found
    choice = chosen(store, question, vector, options, within, others=others, judge=judge)
    return hits(store, choice.groups, choice.copies, store.outlines())


def _at_once(store: Store, question: str, vector: npt.NDArray[np.float32], options: SearchOptions) -> list[Hit] | None:
    """What `chosen` chooses of all chunks, reading only what the best of them hold; None where a write is under way."""
    pool = _pool(options)
    both = search_both(store, question, vector, pool)
    ranked = fused(both.near, both.worded, options.vector_weight, exhausted=len(both.worded) < pool)
    wanted = 2 * options.limit
    unlike = distinct(both.read(ranked, max(LOOKED_AT, wanted)), wanted)
    if both.outdated:
        return None
    return hits(store, joined(unlike.ranked, options.limit, options.floor), unlike.copies, both.documents)


def chosen(
    store: Store,
    question: str,
    vector: npt.NDArray[np.float32] | None,
    options: SearchOptions,
    within: Selection | None = None,
    *,
    others: Sequence[tuple[str, npt.NDArray[np.float32] | None]] = (),
    judge: Judge | None = None,
) -> Choice:
    """All that `retrieve` decides; `rag.search.why` tells of it."""
    found = candidates(store, question, vector, options, within)
    besides = [candidates(store, *other, options, within).ranked for other in others]
    found = replace(found, ranked=merged(found.ranked, besides))
    pool = _pool(options) if options.diversity or judge else 2 * options.limit
    unlike = distinct(found.ranked, pool)
    ranked = unlike.ranked
    if judge is not None:
        ranked = judged(ranked, judge, options.rerank_weight)
    if options.diversity:
        vectors = chunk_vectors(store, [chunk.id for chunk, _ in ranked])
        ranked = diverse(ranked, vectors, 2 * options.limit, options.diversity)
    return Choice(found, unlike.copies, unlike.ranked, ranked, joined(ranked, options.limit, options.floor))


def candidates(
    store: Store,
    question: str,
    vector: npt.NDArray[np.float32] | None,
    options: SearchOptions,
    within: Selection | None = None,
) -> Candidates:
    """The chunks that either search finds, many more than there will be passages."""
    pool = _pool(options)
    with ThreadPoolExecutor(1) as beside:  # LanceDB searches outside of Python's lock
        words = (
            beside.submit(by_words, store, question, pool, within, vector) if options.mode is not Mode.VECTOR else None
        )
        near = by_vector(store, vector, pool, within) if vector is not None and options.mode is not Mode.WORDS else []
        worded = words.result() if words else []
    ranked = fused(near, worded, options.vector_weight, exhausted=len(worded) < pool)
    return Candidates(near, worded, ranked)


def _pool(options: SearchOptions) -> int:
    """How many chunks each search finds for the fusion."""
    return max(_LEAST_POOL, 8 * options.limit)


def hits(
    store: Store,
    groups: Sequence[tuple[list[Found], float]],
    copies: Mapping[str, Sequence[Found]],
    documents: Mapping[str, Outline],
) -> list[Hit]:
    """Groups of neighbouring chunks as passages with their texts, their similarity to the question and their places.

    `copies` are the chunks that say the same, by the id of the one that is shown; `documents` those of the store by id.
    """
    found = passages(store, [group for group, _ in groups], documents)
    known = {copy.document_id for group in copies.values() for copy in group} & documents.keys()
    sources = {id_: documents[id_].source for id_ in known}
    shown = []
    for (group, score), passage in zip(groups, found, strict=True):
        if passage is not None:
            again = [copy for chunk in group for copy in copies.get(chunk.id, ()) if copy.document_id in sources]
            shown.append(_hit(*passage, group, score, places(again, sources)))
    return shown


def joined(ranked: Sequence[tuple[Found, float]], limit: int, floor: float = 0.0) -> list[tuple[list[Found], float]]:
    """Groups of chunks that overlap or stand one after another on a page of one document, at most `limit`, best first.

    A chunk joins a group it touches, else it opens one, if it scores at least `floor` times what the best does, or
    somewhat less to join; only chunks among the first `2 * limit` join, so that a passage does not grow by what merely
    stands beside it. What overlaps always joins, so that no text is shown twice. Each group keeps the score of its best
    chunk.
    """
    least = floor * max((score for _, score in ranked), default=0.0)
    groups: list[tuple[list[Found], float]] = []
    for found, score in ranked[: 2 * limit]:
        beside = [at for at, (group, _) in enumerate(groups) if _touch(group, [found])]
        if not beside:
            if len(groups) < limit and score >= least:
                groups.append(([found], score))
        elif score >= _NEIGHBOURS_SHARE * least:
            group = groups[beside[0]][0]
            group.append(found)
            for at in reversed(beside[1:]):  # what it lies between
                if _touch(group, groups[at][0]):
                    group += groups.pop(at)[0]
            group.sort(key=lambda member: (member.start, member.ordinal))
    return groups


def _touch(group: Sequence[Found], other: Sequence[Found]) -> bool:
    """Whether two groups overlap, or one follows the other and they are small enough to be one."""
    if (group[0].document_id, group[0].page) != (other[0].document_id, other[0].page):
        return False
    if any(one.start < two.end and two.start < one.end for one in group for two in other):
        return True
    ordinals, others = [one.ordinal for one in group], [two.ordinal for two in other]
    follows = min(ordinals) == max(others) + 1 or min(others) == max(ordinals) + 1
    return follows and len(group) + len(other) <= _MOST_JOINED


def _hit(document: Outline, text: str, group: Sequence[Found], score: float, also: tuple[Place, ...]) -> Hit:
    first = group[0]
    similarities = [found.similarity for found in group if found.similarity is not None]
    return Hit(
        source=document.source,
        document_id=first.document_id,
        title=document.title,
        page=first.page,
        headings=first.headings,
        start=first.start,
        end=max(found.end for found in group),
        text=text,
        score=round(score, 6),
        similarity=max(similarities) if similarities else None,
        also=also,
        box=enclosing([found.box for found in group]),
        metadata=parsed_metadata(document.metadata),
    )
