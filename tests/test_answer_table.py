"""bench/answer_table.py: which questions are asked, that no answer is lost, and what is made of kept answers."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import rag.errors as errors
from bench.answer_questions import chosen, kept_questions, write_questions
from bench.answer_runs import ask_all, kept, peer
from bench.answer_scoring import reply_of
from bench.answer_table import measured, table
from rag.evaluation.answers import Case, Kind

TEXTS = {
    "Normans#000": "Normandy is a region in France. Their leader was Rollo.",
    "Normans#001": "They fought in Italy. Robert led them.",
}
CASES = [
    Case("leader", "Who led them?", Kind.ANSWERABLE, ("Rollo", "Rollo the Norseman"), (("Normans#000", 49, 54),)),
    Case("where", "Where did they fight?", Kind.ANSWERABLE, ("Italy",), (("Normans#001", 15, 20),)),
    Case("year", "When did Rollo die in Kiev?", Kind.UNANSWERABLE),
    Case("set:7", "What is TTFT?", Kind.OFF_TOPIC),
]


def write_lines(path: Path, *rows: object) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    """A set of eight questions, half of them with an answer, and two others."""
    own, *others = (tmp_path / name for name in ("own", "a", "b"))
    rows = [{"_id": f"q{n}", "text": f"{n}?", "answerable": n % 2 == 0, "answers": ["x"]} for n in range(8)]
    spans = [{"query_id": f"q{n}", "passage": "D#0", "p_start": n, "p_end": n + 1} for n in range(0, 8, 2)]
    write_lines(own / "queries.jsonl", *rows)
    write_lines(own / "spans.jsonl", *spans)
    for other in others:
        write_lines(other / "queries.jsonl", *({"_id": n, "text": f"{other.name} {n}?"} for n in range(5)))
    return [own, *others]


def test_the_same_questions_are_asked_whatever_their_order(sets: list[Path]) -> None:
    own, *others = sets
    asked = chosen(own, others, own=6, foreign=3)
    lines = (own / "queries.jsonl").read_text().splitlines(keepends=True)
    (own / "queries.jsonl").write_text("".join(reversed(lines)))
    assert chosen(own, others, own=6, foreign=3) == asked
    assert Counter(case.kind for case in asked) == {Kind.ANSWERABLE: 3, Kind.UNANSWERABLE: 3, Kind.OFF_TOPIC: 3}
    assert all(
        case.spans == (("D#0", int(case.question[:-1]), int(case.question[:-1]) + 1),) for case in asked if case.golds
    )
    assert Counter(case.id.partition(":")[0] for case in asked if case.kind is Kind.OFF_TOPIC) == {"a": 1, "b": 2}


def test_each_beginning_is_a_fair_sample(sets: list[Path]) -> None:
    own, *others = sets
    asked = chosen(own, others, own=8, foreign=4)
    for end in range(1, len(asked) + 1):
        counts = Counter(case.kind for case in asked[:end])
        assert all(abs(counts[kind] - end / 3) <= 1 for kind in Kind)


def test_too_few_questions_are_said(sets: list[Path]) -> None:
    own, *others = sets
    with pytest.raises(errors.UsageProblem, match="4 questions of a kind of which 5"):
        chosen(own, others, own=10, foreign=2)


def test_answers_to_other_questions_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    write_questions(path, CASES)
    write_questions(path, CASES)
    assert kept_questions(path) == CASES
    with pytest.raises(errors.UsageProblem, match="--out"):
        write_questions(path, CASES[1:])


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ours.jsonl"

    def first(case: Case) -> dict[str, Any]:
        if case is CASES[2]:
            raise KeyboardInterrupt
        return {"text": "one"}

    with pytest.raises(KeyboardInterrupt):
        ask_all(path, CASES, first)
    with path.open("a") as file:
        file.write('{"id": "year", "te')
    assert list(kept(path)) == ["leader", "where"]
    ask_all(path, CASES, lambda case: {"text": "two"})
    assert [row["text"] for row in kept(path).values()] == ["one", "one", "two", "two"]
    assert len(path.read_text().splitlines()) == len(CASES)


def test_a_peer_answers_line_by_line_and_its_end_is_said(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import json\nprint(json.dumps({'text': json.loads(input())['question'].upper()}), flush=True)")
    with peer([sys.executable, str(script)]) as ask:
        assert ask(CASES[0]) == {"text": "WHO LED THEM?"}
        with pytest.raises(errors.UsageProblem, match=r"script\.py ended at the question where"):
            ask(CASES[1])


def ours(id_: str, text: str, score: float, *spans: tuple[str, int, int, str]) -> dict[str, Any]:
    citations = [
        {
            "n": n,
            "source": f"s/corpus.jsonl#{name}",
            "start": start,
            "end": end,
            "status": status,
            "beside": False,
            "quote": TEXTS[name][start:end],
        }
        for n, (name, start, end, status) in enumerate(spans, 1)
    ]
    hits = [{"source": f"s/corpus.jsonl#{name}", "start": 0, "end": len(of)} for name, of in TEXTS.items()]
    row = {"id": id_, "answer": text, "abstained": not spans, "citations": citations, "hits": hits, "score": score}
    return row | {"seconds": 2.0, "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


def peers(id_: str, text: str, score: float, *sources: tuple[str, int, int]) -> dict[str, Any]:
    row = {
        "id": id_,
        "text": text,
        "score": score,
        "sources": sources or [("Normans#000", 0, 31), ("Normans#001", 0, 21)],
    }
    return row | {"seconds": 4.0, "tokens": {"prompt_tokens": 200, "completion_tokens": 30}}


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """A folder with the answers of three systems, of which LangChain lacks the last."""
    write_questions(tmp_path / "questions.jsonl", CASES)
    write_lines(tmp_path / "corpus.jsonl", *({"_id": name, "text": text} for name, text in TEXTS.items()))
    write_lines(
        tmp_path / "ours.jsonl",
        ours("leader", "Rollo [1]", 0.9, ("Normans#000", 32, 55, "verified")),
        ours(
            "where",
            "In Italy. [1] They fought. [2]",
            0.6,
            ("Normans#001", 0, 17, "verified"),
            ("Normans#000", 0, 8, "unverified"),
        ),
        ours("year", "The documents do not answer this.", 0.7),
        ours("set:7", "The documents do not answer this.", 0.1),
    )
    write_lines(
        tmp_path / "llamaindex.jsonl",
        peers("leader", "Robert [Source 2][9].", 0.8),
        peers("where", "I don't know.", 0.5),
        peers("year", "In 931 [1].", 0.6),
        peers("set:7", "Empty Response", 0.2),
    )
    write_lines(
        tmp_path / "langchain.jsonl",
        peers("leader", "Rollo the Norseman", 0.8, ("Normans#000", 0, 55), ("Normans#001", 0, 21)),
        peers("where", "It was in Italy", 0.5, ("Normans#001", 0, 38)),
        peers("year", "The text does not mention that.", 0.6),
    )
    return tmp_path


def test_the_table_of_kept_answers(answers: Path) -> None:
    found = measured(answers, answers / "corpus.jsonl", ["ours", "llamaindex"])
    assert found["questions"] == {"answerable": 2, "unanswerable": 1, "off_topic": 1}
    us, them = found["systems"]["ours"], found["systems"]["llamaindex"]
    # F1: 1 for "Rollo", 2 of 4 words and 1 gold word for the other; LlamaIndex said nothing that is right.
    assert (us["f1"], us["exact_match"], them["f1"]) == (pytest.approx(0.7), 0.5, 0.0)
    assert (us["citation_precision"], us["citation_precision_verified"], them["citation_precision"]) == (
        pytest.approx(2 / 3),
        1.0,
        0.0,
    )
    # Our second citation ends after "It": 2 of the 5 characters of "Italy".
    assert us["citation_characters"] == pytest.approx((1 + 2 / 5) / 2)
    assert us["exact_quotes"] == 1.0
    assert (us["gold_in_passages"], them["gold_in_passages"]) == (1.0, 0.5)
    assert (us["refused"], us["abstained_unanswerable"], us["abstained_off_topic"]) == (0.0, 1.0, 1.0)
    assert (them["refused"], them["abstained_unanswerable"], them["abstained_off_topic"]) == (0.5, 0.0, 1.0)
    # By its score alone our near-miss is surer than one of the two answers; it was refused all the same.
    assert (us["auroc_unanswerable"], us["auroc_unanswerable_refusals"]) == (0.5, 1.0)
    assert (them["auroc_off_topic"], them["auroc_unanswerable_refusals"]) == (1.0, 0.5)
    rows = {row[0]: row[1:] for row in table(found["systems"])}
    assert rows["citation precision, verified citations"] == ("1.000 (1.00-1.00)", "-")
    assert rows["prompt tokens a question"] == ("100", "200")
    assert rows["characters a citation"] == (f"{(23 + 17 + 8) / 3:.0f}", f"{(21 + 0 + 31) / 3:.0f}")
    assert rows["seconds a question, median"] == ("2.0", "4.0")


def test_only_questions_that_all_have_answered_are_compared(answers: Path) -> None:
    found = measured(answers, answers / "corpus.jsonl", ["ours", "llamaindex", "langchain"])
    assert found["questions"] == {"answerable": 2, "unanswerable": 1, "off_topic": 0}
    chain = found["systems"]["langchain"]
    assert (chain["f1"], chain["citation_precision"], chain["citation_recall"]) == (
        pytest.approx((1 + 0.4) / 2),
        pytest.approx(2 / 3),
        1.0,
    )
    assert (chain["abstained_unanswerable"], chain["citations_each"]) == (1.0, 1.5)


def test_what_a_peers_markers_name() -> None:
    reply = reply_of("llamaindex", peers("leader", "Robert [2] led [2], and [9] too, says Source 1.", 0.8), TEXTS)
    assert reply.text.split() == ["Robert", "led", ",", "and", "too,", "says", "Source", "1."]
    assert [(cited.n, cited.source) for cited in reply.citations] == [
        (2, "Normans#001"),
        (9, ""),
        (1, "Normans#000"),
    ]
