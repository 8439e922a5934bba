"""How far a search alone tells questions that the documents answer from others: what a threshold can rest on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rag.display import as_text, one_line, text_table
from rag.display_html import html_frame, html_grid, html_note
from rag.display_markdown import markdown_table
from rag.evaluation.datasets import Question, read_questions
from rag.evaluation.metrics import auroc
from rag.evaluation.plots import dot_plot
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase

_COLUMNS = ("questions", "how many", "below the threshold", "lowest", "median", "highest")
_NEAREST = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """A question, and how likely the documents answer it by what was found for it, 0 to 1, before a model is asked."""

    question: Question
    score: float


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Questions of both kinds as a search alone judges them, and the threshold of the knowledge base.

    What the model then says counts as well (`rag.confidence`), so that fewer are answered wrongly than stand here.
    """

    judged: tuple[Judged, ...]
    threshold: float

    def scores(self, answerable: bool) -> list[float]:
        """The scores of one kind, ascending."""
        return sorted(one.score for one in self.judged if one.question.answerable is answerable)

    @property
    def auroc(self) -> float:
        """How often a question that is answerable scores more than one that is not: 0.5 is chance, 1 always."""
        return auroc(self.scores(True), self.scores(False))

    @property
    def nearest(self) -> list[Judged]:
        """Those next to the threshold: where another threshold would decide otherwise."""
        return sorted(self.judged, key=lambda one: abs(one.score - self.threshold))[:_NEAREST]

    def table(self) -> list[tuple[object, ...]]:
        """A row for each kind."""
        return [self._row("answerable", self.scores(True)), self._row("not answerable", self.scores(False))]

    def _row(self, name: str, scores: Sequence[float]) -> tuple[object, ...]:
        below = sum(score < self.threshold for score in scores)
        places = (scores[0], scores[len(scores) // 2], scores[-1]) if scores else ()
        return name, len(scores), below, *(f"{score:.2f}" for score in places), *[""] * (3 - len(places))

    @property
    def note(self) -> str:
        """How well the two kinds are told apart, in a sentence."""
        return f"AUROC {self.auroc:.3f}; the threshold is {self.threshold:.2f}."

    def __str__(self) -> str:
        return f"{text_table(_COLUMNS, self.table())}\n{self.note}"

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return f"{markdown_table(_COLUMNS, self.table())}\n{self.note}\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, a dot for each question, and those next to the threshold."""
        rows = [("answerable", self.scores(True)), ("not answerable", self.scores(False))]
        nearest = [
            (f"{one.score:.2f}", "yes" if one.question.answerable else "no", one_line(one.question.question))
            for one in self.nearest
        ]
        return html_frame(
            [
                html_grid(_COLUMNS, self.table()),
                html_note(self.note),
                dot_plot(rows, self.threshold, "How likely the documents answer each question"),
                html_grid(("next to the threshold", "answerable", "question"), nearest),
            ]
        )


def likelihoods(base: KnowledgeBase, questions: str | Path | Sequence[Question]) -> Likelihoods:
    """Judge questions by what a search finds for them. Those without a quote count as not answerable.

    Raises UsageProblem where a line of the file is no question.
    """
    asked = read_questions(Path(questions)) if isinstance(questions, str | Path) else questions
    confidence = base.confidence
    judged = [
        Judged(one, confidence.judged(one.question, base.search(one.question, floor=ANSWER_FLOOR)).score)
        for one in asked
    ]
    return Likelihoods(tuple(judged), confidence.threshold)
