"""Questions with known answers → how well a knowledge base answers, cites and abstains. No judge model."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rag.evaluation.datasets import Question
from rag.evaluation.gold import gold_spans
from rag.evaluation.metrics import Range
from rag.knowledge_base import KnowledgeBase
from rag.types import Answer, Citation, CitationStatus


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
    golds = gold_spans(base, [q for q, _ in answerable])
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


def _overlap(citation: Citation, gold: Range) -> int:
    """How many characters of the gold span a citation covers."""
    source, start, end = gold
    return max(0, min(citation.end, end) - max(citation.start, start)) if citation.source == source else 0


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
