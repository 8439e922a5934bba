"""The check of citations: pure functions on made-up passages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.cite import best_evidence, check, relevance
from rag.claims import Claim, claims, refuses
from rag.types import CitationStatus, Hit


def passage(text: str, source: str = "docs/manual.pdf", start: int = 0) -> Hit:
    return Hit(source, "id", "Manual", 3, ("Power",), start, start + len(text), text, 1.0)


BATTERY = passage("The battery lasts 24 months. It weighs 310 g. Replace it before winter.")
COVER = passage(
    "The cover is made of steel and costs 1,299 EUR. Spare covers are not sold in Norway.", "docs/prices.md"
)


@pytest.mark.parametrize(
    "text",
    [
        "It lasts 24 months [1].",
        "It lasts 24 months. [1]",
        "It lasts 24 months.[1]",
        "It lasts 24 months [[1]].",
        "It lasts 24 months【1】.",
        "It lasts 24 months ［1］.",
        "It lasts 24 months 【1†source】.",
    ],
)
def test_markers_of_every_form_belong_to_their_sentence(text: str) -> None:
    assert claims(text) == [Claim("It lasts 24 months.", (1,))]


def test_several_numbers_in_one_marker_or_in_two() -> None:
    assert claims("A b c [1, 2]. D e f [2][3].") == [Claim("A b c.", (1, 2)), Claim("D e f.", (2, 3))]


def test_brackets_that_are_no_markers_stay() -> None:
    assert claims("Use a[i] and [sic] and array[2024].") == [Claim("Use a[i] and [sic] and array[2024].", ())]


def test_evidence_is_the_sentence_and_not_the_passage() -> None:
    verdict = check(Claim("The battery lasts 24 months.", ()), [COVER, BATTERY])
    assert verdict.status is CitationStatus.VERIFIED
    assert verdict.evidence is not None
    (part,) = verdict.evidence.slices
    assert BATTERY.text[part.start : part.end] == "The battery lasts 24 months."


def test_a_paraphrase_is_supported() -> None:
    assert check(Claim("Batteries last for 24 months.", ()), [BATTERY]).status is CitationStatus.VERIFIED


@pytest.mark.parametrize(
    "claim", ["The battery lasts 36 months.", "The battery weighs 3100 g.", "Unicorns sing at dawn."]
)
def test_a_wrong_number_or_an_invention_is_not_supported(claim: str) -> None:
    assert check(Claim(claim, ()), [BATTERY, COVER]).status is CitationStatus.UNVERIFIED


def test_a_marker_that_points_elsewhere_is_repaired() -> None:
    verdict = check(Claim("The battery lasts 24 months.", (1,)), [COVER, BATTERY])
    assert verdict.status is CitationStatus.REPAIRED
    assert verdict.evidence is not None
    assert verdict.evidence.slices[0].passage == 1


def test_a_marker_beyond_the_passages_counts_as_none() -> None:
    assert check(Claim("The battery lasts 24 months.", (7,)), [BATTERY]).status is CitationStatus.VERIFIED


@pytest.mark.parametrize("spelling", ["1299 EUR", "1,299 EUR", "1.299 EUR"])
def test_numbers_agree_across_spellings(spelling: str) -> None:
    assert check(Claim(f"The steel cover costs {spelling}.", ()), [COVER]).status is CitationStatus.VERIFIED


def test_the_question_decides_between_equal_supports() -> None:
    passages = [passage("Model A: delivery takes 5 days."), passage("Model B: delivery takes 5 days.")]
    found = best_evidence("5 days.", passages, "How long is the delivery of model B?")
    assert found is not None
    assert found.slices[0].passage == 1


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ("I don't know.", True),
        ("I don’t know.", True),
        ("The passages do not mention a price.", True),
        ("", True),
        ("The battery lasts 24 months.", False),
        ("It costs 5 EUR. I don't know about Norway.", False),
    ],
)
def test_refusals(answer: str, refusal: bool) -> None:
    assert refuses(answer) is refusal


def test_relevance_is_a_share_of_what_is_asked_for() -> None:
    assert relevance("What does the battery weigh?", BATTERY) == 1.0
    assert relevance("Who is the mayor of Lisbon?", BATTERY) == 0.0
    assert relevance("Is it?", BATTERY) == 1.0


def test_a_name_that_stands_nowhere_in_the_passage_is_no_evidence() -> None:
    customer = passage("Largest single customer: Lower Tarn Nurseries with 6.2 percent")
    claim = Claim("The mayor of Lisbon is Lower Tarn Nurseries with 6.2 percent.", ())
    assert check(claim, [customer]).status is CitationStatus.UNVERIFIED


@given(st.text(max_size=300), st.text(max_size=100), st.text(max_size=60))
def test_evidence_always_lies_within_its_passage(text: str, claim: str, question: str) -> None:
    found = best_evidence(claim, [passage(text)], question)
    if found is not None:
        for part in found.slices:
            assert 0 <= part.start < part.end <= len(text)
            assert text[part.start : part.end].strip()
        assert 0 <= found.coverage <= 1
