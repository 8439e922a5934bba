"""Measures of ranked documents, of ranges of text, and of scores that tell two kinds apart. Pure functions."""

import math
import random
from bisect import bisect_left, bisect_right
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
    return _middle([fmean(pick.choices(values, k=len(values))) for _ in range(rounds)])


def ratio_interval(shares: Sequence[tuple[float, float]], *, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the sum of the first parts by that of the second ones, by bootstrap over the pairs."""
    pick = random.Random(seed)  # noqa: S311  a sample, not a secret
    ratios = []
    for _ in range(rounds):
        drawn = pick.choices(shares, k=len(shares))
        if of := sum(whole for _, whole in drawn):
            ratios.append(sum(part for part, _ in drawn) / of)
    return _middle(ratios)


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """How often a score of the first kind is above one of the second, ties counting half; 0.5 is chance.

    Neither may be empty.
    """
    ordered = sorted(lower)
    above = sum(bisect_left(ordered, score) + bisect_right(ordered, score) for score in higher)
    return above / 2 / (len(higher) * len(lower))


def auroc_interval(
    higher: Sequence[float], lower: Sequence[float], *, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of `auroc` by bootstrap, each kind drawn anew."""
    pick = random.Random(seed)  # noqa: S311  a sample, not a secret
    return _middle(
        [auroc(pick.choices(higher, k=len(higher)), pick.choices(lower, k=len(lower))) for _ in range(rounds)]
    )


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """What 95 % of the values lie between."""
    ordered = sorted(values)
    return (ordered[int(0.025 * len(ordered))], ordered[int(0.975 * len(ordered))]) if ordered else (0.0, 0.0)
