"""Rankings into one: of two searches, of several questions, of a search and a judge. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from rag.store.search import Found

_JUDGED = 20  # candidates that a reranker is shown
_OTHERS_WEIGHT = 0.5  # of what other questions find; the question itself has 1

Judge = Callable[[Sequence[Found]], Sequence[float | None]]
"""Gives each candidate, best first, a mark from 0 to 1, or None where it cannot tell."""


class Scored(Protocol):
    """What a search found: a name that can be ordered, and a score, larger is better."""

    @property
    def id(self) -> Any: ...
    @property
    def score(self) -> float: ...


Result = TypeVar("Result", bound=Scored)


def fused(
    near: Sequence[Result], worded: Sequence[Result], vector_weight: float, *, exhausted: bool
) -> list[tuple[Result, float]]:
    """Both result lists as one, best first: a convex combination of their scores, each scaled to 0..1 in its list.

    Measured on chroma_chunking at three chunk sizes, this beats reciprocal ranks at k = 60 and k = 10, which were at
    times worse than BM25 alone.
    A chunk that one list lacks counts as 0 there; where the list of words is `exhausted`, that is its true score, and
    the last of few matches is not scaled down to it. Ties keep a fixed order, by id.
    """
    weights = (vector_weight, 1 - vector_weight) if near and worded else (1.0, 1.0)
    scores: dict[Any, float] = {}
    by_id: dict[Any, Result] = {}
    for results, weight, low in ((near, weights[0], None), (worded, weights[1], 0.0 if exhausted else None)):
        for found, scaled in zip(results, _scaled([found.score for found in results], low), strict=True):
            by_id[found.id] = found
            scores[found.id] = scores.get(found.id, 0.0) + weight * scaled
    return _ordered(by_id, scores)


def _ordered(by_id: Mapping[Any, Result], scores: Mapping[Any, float]) -> list[tuple[Result, float]]:
    """Best first; ties keep a fixed order, by id."""
    return [(by_id[id_], scores[id_]) for id_ in sorted(scores, key=lambda id_: (-scores[id_], id_))]


def _scaled(scores: Sequence[float], low: float | None = None) -> list[float]:
    """Min-max scaling, from `low` where that is given; equal scores all count as the best."""
    if not scores:
        return []
    low, high = min(scores) if low is None else low, max(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def merged(
    ranked: Sequence[tuple[Found, float]], others: Sequence[Sequence[tuple[Found, float]]]
) -> list[tuple[Found, float]]:
    """A ranking with what other questions found: a chunk gains by the best score that any of them gives it.

    The sum is scaled back to what one question gives.
    """
    if not others:
        return list(ranked)
    by_id = {found.id: found for results in (*others, ranked) for found, _ in results}
    gains: dict[str, float] = {}
    for results in others:
        for found, score in results:
            gains[found.id] = max(gains.get(found.id, 0.0), score)
    own = {found.id: score for found, score in ranked}
    total = {id_: (own.get(id_, 0.0) + _OTHERS_WEIGHT * gains.get(id_, 0.0)) / (1 + _OTHERS_WEIGHT) for id_ in by_id}
    return _ordered(by_id, total)


def judged(ranked: Sequence[tuple[Found, float]], judge: Judge, weight: float) -> list[tuple[Found, float]]:
    """A ranking whose best candidates are ordered by a judge's marks and their own scores, `weight` to 1 - `weight`.

    A candidate without a mark counts as an average one, so that these keep their order; without any mark nothing
    changes. Those that were not shown to the judge stay behind.
    """
    shown = ranked[:_JUDGED]
    marks = judge([found for found, _ in shown])
    given = [mark for mark in marks if mark is not None]
    if not given:
        return list(ranked)
    average = sum(given) / len(given)
    by_id = {found.id: found for found, _ in ranked}
    scores = {found.id: (1 - weight) * score for found, score in ranked}
    for (found, _), mark in zip(shown, marks, strict=True):
        scores[found.id] += weight * (average if mark is None else mark)
    return _ordered(by_id, scores)
