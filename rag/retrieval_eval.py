"""An evaluation set through a knowledge base: how well each way of searching ranks documents and finds spans."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import rag.errors as errors
from rag.datasets import Dataset, Query
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase
from rag.metrics import SpanScore, interval, ndcg, recall, reciprocal_rank, span_score
from rag.types import Hit


class Search(Protocol):
    """A way of searching."""

    def __call__(self, question: str, /, *, limit: int, floor: float) -> Sequence[Hit]:
        """At most `limit` hits, without those that score less than `floor` times the best."""


SPAN_HITS = 5  # passages that the span measures look at, as in Chroma's table
_RANKED_HITS = 100  # so that 20 different documents are among them


@dataclass(frozen=True, slots=True)
class QueryScore:
    """One question's measures; `span` is None where the set has no gold spans for it."""

    id: str
    ndcg_at_10: float
    recall_at_3: float
    recall_at_5: float
    recall_at_20: float
    reciprocal_rank: float
    span: SpanScore | None


@dataclass(frozen=True, slots=True)
class SetScores:
    """A way of searching on a whole set: the mean of each measure and the 95 % interval of that mean."""

    queries: int
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag eval --json`, which scripts may rely on; fractions from 0 to 1."""
        rounded = {name: round(mean, 6) for name, mean in self.means.items()}
        bounds = {name: [round(low, 6), round(high, 6)] for name, (low, high) in self.intervals.items()}
        return {"queries": self.queries, **rounded, "intervals": bounds}


def document_names(base: KnowledgeBase, dataset: Dataset) -> dict[str, str]:
    """The set's own name of each document by its source in the knowledge base.

    Raises UsageProblem where a judged document is not in the knowledge base: every figure would be wrong.
    """
    judged = {id_ for query in dataset.queries for id_ in query.gains} | {
        span[0] for query in dataset.queries for span in query.spans
    }
    names: dict[str, str] = {}
    for row in base.documents():
        if row.status != "ok":
            continue
        if dataset.is_corpus:
            names[row.source] = row.source.partition("#")[2]
            continue
        file = row.source.rpartition("/")[2]
        stem = file.rpartition(".")[0] or file
        names[row.source] = file if file in judged else stem
    if lost := sorted(judged - set(names.values())):
        raise errors.UsageProblem(
            f"{len(lost)} judged documents of {dataset.name} are not in the knowledge base, among them {lost[0]!r}."
        )
    return names


def query_scores(dataset: Dataset, names: dict[str, str], search: Search) -> Iterator[QueryScore]:
    """Every question of the set: documents ranked as a search does, spans as they are found for an answer."""
    for query in dataset.queries:
        yield _query_score(query, names, search)


def _query_score(query: Query, names: dict[str, str], search: Search) -> QueryScore:
    found = search(query.text, limit=_RANKED_HITS, floor=0.0)
    sources = (source for hit in found for source in (hit.source, *(place.source for place in hit.also)))
    ranked = list(dict.fromkeys(names[source] for source in sources))
    span = None
    if query.spans:
        hits = search(query.text, limit=SPAN_HITS, floor=ANSWER_FLOOR)
        span = span_score([(names[hit.source], hit.start, hit.end) for hit in hits], query.spans)
    return QueryScore(
        id=query.id,
        ndcg_at_10=ndcg(ranked, query.gains, 10),
        recall_at_3=recall(ranked, query.gains, 3),
        recall_at_5=recall(ranked, query.gains, 5),
        recall_at_20=recall(ranked, query.gains, 20),
        reciprocal_rank=reciprocal_rank(ranked, query.gains),
        span=span,
    )


def set_scores(scores: Sequence[QueryScore]) -> SetScores:
    """The means over all questions, each with its interval."""
    values: dict[str, list[float]] = {
        "ndcg@10": [score.ndcg_at_10 for score in scores],
        "recall@3": [score.recall_at_3 for score in scores],
        "recall@5": [score.recall_at_5 for score in scores],
        "recall@20": [score.recall_at_20 for score in scores],
        "mrr": [score.reciprocal_rank for score in scores],
    }
    spans = [score.span for score in scores if score.span is not None]
    if spans:
        values["span_recall"] = [span.recall for span in spans]
        values["span_precision"] = [span.precision for span in spans]
        values["span_iou"] = [span.iou for span in spans]
    return SetScores(
        queries=len(scores),
        means={name: fmean(of) if of else 0.0 for name, of in values.items()},
        intervals={name: interval(of) for name, of in values.items()},
    )
