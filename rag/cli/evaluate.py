"""`rag eval`: how well questions with known answers are found, by each way of searching, or answered."""

import json as json_
import sys
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import rag.cli.flags as flags
import rag.errors as errors
from rag.cli.common import console, knowledge_base, notify, print_json
from rag.cli.eval_answers import AnswerOptions, evaluate_answers
from rag.cli.eval_runs import earlier, set_base, tracked, worse_than

if TYPE_CHECKING:
    from rag.evaluation.datasets import Query
    from rag.evaluation.report import Evaluation
    from rag.knowledge_base import KnowledgeBase
    from rag.search.options import SearchKeywords

SHOWN = ("ndcg@10", "recall@3", "recall@5", "recall@20", "mrr", "span_recall", "span_precision", "span_iou")


def evaluate(
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder in the BEIR layout, or a file of questions about --kb, as `rag eval make` writes.",
            show_default=False,
        ),
    ],
    kb: flags.Kb = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Compare with the other fast ways of searching.")
    ] = False,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="FIELD=VALUE,…",
            help="Compare with a search that differs so: mode=words. May ask the chat model. Repeatable.",
            show_default=False,
        ),
    ] = None,
    limit_queries: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="A sample of so many questions, always the same.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a report with plots: one page.", metavar="FILE", show_default=False)
    ] = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Ask the questions, and score the answers instead of the search.")
    ] = False,
    off_topic: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SET", help="With --answers: also ask questions of this other set. Repeatable.", show_default=False
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --answers: ask anew what the model was asked before.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="With --answers: learn from them when this knowledge base cannot answer.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="Figures of an earlier run (--json), to compare with.", show_default=False)
    ] = None,
    gate: Annotated[
        float, typer.Option(min=0, help="Exit code 1 if a figure is lower than the baseline's by more than this.")
    ] = 0.01,
    download: flags.Download = None,
    json: flags.Json = False,
) -> None:
    """Measure retrieval on questions with known answers: nDCG, recall, MRR, and recall, precision, IoU of gold spans.

    A folder holds queries.jsonl, qrels.tsv, corpus.jsonl or docs/, and spans.jsonl where it has gold spans. Its
    documents are ingested once into a knowledge base in the user's cache. One's own questions are a file with a line
    {"question", "answer", "source", "quote"} each; `rag eval make` writes one. No judge model is asked.

    With --answers it measures answers: their words against the gold answers, their citations against the gold spans,
    what is refused, how many planted fabrications the check of citations notices, time and tokens. What the model says
    is kept in the user's cache as it comes: after Ctrl-C the same command goes on.

    Example: rag eval questions.jsonl --kb notes.kb --ablation

    Example: rag eval questions.jsonl --answers --off-topic other.jsonl --fit
    """
    if answers:
        if ablation or with_ or html:
            raise errors.UsageProblem("--ablation, --with and --html are for searches, not for --answers.")
        others = tuple(off_topic or ())
        options = AnswerOptions(limit_queries, others, fresh, fit, baseline, gate, download, json)
        evaluate_answers(path, kb, options)
        return
    if off_topic or fresh or fit:
        raise errors.UsageProblem("--off-topic, --fresh and --fit go with --answers.")
    from rag.evaluation.report import Evaluation
    from rag.evaluation.retrieval import DEFAULT, WAYS, way_scores

    ways = (WAYS if ablation else {DEFAULT: WAYS[DEFAULT]}) | dict(map(_way, with_ or ()))
    before = earlier(baseline, SHOWN) if baseline else {}
    if html and not html.absolute().parent.is_dir():
        raise errors.SourceNotFound(f"There is no folder {html.absolute().parent} to write the report into.")
    with _subject(path, kb, limit_queries, download=download) as subject:
        base = subject.base
        scores = {
            name: way_scores(
                subject.queries,
                partial(base.search, **how),
                names=subject.names,
                spanned=subject.spanned and (partial(subject.spanned[0].search, **how), subject.spanned[1]),
                chat_requests=lambda: base.chat_model.requests,
                track=partial(tracked, name),
            )
            for name, how in ways.items()
        }
        about = f"Embedding model {base.store.identity.embedding_model}."
        found = Evaluation(str(subject), about, scores)
        figures = {**subject.to_dict(), **found.to_dict()}
    if html:
        _write_page(html, found)
    if json:
        print_json(figures)
    else:
        _print(subject, found)
    worse = worse_than(figures, before, gate)
    for line in worse:
        notify(line)
    if worse:
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a knowledge base, and questions about it.

    `names` are the judgements' names of documents by their source, None where passages are judged. `of` is how many
    questions there are, of which `queries` may be a sample; `unanswerable` is how many more have no answer. `spanned`
    is another knowledge base with its names where the gold spans count in documents of their own.
    """

    name: str
    base: "KnowledgeBase"
    queries: "tuple[Query, ...]"
    of: int
    unanswerable: int
    names: dict[str, str] | None
    spanned: "tuple[KnowledgeBase, dict[str, str]] | None" = None

    def __enter__(self) -> "Subject":
        return self

    def __exit__(self, *exc: object) -> None:
        self.base.close()
        if self.spanned:
            self.spanned[0].close()

    def to_dict(self) -> dict[str, Any]:
        """How the figures of `rag eval --json` begin."""
        return {
            "set": self.name,
            "embedding_model": self.base.store.identity.embedding_model,
            "ranked": "passages" if self.names is None else "documents",
            "queries": len(self.queries),
            "sampled_from": self.of,
            "unanswerable": self.unanswerable,
        }

    def __str__(self) -> str:
        sample = f", a sample of {self.of}" if len(self.queries) < self.of else ""
        left_out = f" ({self.unanswerable} without an answer left out)" if self.unanswerable else ""
        return f"{self.name}, {len(self.queries)} questions{sample}{left_out}"


def _subject(path: Path, kb: str | None, most: int | None, *, download: bool | None) -> Subject:
    from rag.evaluation.datasets import read_dataset, read_questions
    from rag.evaluation.retrieval import judged_names, own_queries, sampled, spanned_names

    path = path.expanduser()
    if path.is_dir():
        if kb is not None:
            raise errors.UsageProblem(f"{path} brings its own documents; --kb is for a file of questions.")
        dataset = read_dataset(path)
        base = set_base(dataset.name, dataset.source, download=download)
        names, queries = judged_names(base, dataset), dataset.queries
        spanned = None
        if dataset.spanned != dataset.source:
            other = set_base(dataset.name, dataset.spanned, download=download)
            spanned = other, spanned_names(other, dataset)
        chosen, left_out = sampled(queries, most), len(dataset.unanswerable)
        return Subject(dataset.name, base, chosen, len(queries), left_out, names, spanned)
    questions = read_questions(path)
    base = knowledge_base(kb, download=download)
    queries = own_queries(base, questions)
    return Subject(
        path.name, base, sampled(queries, most), len(queries), sum(not q.answerable for q in questions), None
    )


def _way(text: str) -> "tuple[str, SearchKeywords]":
    """A way of searching from `field=value,field=value`, and what it is called: just that."""
    from rag.search.options import SearchOptions

    fixed = {"limit", "floor"}  # which the measures set
    known = {field.name for field in fields(SearchOptions)} - fixed
    how: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in known:
            raise errors.UsageProblem(
                f"--with {text}: {part!r} is not FIELD=VALUE with a field of {', '.join(sorted(known))}."
            )
        try:
            how[name] = json_.loads(value)
        except ValueError:
            how[name] = value
    try:
        SearchOptions(**{"limit": 1, **how})
    except TypeError as exc:
        raise errors.UsageProblem(f"--with {text}: the value is of the wrong kind ({exc}).") from exc
    return text, cast("SearchKeywords", how)


def _print(subject: Subject, found: "Evaluation") -> None:
    """A row for each measure, a column for each way of searching."""
    from rag.display import print_table

    out = console()
    notify(f"{subject}; by {'passages' if subject.names is None else 'documents'}, with 95 % intervals.")
    print_table(out, found.columns, found.table(), header_when_piped=True)
    if len(found.scores) > 1 and out.is_terminal:
        notify("+ or -: better or worse than the default, question by question, beyond chance.")


def _write_page(path: Path, found: "Evaluation") -> None:
    try:
        path.write_text(found.to_html(), encoding="utf-8")
    except OSError as exc:
        raise errors.UsageProblem(f"The report {path} cannot be written ({exc.strerror}).") from exc
    notify(f"The report is in {path}.")
