"""Measures of retrieval: of ranked documents, and of the ranges of text that were retrieved. Pure functions."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Range = tuple[str, int, int]  # document, start, end


@dataclass(frozen=True, slots=True)
class SpanScore:
    """How well retrieved ranges fit the gold ranges of one question, counted in characters; 1 is best.

    As in Chroma's chunking evaluation: what was retrieved in other documents counts against precision and IoU.
    """

    recall: float
    precision: float
    iou: float


def ndcg(ranked: Sequence[str], gains: Mapping[str, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first `k` (Järvelin and Kekäläinen 2002, linear gains)."""
    got = _dcg([gains.get(id_, 0.0) for id_ in ranked[:k]])
    best = _dcg(sorted(gains.values(), reverse=True)[:k])
    return got / best if best else 0.0


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall(ranked: Sequence[str], gains: Mapping[str, float], k: int) -> float:
    """The share of relevant documents among the first `k`."""
    relevant = {id_ for id_, gain in gains.items() if gain > 0}
    return len(relevant & set(ranked[:k])) / len(relevant) if relevant else 0.0


def first_rank(ranked: Sequence[str], gains: Mapping[str, float]) -> int | None:
    """The rank of the first relevant document, from 1; None where there is none."""
    return next((rank for rank, id_ in enumerate(ranked, 1) if gains.get(id_, 0) > 0), None)


def reciprocal_rank(ranked: Sequence[str], gains: Mapping[str, float]) -> float:
    """1 by the rank of the first relevant document, 0 where there is none."""
    rank = first_rank(ranked, gains)
    return 1 / rank if rank else 0.0


def span_score(retrieved: Sequence[Range], gold: Sequence[Range]) -> SpanScore:
    """Recall, precision and intersection over union of retrieved and gold ranges."""
    got, wanted = _length(_union(retrieved)), _length(_union(gold))
    common = wanted + got - _length(_union([*retrieved, *gold]))
    return SpanScore(
        recall=common / wanted if wanted else 0.0,
        precision=common / got if got else 0.0,
        iou=common / (wanted + got - common) if wanted + got else 0.0,
    )


def _union(ranges: Sequence[Range]) -> list[Range]:
    merged: list[Range] = []
    for document, start, end in sorted(ranges):
        if merged and merged[-1][0] == document and start <= merged[-1][2]:
            merged[-1] = (document, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((document, start, end))
    return merged


def _length(ranges: Sequence[Range]) -> int:
    return sum(end - start for _, start, end in ranges)


def interval(values: Sequence[float], *, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % confidence interval of the mean by bootstrap, the same at each call."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    pick = random.Random(seed)  # noqa: S311  a sample, not a secret
    means = sorted(fmean(pick.choices(values, k=len(values))) for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]
