"""An evaluation as a value that shows itself: ways of searching, compared on the same questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rag.display import as_text, one_line, text_table
from rag.display_html import html_folded, html_frame, html_grid, html_list, html_note
from rag.display_markdown import markdown_line, markdown_table
from rag.evaluation.datasets import Question, read_questions
from rag.evaluation.page import page
from rag.evaluation.plots import measure_plot
from rag.evaluation.retrieval import DEFAULT, WAYS, Difference, WayScores, differences, own_queries, way_scores
from rag.knowledge_base import KnowledgeBase
from rag.search.options import SearchKeywords

_PLOTTED = ("recall@5", "mrr", "span_iou")
_INTERVALS = "In brackets: the 95 % interval of the mean."
_SIGNS = "+ or -: better or worse than the default, question by question, beyond chance."


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was asked of what, and the scores of each way of searching by its name, `default` among them."""

    title: str
    about: str
    scores: dict[str, WayScores]

    @property
    def against(self) -> dict[str, dict[str, Difference]]:
        """By how much each other way is better than the default, measure by measure."""
        return {
            name: differences(score, self.scores[DEFAULT]) for name, score in self.scores.items() if name != DEFAULT
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """The head of its table."""
        return ("measure", *self.scores)

    def table(self) -> list[tuple[str, ...]]:
        """A row for each measure, a column for each way of searching: mean, interval, `+` or `-`."""
        against = self.against
        rows = [
            (name, *(_shown(score, name, against.get(way)) for way, score in self.scores.items()))
            for name in self.scores[DEFAULT].means
        ]
        rows.append(("seconds a search", *(f"{score.seconds:.3f}" for score in self.scores.values())))
        if any(score.chat_requests for score in self.scores.values()):
            rows.append(("chat requests a search", *(f"{score.chat_requests:.1f}" for score in self.scores.values())))
        return rows

    @property
    def note(self) -> str:
        """How to read the table."""
        return f"{_INTERVALS} {_SIGNS}" if len(self.scores) > 1 else _INTERVALS

    def to_dict(self) -> dict[str, Any]:
        """The figures of `rag eval --json`; fractions from 0 to 1."""
        figures = self.scores[DEFAULT].to_dict()
        if against := self.against:
            figures["ablation"] = {name: score.to_dict() for name, score in self.scores.items()}
            for name, found in against.items():
                shown = {measure: [round(d.mean, 6), round(d.low, 6), round(d.high, 6)] for measure, d in found.items()}
                figures["ablation"][name]["difference"] = shown
        return figures

    def to_html(self) -> str:
        """The whole report as a page of its own."""
        return page(self.title, self.about, self.scores, self.against)

    def __str__(self) -> str:
        return f"{one_line(self.title)}\n{text_table(self.columns, self.table())}\n{self.note}"

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return f"{markdown_line(self.title)}\n\n{markdown_table(self.columns, self.table())}\n{self.note}\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, plots, and the questions whose answer does not come first."""
        late = sorted((s for s in self.scores[DEFAULT].scores if s.rank != 1), key=lambda s: s.measures["mrr"])
        plots = "".join(measure_plot(name, self.scores) for name in _PLOTTED if name in self.scores[DEFAULT].means)
        grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24em),1fr));gap:1em;margin:.6em 0"
        parts = [
            html_note(f"{self.title}. {self.about}"),
            html_grid(self.columns, self.table()),
            html_note(self.note),
            html_folded("plots", f'<div style="{grid}">{plots}</div>', unfolded=True),
        ]
        if late:
            worst = (f"{one_line(s.query.text, 300)} ({f'rank {s.rank}' if s.rank else 'not found'})" for s in late)
            parts.append(html_list(f"{len(late)} questions whose answer does not come first", worst))
        return html_frame(parts)


def evaluate(
    base: KnowledgeBase,
    questions: str | Path | Sequence[Question],
    ways: Mapping[str, SearchKeywords] = WAYS,
) -> Evaluation:
    """How well a knowledge base finds what answers its own questions, by each way of searching.

    `questions` are a JSONL file of {"question", "answer", "source", "quote"}, or what `read_questions` makes of one;
    those without a quote are left out. `ways` are search options by a name of their own, and a search without any is
    the default. No model is asked for answers. Raises UsageProblem where a quote is not in its document.
    """
    asked = read_questions(Path(questions)) if isinstance(questions, str | Path) else questions
    queries = own_queries(base, asked)
    scores = {
        name: way_scores(queries, partial(base.search, **how), chat_requests=lambda: base.chat_model.requests)
        for name, how in {DEFAULT: WAYS[DEFAULT], **ways}.items()
    }
    about = f"Embedding model {base.store.identity.embedding_model}."
    return Evaluation(f"{len(queries)} questions about {base.path.name}", about, scores)


def _shown(score: WayScores, name: str, against: dict[str, Difference] | None) -> str:
    low, high = score.intervals[name]
    return f"{score.means[name]:.3f} ({low:.2f}-{high:.2f}){against[name].sign if against else ''}"
