"""A knowledge base's own questions → an adapter for question vectors, and what it is worth on questions held out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

import rag.errors as errors
from rag.display import as_text, text_table
from rag.display_html import html_frame, html_grid, html_note
from rag.display_markdown import markdown_table
from rag.evaluation.datasets import Question
from rag.evaluation.gold import gold_spans
from rag.evaluation.metrics import Range, interval
from rag.knowledge_base import KnowledgeBase
from rag.search.adapter import Matrix, Vectors, adapted, learn
from rag.search.options import Mode, SearchOptions
from rag.search.retrieve import retrieve
from rag.store.search import by_vector, chunk_vectors
from rag.types import Hit, Place

LEAST_QUESTIONS = 20
_FOLDS = 5
_HITS = 10  # that a gold quote is looked for among
_NEAREST = 50  # chunks of each question that the right ones must be told from
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question with its vector, as the model made it, the place of its gold quote, the ids of the chunks that hold it
    and of those nearest to the question."""

    question: str
    vector: Vectors
    gold: Range
    right: tuple[str, ...]
    near: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """One way of searching: reciprocal ranks of the gold quote among the first ten passages, without and with."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def gain(self) -> float:
        """The mean of the differences."""
        return fmean(after - before for before, after in zip(self.before, self.after, strict=True))

    @property
    def gain_interval(self) -> tuple[float, float]:
        """The 95 % interval of the gain, question by question."""
        return interval([after - before for before, after in zip(self.before, self.after, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag adapt --json`, which scripts may rely on; fractions from 0 to 1."""
        found = {name: fmean(float(rank >= 1 / 5) for rank in ranks) for name, ranks in self._sides()}
        mrr = {name: fmean(ranks) for name, ranks in self._sides()}
        low, high = self.gain_interval
        return {"mrr": mrr, "found_in_5": found, "gain": self.gain, "gain_interval": [low, high]}

    def _sides(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        return ("before", self.before), ("after", self.after)


@dataclass(frozen=True, slots=True)
class Trial:
    """What an adapter is worth: each question searched with one that was learnt without it."""

    questions: int
    hybrid: Figures
    vector: Figures

    @property
    def pays(self) -> bool:
        """Whether the default search gains more than chance can explain."""
        return self.hybrid.gain_interval[0] > 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The head of its table."""
        return (
            f"{self.questions} questions",
            *("MRR before", "after", "gain (95 %)", "in the first 5 before", "after"),
        )

    def table(self) -> list[tuple[str, ...]]:
        """A row for each way of searching."""
        return [_row("hybrid", self.hybrid), _row("vector", self.vector)]

    @property
    def note(self) -> str:
        """What follows, in a sentence."""
        gains = "gains more" if self.pays else "gains no more"
        return f"On questions that it was not learnt from, the search {gains} than chance can explain."

    def __str__(self) -> str:
        return f"{text_table(self.columns, self.table())}\n{self.note}"

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return f"{markdown_table(self.columns, self.table())}\n{self.note}\n"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_frame([html_grid(self.columns, self.table()), html_note(self.note)])


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    values = figures.to_dict()
    low, high = values["gain_interval"]
    mrr, found = ([f"{values[what][side]:.3f}" for side in ("before", "after")] for what in ("mrr", "found_in_5"))
    return (name, *mrr, f"{values['gain']:+.3f} ({low:+.3f} to {high:+.3f})", *found)


def lessons(base: KnowledgeBase, questions: Sequence[Question]) -> Iterator[Lesson]:
    """Each answerable question, embedded, with the chunks that hold at least half of its quote, or half of which it is.

    Raises UsageProblem where a quote is not in its document, or fewer than 20 questions have one.
    """
    answerable = [question for question in questions if question.answerable]
    if len(answerable) < LEAST_QUESTIONS:
        raise errors.UsageProblem(
            f"{len(answerable)} questions with a quote are too few to learn from; it takes {LEAST_QUESTIONS}, and a "
            "hundred are better."
        )
    spans = gold_spans(base, answerable)
    rows: dict[str, list[dict[str, Any]]] = {}
    for question in answerable:
        gold = spans[question.id]
        source, start, end = gold
        if source not in rows:
            rows[source] = base.store.chunk_rows(base.store.document(source).id)
        right = tuple(row["id"] for row in rows[source] if _shared(row, start, end))
        if right:
            vector = base.embedder.embed_query(question.question)
            near = tuple(found.id for found in by_vector(base.store, vector, _NEAREST))
            yield Lesson(question.question, vector, gold, right, near)


def _shared(row: dict[str, Any], start: int, end: int) -> bool:
    common: int = min(row["end"], end) - max(row["start"], start)
    return common > 0 and common >= _HALF * min(row["end"] - row["start"], end - start)


def trial(base: KnowledgeBase, taught: Sequence[Lesson], advance: Callable[[], None] = lambda: None) -> Trial:
    """Learn from four fifths and search with the rest, five times over; `advance` is called once a question."""
    before: dict[Mode, list[float]] = {Mode.HYBRID: [], Mode.VECTOR: []}
    after: dict[Mode, list[float]] = {Mode.HYBRID: [], Mode.VECTOR: []}
    folds = np.random.default_rng(0).permutation(len(taught)) % _FOLDS
    for fold in range(_FOLDS):
        turn = taught_turn(base, [lesson for lesson, at in zip(taught, folds, strict=True) if at != fold])
        for lesson in (lesson for lesson, at in zip(taught, folds, strict=True) if at == fold):
            turned = lesson.vector if turn is None else adapted(turn, lesson.vector)
            for mode in before:
                before[mode].append(_rank(base, lesson, lesson.vector, mode))
                after[mode].append(_rank(base, lesson, turned, mode))
            advance()
    figures = {mode: Figures(tuple(before[mode]), tuple(after[mode])) for mode in before}
    return Trial(len(taught), figures[Mode.HYBRID], figures[Mode.VECTOR])


def taught_turn(base: KnowledgeBase, taught: Sequence[Lesson]) -> Matrix | None:
    """What is learnt from lessons; None where no turn ranks their chunks better."""
    vectors = chunk_vectors(base.store, sorted({id_ for lesson in taught for id_ in lesson.right + lesson.near}))
    row = {id_: at for at, id_ in enumerate(vectors)}
    right = [[row[id_] for id_ in lesson.right] for lesson in taught]
    return learn(np.array([lesson.vector for lesson in taught]), right, np.array(list(vectors.values())))


def _rank(base: KnowledgeBase, lesson: Lesson, vector: Vectors, mode: Mode) -> float:
    """1 by the rank of the first hit that holds half of the gold quote, 0 where none of the first ten does."""
    hits = retrieve(base.store, lesson.question, vector, SearchOptions(limit=_HITS, mode=mode))
    return next((1 / rank for rank, hit in enumerate(hits, 1) if _holds(hit, lesson.gold)), 0.0)


def _holds(hit: Hit, gold: Range) -> bool:
    source, start, end = gold
    places: tuple[Hit | Place, ...] = (hit, *hit.also)
    there = (place for place in places if place.source == source)
    return max((min(place.end, end) - max(place.start, start) for place in there), default=0) >= _HALF * (end - start)
