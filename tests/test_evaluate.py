"""The project's own questions: their gold spans stand in the indexed text, and most are found."""

from pathlib import Path

import pytest

import rag.errors as errors
from rag.evaluation.datasets import Question, read_questions
from rag.evaluation.gold import gold_spans
from rag.evaluation.retrieval import differences, own_queries, sampled, way_scores
from rag.knowledge_base import KnowledgeBase
from rag.types import Hit

QUESTIONS = Path(__file__).parents[1] / "data" / "questions.jsonl"


def test_there_are_forty_questions_eight_of_them_without_an_answer() -> None:
    questions = read_questions(QUESTIONS)
    assert len(questions) == len({q.id for q in questions}) == 40
    assert sum(not q.answerable for q in questions) == 8


def test_every_gold_quote_stands_in_its_document_once(sample_kb: KnowledgeBase) -> None:
    questions = read_questions(QUESTIONS)
    spans = gold_spans(sample_kb, questions)
    for question in questions:
        assert question.answerable == (question.id in spans)
        if question.answerable:
            source, start, end = spans[question.id]
            text = sample_kb.text(source)
            assert text[start:end].split() == question.quote.split()
            assert " ".join(text.split()).count(" ".join(question.quote.split())) == 1


def test_the_gold_passage_is_among_the_first_five_hits(sample_kb: KnowledgeBase) -> None:
    queries = own_queries(sample_kb, read_questions(QUESTIONS))
    scores = way_scores(queries, sample_kb.search)
    assert len(scores.scores) == 32
    assert scores.means["recall@5"] >= 30 / 32, [s.query.id for s in scores.scores if not s.measures["recall@5"]]
    again = way_scores(queries, sample_kb.search)
    assert (again.scores, again.means, again.intervals) == (scores.scores, scores.means, scores.intervals)


def test_scores_of_a_search_that_is_known(sample_kb: KnowledgeBase) -> None:
    queries = own_queries(sample_kb, read_questions(QUESTIONS))[:4]
    golds = {query.text: query.spans[0] for query in queries}
    other = dict(zip(golds, reversed(golds.values()), strict=True))

    def hit(source: str, start: int, end: int) -> Hit:
        return Hit(source, "id", "", None, (), start, end, "", 1.0)

    perfect = way_scores(queries, lambda question, **_: [hit(*golds[question])])
    assert set(perfect.means.values()) == {1.0}
    second = way_scores(queries, lambda question, **_: [hit(*other[question]), hit(*golds[question])])
    assert (second.means["recall@5"], second.means["mrr"], second.means["span_recall"]) == (1, 0.5, 1)
    assert [score.rank for score in second.scores] == [2, 2, 2, 2]
    part = way_scores(queries, lambda question, **_: [hit(golds[question][0], golds[question][1] + 1, 10**6)])
    assert (part.means["mrr"], part.scores[0].rank) == (0, None), "a passage must hold the quote whole"
    nothing = way_scores(queries, lambda question, **_: [])
    assert set(nothing.means.values()) == {0.0}
    worse = differences(second, perfect)
    assert (worse["mrr"].mean, worse["mrr"].sign, worse["recall@5"].sign) == (-0.5, "-", "")
    assert differences(perfect, second)["mrr"].sign == "+"


def test_what_a_search_costs_is_counted_without_the_first_one(sample_kb: KnowledgeBase) -> None:
    queries = own_queries(sample_kb, read_questions(QUESTIONS))[:3]
    asked: list[str] = []

    def search(question: str, **_: object) -> list[Hit]:
        asked.append(question)
        return []

    scores = way_scores(queries, search, chat_requests=lambda: 2 * len(asked))
    assert scores.chat_requests == 2
    assert asked == [queries[0].text, *(query.text for query in queries for _ in range(2))]


def test_a_sample_is_the_same_at_each_call_and_keeps_the_order(sample_kb: KnowledgeBase) -> None:
    queries = own_queries(sample_kb, read_questions(QUESTIONS))
    few = sampled(queries, 5)
    assert len(few) == 5
    assert few == sampled(queries, 5)
    assert [query for query in queries if query in few] == list(few)
    assert sampled(queries, 100) == sampled(queries, None) == queries


def test_a_quote_that_stands_twice_is_where_its_line_says(sample_kb: KnowledgeBase) -> None:
    source = "sample/policies/travel-policy.odt"
    text = sample_kb.text(source)
    first = text.index("euros")
    second = text.index("euros", first + 1)
    places = {
        "unsaid": Question("unsaid", "?", "", source, "euros"),
        "said": Question("said", "?", "", "travel-policy.odt", "euros", second, second + 5),
        "moved": Question("moved", "?", "", source, "euros", 0, 5),
    }
    assert gold_spans(sample_kb, list(places.values())) == {
        "unsaid": (source, first, first + 5),
        "said": (source, second, second + 5),
        "moved": (source, first, first + 5),
    }


@pytest.mark.parametrize(
    ("source", "quote", "message"),
    [
        ("nowhere.pdf", "x", r"Line 7, question q: .* has no document 'nowhere.pdf'"),
        ("faq.html", "words that nobody wrote", r"Line 7, question q: sample/support/faq.html does not hold the quote"),
    ],
)
def test_gold_that_is_not_there_is_named(sample_kb: KnowledgeBase, source: str, quote: str, message: str) -> None:
    with pytest.raises(errors.UsageProblem, match=message):
        gold_spans(sample_kb, [Question("q", "?", "", source, quote, line=7)])


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        '{"id": "a"}',
        '{"text": 5}',
        '{"question": "q?", "quote": "no source"}',
        '{"id": "1", "text": "t?"}',
        '{"text": "t?", "answers": "a"}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "fine?"}\n' + line + "\n")
    with pytest.raises(errors.UsageProblem, match="line 2"):
        read_questions(path)
