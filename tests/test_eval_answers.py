"""`rag eval --answers`: its measures by hand-made replies, what a fit learns, the command on the sample documents."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import rag.errors as errors
from rag.cli.app import app
from rag.confidence import Confidence, Signals, cosine_scale
from rag.confidence_file import load_confidence, save_confidence
from rag.evaluation.answers import END, Case, Cited, Kind, Reply, answer_scores
from rag.evaluation.asking import KeptChat, ask, off_topic_cases, own_cases
from rag.evaluation.datasets import read_questions
from rag.evaluation.fitting import fit
from rag.evaluation.metrics import auroc, auroc_interval, ratio_interval
from rag.evaluation.planted import gold_pairs, scored
from rag.evaluation.wording import answer_words, exact_match, holds_gold, word_f1
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings
from rag.types import CitationStatus

QUESTIONS = Path(__file__).parents[1] / "data" / "questions.jsonl"
VERIFIED, REPAIRED, UNVERIFIED = CitationStatus.VERIFIED, CitationStatus.REPAIRED, CitationStatus.UNVERIFIED


def test_words_are_compared_as_squad_does() -> None:
    assert answer_words("The U.S., a “24-month” [1] warranty! [unverified]") == ["us", "24month", "warranty"]
    assert exact_match("the Eiffel Tower. [1][2]", ["Eiffel tower"]) == 1
    assert exact_match("tower Eiffel", ["Eiffel tower"]) == 0
    assert word_f1("It is in Paris, France.", ["Lyon", "Paris"]) == pytest.approx(2 * 1 / (5 + 1))
    assert word_f1("", ["Paris"]) == word_f1("Paris", []) == 0
    assert word_f1("他住在北京", ["北京"]) == pytest.approx(2 * 2 / (5 + 2))
    assert holds_gold("The warranty lasts 24 months.", ["24 months", "two years"]) == 1
    assert holds_gold("The warranty lasts 24 days.", ["24 months"]) == 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_auroc_is_the_share_of_pairs_in_order(higher: list[int], lower: list[int]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in higher for b in lower]
    assert auroc(higher, lower) == pytest.approx(sum(pairs) / len(pairs))


def test_intervals_hold_their_value_and_never_change() -> None:
    shares = [(1.0, 1.0), (0.0, 3.0), (2.0, 2.0)] * 20
    low, high = ratio_interval(shares)
    assert low < 0.5 < high
    assert ratio_interval(shares) == (low, high)
    assert ratio_interval([]) == (0.0, 0.0)
    low, high = auroc_interval([0.2, 0.9, 0.8], [0.1, 0.3, 0.85])
    assert low <= auroc([0.2, 0.9, 0.8], [0.1, 0.3, 0.85]) <= high


WARRANTY = Case("w", "How long?", Kind.ANSWERABLE, ("24 months", "two years"), (("a.md", 10, 20), ("a.md", 12, 22)))
COLOUR = Case("c", "Which colour?", Kind.ANSWERABLE, ("blue",), (("a.md", 50, 60), ("b.md", 0, END)))
NEAR = Case("n", "How long in Peru?", Kind.UNANSWERABLE)
OFF = Case("o", "Who is mayor?", Kind.OFF_TOPIC)


def test_scores_of_replies_that_are_known() -> None:
    answered = [
        (
            WARRANTY,
            Reply(
                "It lasts 24 months. [1] It is heavy. [2] It flies. [unverified]",
                False,
                (Cited(1, "a.md", 15, 16, VERIFIED), Cited(2, "a.md", 90, 95, REPAIRED)),
                0.9,
                seconds=2.0,
                first_token=1.0,
                tokens=(300, 10),
            ),
        ),
        (COLOUR, Reply("Blue. [1]", False, (Cited(1, "b.md", 7, 9, VERIFIED, exact=False),), 0.8)),
        (NEAR, Reply("It lasts long. [1]", False, (Cited(1, "a.md", 15, 16, VERIFIED),), 0.85)),
        (OFF, Reply("The documents do not answer this.", True, (), 0.1)),
    ]
    scores = answer_scores(answered)
    assert scores.counts == {Kind.ANSWERABLE: 2, Kind.UNANSWERABLE: 1, Kind.OFF_TOPIC: 1}
    assert scores.values == pytest.approx(
        {
            "exact_match": 0.5,
            "f1": (2 * 2 / (9 + 2) + 1) / 2,
            "gold_in_answer": 1,
            "citation_precision": 2 / 3,
            "citation_precision_verified": 1,
            "citation_precision_all": 2 / 4,
            "citation_recall": (1 + 1 / 2) / 2,
            "verified_sentences": 4 / 5,
            "exact_quotes": 3 / 4,
            "abstention_accuracy": 3 / 4,
            "refused": 0,
            "abstained_unanswerable": 0,
            "abstained_off_topic": 1,
            "auroc_unanswerable": 0.5,
            "auroc_off_topic": 1,
        }
    )
    assert set(scores.intervals) == set(scores.values)
    assert scores.cost["asked"] == 1
    assert (scores.cost["seconds_p95"], scores.cost["first_token_p50"], scores.cost["prompt_tokens"]) == (2, 1, 300)
    assert json.loads(json.dumps(scores.to_dict()))["questions"]["off_topic"] == 1


def test_a_refusal_scores_nothing_and_citations_without_a_check_are_not_sure() -> None:
    refused = answer_scores([(WARRANTY, Reply("24 months", True))])
    assert (refused.values["f1"], refused.values["citation_recall"], refused.values["refused"]) == (0, 0, 1)
    assert not {"auroc_unanswerable", "citation_precision", "verified_sentences"} & set(refused.values)
    aside = (Cited(1, "a.md", 15, 16, VERIFIED), Cited(2, "a.md", 90, 95, VERIFIED, beside=True))
    marked = answer_scores([(WARRANTY, Reply("24 months. [1] It is blue. [2]", False, aside))])
    assert marked.values["citation_precision_verified"] == 1
    assert marked.values["citation_precision"] == 0.5
    other = answer_scores([(WARRANTY, Reply("24 months. [1]", False, (Cited(1, "a.md", 0, 30),)))])
    assert (other.values["citation_precision"], other.values["verified_sentences"]) == (1, 0)
    assert "citation_precision_verified" not in other.values


def _signals(count: int, shift: float) -> Iterator[tuple[Signals, bool]]:
    """Questions of a knowledge base whose cosines are all lower by `shift` than those of the default."""
    pick = random.Random(3)
    for at in range(count):
        yes = at % 2 == 0
        middle = (0.75 if yes else 0.35) - shift
        yield Signals(min(1.0, max(0.0, pick.gauss(middle, 0.1))), pick.gauss(0.8 if yes else 0.3, 0.1), 0.5), yes


def test_a_fit_learns_what_differs_from_the_default_and_keeps_it_else() -> None:
    shifted = fit(list(_signals(80, 0.45)), Confidence())
    assert shifted.pays
    assert shifted.before.refused > 0.2 > shifted.after.refused
    assert shifted.confidence.fitted == 80
    assert json.loads(json.dumps(shifted.to_dict()))["weights"]["similarity"] > 0
    with pytest.raises(errors.UsageProblem, match="there are 5 and 5"):
        fit(list(_signals(10, 0)), Confidence())


def test_what_was_fitted_is_kept_for_its_embedder_alone(sample_kb: KnowledgeBase, tmp_path: Path) -> None:
    identity, canaries = sample_kb.store.made_with()
    default = load_confidence(tmp_path, (identity, canaries))
    assert (default.fitted, default.weights) == (0, Confidence().weights)
    fitted = fit(list(_signals(80, 0.2)), default).confidence
    save_confidence(tmp_path, (identity, canaries), fitted)
    assert load_confidence(tmp_path, (identity, canaries)) == fitted
    other = json.loads((tmp_path / "confidence.json").read_text())
    other["identity"]["quantization"] = "Q2_K"
    (tmp_path / "confidence.json").write_text(json.dumps(other))
    assert load_confidence(tmp_path, (identity, canaries)) == default
    (tmp_path / "confidence.json").write_text("{")
    with pytest.raises(errors.KnowledgeBaseError, match=r"confidence\.json"):
        load_confidence(tmp_path, (identity, canaries))


def test_the_scale_of_cosines_comes_from_the_canaries(sample_kb: KnowledgeBase) -> None:
    low, high = cosine_scale(sample_kb.store.made_with()[1])
    assert -0.1 < low < 0.1
    assert 0.65 < high < 0.85
    assert cosine_scale([[1, 0], [0, 1], [0, 1]]) == (0, 0.75)
    assert cosine_scale([[1, 0]] * 4) == (1, 1.05)


def test_fabrications_are_planted_in_own_answers(sample_kb: KnowledgeBase) -> None:
    pairs = gold_pairs(sample_kb, own_cases(sample_kb, read_questions(QUESTIONS)))
    assert len(pairs) >= 25
    assert all(pair.passages for pair in pairs)
    found = scored(pairs)
    figures: dict[str, Any] = found.to_dict()
    assert figures["true_claims"] == len(pairs)
    assert figures["false_alarms"] <= 0.1
    for kind in ("number", "source"):
        assert figures[kind]["planted"] >= 10
        assert figures[kind]["noticed"] >= 0.9


def test_questions_of_another_set_are_off_topic(tmp_path: Path) -> None:
    cases = off_topic_cases(QUESTIONS)
    assert {case.kind for case in cases} == {Kind.OFF_TOPIC}
    assert cases[0].id == "questions.jsonl q01"


def test_what_the_model_said_is_not_asked_again(sample_kb: KnowledgeBase, settings: Settings, tmp_path: Path) -> None:
    case = own_cases(sample_kb, read_questions(QUESTIONS)[1:2])[0]
    kept = tmp_path / "folder" / "said.jsonl"
    chat = KeptChat(settings, kept, print)
    reply, answer = ask(sample_kb, case, chat)
    chat.close()
    assert chat.requests >= 1
    assert reply.tokens[0] > 100
    assert reply.seconds >= reply.first_token > 0
    assert reply.score == answer.score
    assert all(cited.exact for cited in reply.citations)
    with kept.open("a") as file:
        file.write('{"key": "cut off by a k')
    again = KeptChat(settings, kept, print)
    repeated, _ = ask(sample_kb, case, again)
    assert again.requests == 0
    assert (repeated.text, repeated.citations, repeated.tokens) == (reply.text, reply.citations, reply.tokens)
    assert repeated.seconds >= repeated.first_token > 0
    again.close()


def test_the_command_asks_scores_and_gates(
    sample_kb: KnowledgeBase, command_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()
    few, other = tmp_path / "few.jsonl", tmp_path / "other.jsonl"
    few.write_text("\n".join([lines[1], lines[4]]), encoding="utf-8")
    other.write_text('{"question": "Who wrote the novel Moby-Dick?"}\n', encoding="utf-8")
    for name, value in (command_environment | {"XDG_CACHE_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    asked = ["eval", str(few), "--answers", "--off-topic", str(other), "--kb", str(sample_kb.path)]
    runner = CliRunner()
    result = runner.invoke(app, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["questions"] == {"answerable": 2, "unanswerable": 0, "off_topic": 1}
    assert figures["exact_quotes"] == 1
    assert figures["abstained_off_topic"] == 1
    assert figures["auroc_off_topic"] == 1
    assert figures["fabrications"]["number"]["planted"] >= 1
    assert list((tmp_path / "lmstudio-rag" / "eval").glob("answers-few.jsonl"))
    (tmp_path / "before.json").write_text(json.dumps(figures | {"f1": figures["f1"] + 0.5}))
    worse = runner.invoke(app, [*asked, "--baseline", str(tmp_path / "before.json")])
    assert worse.exit_code == 1
    assert "worse: f1" in worse.stderr
    assert "citation precision" in worse.stdout
    refused = runner.invoke(app, [*asked, "--fit"])
    assert isinstance(refused.exception, errors.UsageProblem)
    assert isinstance(runner.invoke(app, ["eval", str(few), "--fit"]).exception, errors.UsageProblem)
