"""The project's own questions: their gold spans stand in the indexed text, and most are found."""

from pathlib import Path

import pytest

import rag.errors as errors
from rag.evaluate import Question, Span, answer_scores, gold_span, read_questions, retrieval_scores
from rag.knowledge_base import KnowledgeBase
from rag.types import Answer, Citation, CitationStatus, Hit

QUESTIONS = Path(__file__).parents[1] / "data" / "questions.jsonl"


def test_there_are_forty_questions_eight_of_them_without_an_answer() -> None:
    questions = read_questions(QUESTIONS)
    assert len(questions) == len({q.id for q in questions}) == 40
    assert sum(not q.answerable for q in questions) == 8


def test_every_gold_quote_stands_in_its_document_once(sample_kb: KnowledgeBase) -> None:
    for question in read_questions(QUESTIONS):
        if question.answerable:
            span = gold_span(sample_kb, question)
            text = sample_kb.text(span.source)
            assert text[span.start : span.end].split() == question.quote.split()
            assert " ".join(text.split()).count(" ".join(question.quote.split())) == 1


def test_the_gold_passage_is_among_the_first_five_hits(sample_kb: KnowledgeBase) -> None:
    scores = retrieval_scores(
        sample_kb, read_questions(QUESTIONS), lambda question: sample_kb.search(question, limit=5)
    )
    assert scores.questions == 32
    assert scores.found >= 30, scores.missed


def test_scores_of_a_search_that_is_known(sample_kb: KnowledgeBase) -> None:
    questions = [q for q in read_questions(QUESTIONS) if q.answerable][:4]
    golds = {q.question: gold_span(sample_kb, q) for q in questions}

    def hit(span: Span) -> Hit:
        return Hit(span.source, "id", "", None, (), span.start, span.end, "", 1.0)

    perfect = retrieval_scores(sample_kb, questions, lambda question: [hit(golds[question])])
    assert (perfect.found, perfect.recall, perfect.mrr, perfect.precision) == (4, 1.0, 1.0, 1.0)
    other = {a: golds[b] for a, b in zip(golds, reversed(golds), strict=True)}
    second = retrieval_scores(sample_kb, questions, lambda question: [hit(other[question]), hit(golds[question])])
    assert (second.found, second.mrr) == (4, 0.5)
    assert retrieval_scores(sample_kb, questions, lambda question: []).found == 0


def test_scores_of_answers_that_are_known(sample_kb: KnowledgeBase) -> None:
    question = next(q for q in read_questions(QUESTIONS) if q.answerable)
    unanswerable = Question("u", "?", "", "", "")
    gold = gold_span(sample_kb, question)
    quote = sample_kb.text(gold.source)[gold.start : gold.end]
    citation = Citation(1, gold.source, None, (), gold.start, gold.end, quote, CitationStatus.VERIFIED)
    right = Answer(question.question, f"{question.answer} [1]", False, (citation,), (), "m")
    silent = Answer("?", "", True, (), (), "m")
    scores = answer_scores(sample_kb, [(question, right), (unanswerable, silent)])
    assert (scores.f1, scores.gold_words_in_answer, scores.citation_precision, scores.exact_quotes) == (1, 1, 1, 1)
    assert (scores.abstained_answerable, scores.abstained_unanswerable) == (0, 1)
    worst = answer_scores(sample_kb, [(question, silent), (unanswerable, right)])
    assert (worst.f1, worst.abstained_answerable, worst.abstained_unanswerable, worst.citation_precision) == (
        0,
        1,
        0,
        0,
    )


@pytest.mark.parametrize("line", ["[]", "{", '{"id": "a"}'])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "fine?"}\n' + line + "\n")
    with pytest.raises(errors.UsageProblem, match="line 2"):
        read_questions(path)
