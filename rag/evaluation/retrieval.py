"""Questions through a knowledge base: how well each way of searching ranks what answers them and finds gold spans."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, TypeVar

import rag.errors as errors
from rag.evaluation.datasets import GOLD, Dataset, Query, Question
from rag.evaluation.gold import gold_spans
from rag.evaluation.metrics import first_rank, interval, ndcg, recall, reciprocal_rank, span_score
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase
from rag.search.options import Mode, SearchKeywords
from rag.types import Hit

T = TypeVar("T")

DEFAULT = "default"
# Each way of searching that an ablation compares, by its name, as it differs from the default. All are as fast as it;
# what asks the chat model is compared where the user asks for it by `--with`.
WAYS: dict[str, SearchKeywords] = {DEFAULT: {}, "vector": {"mode": Mode.VECTOR}, "words": {"mode": Mode.WORDS}}

SPAN_HITS = 5  # passages that the span measures look at, as in Chroma's table
_DOCUMENT_HITS = 100  # passages, so that 20 different documents are among them
_PASSAGE_HITS = 20
_SHOWN_HITS = 3


class Search(Protocol):
    """A way of searching."""

    def __call__(self, question: str, /, *, limit: int, floor: float) -> Sequence[Hit]:
        """At most `limit` hits, without those that score less than `floor` times the best."""


@dataclass(frozen=True, slots=True)
class QueryScore:
    """One question's measures by their names; those of spans only where the question has gold spans.

    `rank` is that of the first document, or passage, that answers it; None where none is among those looked at.
    `found` are the first passages.
    """

    query: Query
    measures: dict[str, float]
    rank: int | None
    found: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class WayScores:
    """A way of searching on all questions: each measure's mean, the 95 % interval of that mean, and what it cost.

    `seconds` and `chat_requests` are means for one search.
    """

    scores: tuple[QueryScore, ...]
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    seconds: float
    chat_requests: float

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag eval --json`, which scripts may rely on; fractions from 0 to 1."""
        return {
            **{name: round(mean, 6) for name, mean in self.means.items()},
            "intervals": {name: [round(low, 6), round(high, 6)] for name, (low, high) in self.intervals.items()},
            "cost": {"seconds": round(self.seconds, 4), "chat_requests": round(self.chat_requests, 3)},
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a measure is higher than another way's, question by question, with the 95 % interval of the mean."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> str:
        """`+` or `-` where the interval leaves out zero, else nothing: too few questions to tell."""
        return "+" if self.low > 0 else "-" if self.high < 0 else ""


def sampled(queries: Sequence[T], most: int | None) -> tuple[T, ...]:
    """At most so many of the questions, in their order, and the same ones at each call."""
    if most is None or most >= len(queries):
        return tuple(queries)
    chosen = random.Random(0).sample(range(len(queries)), most)  # noqa: S311  a sample, not a secret
    return tuple(queries[at] for at in sorted(chosen))


def own_queries(base: KnowledgeBase, questions: Sequence[Question]) -> tuple[Query, ...]:
    """One's own questions as they are measured: by the passages that hold the gold quote whole.

    Questions without a quote are left out. Raises UsageProblem where none is left, or a quote cannot be found.
    """
    spans = gold_spans(base, questions)
    if not spans:
        raise errors.UsageProblem("None of the questions has a quote of the document that answers it.")
    return tuple(Query(q.id, q.question, {GOLD: 1.0}, (spans[q.id],)) for q in questions if q.id in spans)


def judged_names(base: KnowledgeBase, dataset: Dataset) -> dict[str, str]:
    """The set's own name of each judged document by its source in the knowledge base.

    Raises UsageProblem where one is not in the knowledge base: every figure would be wrong.
    """
    return _names(base, dataset.source, {id_ for query in dataset.queries for id_ in query.gains})


def spanned_names(base: KnowledgeBase, dataset: Dataset) -> dict[str, str]:
    """The set's own name of each document that gold spans count in, by its source. Raises as `judged_names` does."""
    return _names(base, dataset.spanned, {span[0] for query in dataset.queries for span in query.spans})


def _names(base: KnowledgeBase, made_of: Path, wanted: set[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for row in base.documents():
        if row.status != "ok":
            continue
        if made_of.is_file():
            names[row.source] = row.source.partition("#")[2]
            continue
        file = row.source.rpartition("/")[2]
        stem = file.rpartition(".")[0] or file
        names[row.source] = file if file in wanted else stem
    if lost := sorted(wanted - set(names.values())):
        raise errors.UsageProblem(
            f"{len(lost)} documents that are judged are not among those of {made_of}, among them {lost[0]!r}."
        )
    return names


def way_scores(
    queries: Sequence[Query],
    search: Search,
    *,
    names: Mapping[str, str] | None = None,
    spanned: tuple[Search, Mapping[str, str]] | None = None,
    chat_requests: Callable[[], int] = lambda: 0,
    track: Callable[[Sequence[Query]], Iterator[Query]] = iter,
) -> WayScores:
    """Measure one way of searching: what it ranks, and the spans it finds as for an answer.

    `names` are the judgements' names of documents by their source; `spanned` is the same way of searching with the
    names where the gold spans count in documents of their own. `chat_requests` counts those made so far.
    """
    search(queries[0].text, limit=SPAN_HITS, floor=ANSWER_FLOOR)  # loads what is not loaded, outside of the figures
    before, began = chat_requests(), time.perf_counter()
    close = spanned or (search, names or {})
    scores = tuple(_query_score(query, names or {}, search, close) for query in track(queries))
    searches = sum(2 if query.spans else 1 for query in queries)
    values: dict[str, list[float]] = {}
    for score in scores:
        for name, value in score.measures.items():
            values.setdefault(name, []).append(value)
    return WayScores(
        scores,
        means={name: fmean(of) for name, of in values.items()},
        intervals={name: interval(of) for name, of in values.items()},
        seconds=(time.perf_counter() - began) / searches,
        chat_requests=(chat_requests() - before) / searches,
    )


def differences(way: WayScores, default: WayScores) -> dict[str, Difference]:
    """By how much each measure of a way is higher than the default's on the same questions."""
    found = {}
    for name in way.means:
        pairs = [
            (mine.measures[name], its.measures[name])
            for mine, its in zip(way.scores, default.scores, strict=True)
            if name in mine.measures
        ]
        changes = [mine - its for mine, its in pairs]
        found[name] = Difference(fmean(changes), *interval(changes))
    return found


def _query_score(
    query: Query, names: Mapping[str, str], search: Search, spanned: tuple[Search, Mapping[str, str]]
) -> QueryScore:
    by_passage = GOLD in query.gains
    hits = search(query.text, limit=_PASSAGE_HITS if by_passage else _DOCUMENT_HITS, floor=0.0)
    if by_passage:
        called = [GOLD if _holds(hit, query) else f"{hit.source} {hit.start}" for hit in hits]
    else:
        sources = [source for hit in hits for source in (hit.source, *(place.source for place in hit.also))]
        called = [names.get(source, source) for source in sources]
    ranked = list(dict.fromkeys(called))
    measures = {
        "ndcg@10": ndcg(ranked, query.gains, 10),
        "recall@3": recall(ranked, query.gains, 3),
        "recall@5": recall(ranked, query.gains, 5),
        "recall@20": recall(ranked, query.gains, 20),
        "mrr": reciprocal_rank(ranked, query.gains),
    }
    if query.spans:
        search_spans, called_there = spanned
        close = search_spans(query.text, limit=SPAN_HITS, floor=ANSWER_FLOOR)
        ranges = [(called_there.get(hit.source, hit.source), hit.start, hit.end) for hit in close]
        span = span_score(ranges, query.spans)
        measures |= {"span_recall": span.recall, "span_precision": span.precision, "span_iou": span.iou}
    return QueryScore(query, measures, first_rank(ranked, query.gains), tuple(hits[:_SHOWN_HITS]))


def _holds(hit: Hit, query: Query) -> bool:
    places = [(hit.source, hit.start, hit.end), *((place.source, place.start, place.end) for place in hit.also)]
    return any(
        source == gold and low <= start and end <= high
        for source, low, high in places
        for gold, start, end in query.spans
    )
