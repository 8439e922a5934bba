"""Questions with known answers → how well a knowledge base finds, answers, cites and abstains. No judge model."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import rag.errors as errors
from rag.knowledge_base import KnowledgeBase
from rag.types import Answer, CitationStatus, Hit


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer, which stands as `quote` in the document `source`; all "" where there is none."""

    id: str
    question: str
    answer: str
    source: str
    quote: str

    @property
    def answerable(self) -> bool:
        """Whether the documents answer it."""
        return bool(self.quote)


@dataclass(frozen=True, slots=True)
class Span:
    """The place of a gold quote: the knowledge base's own source, and offsets into that document's text."""

    source: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """How well search finds the gold spans, over answerable questions; 1 is best.

    `found` counts questions whose gold span lies whole within one of the first `k` hits. `mrr` is the mean of 1/rank
    of the first such hit, `precision` the mean share of retrieved characters that are gold.
    """

    questions: int
    k: int
    found: int
    recall: float
    mrr: float
    precision: float
    missed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """How well questions are answered; shares from 0 to 1.

    `f1` is the mean overlap of words with the gold answer over answerable questions, an abstention counting 0.
    `citation_precision` is the share of verified or repaired citations that lie in the gold document and overlap the
    gold span, `exact_quotes` the share of all citations that equal the document's text at their offsets.
    """

    questions: int
    f1: float
    gold_words_in_answer: float
    abstained_answerable: float
    abstained_unanswerable: float
    citations: int
    citation_precision: float
    exact_quotes: float


def read_questions(path: Path) -> list[Question]:
    """Questions from a JSONL file of {"id", "question", "answer", "source", "quote"}; the last three may be null.

    Raises SourceNotFound, or UsageProblem with the number of a line that is not of this form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise errors.SourceNotFound(f"The questions in {path} cannot be read ({exc.strerror}).") from exc
    questions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            questions.append(
                Question(
                    id=str(row.get("id", number)),
                    question=row["question"],
                    answer=row.get("answer") or "",
                    source=row.get("source") or "",
                    quote=row.get("quote") or "",
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise errors.UsageProblem(f"{path}, line {number}, is not a question: {exc!r}") from exc
    return questions


def gold_span(base: KnowledgeBase, question: Question) -> Span:
    """Where the gold quote stands in the indexed text; white space may differ from the quote's.

    Raises UsageProblem where the document is not there or does not hold the quote.
    """
    for row in base.documents():
        if row.source == question.source or row.source.endswith(f"/{question.source}"):
            pattern = r"\s+".join(re.escape(word) for word in question.quote.split())
            if found := re.search(pattern, base.text(row.source)):
                return Span(row.source, found.start(), found.end())
            raise errors.UsageProblem(
                f"Question {question.id}: {row.source} does not hold its quote {question.quote!r}."
            )
    raise errors.UsageProblem(f"Question {question.id}: the knowledge base has no document {question.source!r}.")


def retrieval_scores(
    base: KnowledgeBase, questions: Sequence[Question], search: Callable[[str], Sequence[Hit]], k: int = 5
) -> RetrievalScores:
    """Score a search by gold spans, not by chunks, so that the score survives another chunking."""
    ranks: dict[str, int | None] = {}
    precisions = []
    for question in (q for q in questions if q.answerable):
        gold = gold_span(base, question)
        hits = search(question.question)[:k]
        ranks[question.id] = next((rank for rank, hit in enumerate(hits, 1) if _holds(hit, gold)), None)
        retrieved = sum(hit.end - hit.start for hit in hits)
        precisions.append(sum(_overlap(hit, gold) for hit in hits) / retrieved if retrieved else 0.0)
    found = [rank for rank in ranks.values() if rank]
    return RetrievalScores(
        questions=len(ranks),
        k=k,
        found=len(found),
        recall=len(found) / len(ranks) if ranks else 0.0,
        mrr=sum(1 / rank for rank in found) / len(ranks) if ranks else 0.0,
        precision=fmean(precisions) if precisions else 0.0,
        missed=tuple(id_ for id_, rank in ranks.items() if rank is None),
    )


def answered(base: KnowledgeBase, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
    """Ask every question."""
    for question in questions:
        yield question, base.ask(question.question)


def answer_scores(base: KnowledgeBase, answers: Sequence[tuple[Question, Answer]]) -> AnswerScores:
    """Score answers against gold words and gold spans."""
    answerable = [(q, a) for q, a in answers if q.answerable]
    rest = [a for q, a in answers if not q.answerable]
    cited = [(q, c) for q, a in answers for c in a.citations]
    sure = [(q, c) for q, c in cited if c.status is not CitationStatus.UNVERIFIED]
    golds = {q.id: gold_span(base, q) for q, _ in answerable}
    right = sum(q.id in golds and _overlap(c, golds[q.id]) > 0 for q, c in sure)
    return AnswerScores(
        questions=len(answers),
        f1=_mean([_f1(q.answer, "" if a.abstained else a.text) for q, a in answerable]),
        gold_words_in_answer=_mean([_recalled(q.answer, "" if a.abstained else a.text) for q, a in answerable]),
        abstained_answerable=_mean([float(a.abstained) for _, a in answerable]),
        abstained_unanswerable=_mean([float(a.abstained) for a in rest]),
        citations=len(cited),
        citation_precision=right / len(sure) if sure else 0.0,
        exact_quotes=_mean([float(base.text(c.source)[c.start : c.end] == c.quote) for _, c in cited]),
    )


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _holds(hit: Hit, gold: Span) -> bool:
    return hit.source == gold.source and hit.start <= gold.start and gold.end <= hit.end


def _overlap(place: "Hit | object", gold: Span) -> int:
    """How many characters of the gold span a hit or citation covers."""
    source, start, end = (getattr(place, name) for name in ("source", "start", "end"))
    return max(0, min(end, gold.end) - max(start, gold.start)) if source == gold.source else 0


_ARTICLES = {"a", "an", "the"}


def _words(text: str) -> list[str]:
    """As the SQuAD metric has it: lower case, no punctuation, no articles; and no citation markers."""
    text = re.sub(r"\[(\d+|unverified)\]", " ", unicodedata.normalize("NFKC", text).casefold())
    return [word for word in re.findall(r"\w+", text) if word not in _ARTICLES]


def _f1(gold: str, said: str) -> float:
    wanted, got = _words(gold), _words(said)
    common = sum((Counter(wanted) & Counter(got)).values())
    return 2 * common / (len(wanted) + len(got)) if common else 0.0


def _recalled(gold: str, said: str) -> float:
    """1 where every word of the gold answer is said."""
    return float(bool(said) and not set(_words(gold)) - set(_words(said)))
