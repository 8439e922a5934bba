"""The check of citations: which passage supports a claim, where, and what does not. On made-up passages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.citing.cite import best_evidence, check, relevance
from rag.citing.claims import Claim
from rag.types import CitationStatus, Hit


def passage(text: str, source: str = "docs/manual.pdf", start: int = 0) -> Hit:
    return Hit(source, "id", "Manual", 3, ("Power",), start, start + len(text), text, 1.0)


BATTERY = passage("The battery lasts 24 months. It weighs 310 g. Replace it before winter.")
COVER = passage(
    "The cover is made of steel and costs 1,299 EUR. Spare covers are not sold in Norway.", "docs/prices.md"
)


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


@pytest.mark.parametrize(
    ("claim", "supported"),
    [
        ("The battery lasts 24 months and weighs 310 g.", True),
        ("Inquiry lasts 24 months and weighs 310 g.", False),
        ("Latin wine lasts 24 months and weighs 310 g.", False),
        ("Batteries of this kind last 24 months.", True),
    ],
)
def test_a_sentence_about_another_subject_is_no_evidence(claim: str, supported: bool) -> None:
    """Whether its first word is a name or a common noun, which both have a capital there."""
    found = best_evidence(claim, [BATTERY])
    assert found is not None
    assert found.supports is supported


@pytest.mark.parametrize("spelling", ["1299 EUR", "1,299 EUR", "1.299 EUR"])
def test_numbers_agree_across_spellings(spelling: str) -> None:
    assert check(Claim(f"The steel cover costs {spelling}.", ()), [COVER]).status is CitationStatus.VERIFIED


def test_the_question_decides_between_equal_supports() -> None:
    passages = [passage("Model A: delivery takes 5 days."), passage("Model B: delivery takes 5 days.")]
    found = best_evidence("5 days.", passages, "How long is the delivery of model B?")
    assert found is not None
    assert found.slices[0].passage == 1


def test_relevance_is_a_share_of_what_is_asked_for() -> None:
    assert relevance("What does the battery weigh?", BATTERY) == 1.0
    assert relevance("Who is the mayor of Lisbon?", BATTERY) == 0.0
    assert relevance("Is it?", BATTERY) == 1.0


def test_a_name_that_stands_nowhere_in_the_passage_is_no_evidence() -> None:
    customer = passage("Largest single customer: Lower Tarn Nurseries with 6.2 percent")
    claim = Claim("The mayor of Lisbon is Lower Tarn Nurseries with 6.2 percent.", ())
    assert check(claim, [customer]).status is CitationStatus.UNVERIFIED


WORDS = st.text(alphabet=st.sampled_from("ab. A1,%-\n|不は🙂é"), max_size=300)


@settings(deadline=None)
@given(
    st.lists(WORDS | st.text(max_size=200), min_size=1, max_size=4), WORDS | st.text(max_size=80), st.text(max_size=60)
)
def test_every_quote_is_the_passages_text(texts: list[str], claim: str, question: str) -> None:
    found = best_evidence(claim, [passage(text) for text in texts], question)
    if found is not None:
        assert found.slices
        for part in found.slices:
            text = texts[part.passage]
            assert 0 <= part.start < part.end <= len(text)
            assert text[part.start : part.end] == text[part.start : part.end].strip() != ""
        assert 0 <= found.score <= found.coverage <= 1 or len({part.passage for part in found.slices}) > 1


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["The Sprig weighs 310 g.", "It is red.", "Ann sold 12 of them."]), min_size=1, unique=True
    )
)
def test_what_a_passage_says_word_for_word_is_supported(said: list[str]) -> None:
    text = passage("Our sensors. The Sprig weighs 310 g. It is red. Last week Bo and Ann met. Ann sold 12 of them.")
    for sentence in said:
        verdict = check(Claim(sentence, ()), [COVER, text])
        assert verdict.status is CitationStatus.VERIFIED


def status(claim: str, *texts: str, question: str = "") -> CitationStatus:
    return check(Claim(claim, ()), [passage(text) for text in texts], question).status


LEASE = (
    "The tenant pays EUR 2,400 before the keys are handed over on 12 March 2024. The landlord must not enter the flat "
    "without 24 hours' notice. Subletting is prohibited. Ms Adeyemi signed for Harbour Homes."
)


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("The tenant pays 2400 euros.", "The tenant pays 2400 dollars."),
        ("The keys are handed over on 2024-03-12.", "The keys are handed over on 2024-04-12."),
        (
            "The landlord must not enter without a day's notice of 24 hours.",
            "The landlord must not enter without 48 hours.",
        ),
        ("Subletting is not allowed.", "Subletting is allowed."),
        ("The tenant pays before the keys are handed over.", "The tenant pays after the keys are handed over."),
        ("Ms Adeyemi signed.", "Ms Okafor signed."),
        ("Adeyemi signed for Harbour Homes.", "Okafor signed for Harbour Homes."),
        ("The tenant pays EUR 2,400.", "The tenant never pays EUR 2,400."),
        ("The tenant pays EUR 2,400.", "The tenant fails to pay EUR 2,400."),
        ("The landlord must not enter the flat unannounced without notice.", "The landlord must enter the flat."),
    ],
)
def test_a_true_claim_is_verified_and_its_false_twin_is_not(true: str, false: str) -> None:
    assert status(true, LEASE) is CitationStatus.VERIFIED
    assert status(false, LEASE) is CitationStatus.UNVERIFIED


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("Der Urlaub beträgt 30 Tage. Hunde sind nicht erlaubt.", "Hunde sind nicht erlaubt.", "Hunde sind erlaubt."),
        ("Die Pumpe leistet 3,5 kW.", "Die Leistung der Pumpe: 3500 Watt.", "Die Pumpe leistet 4,5 kW."),
        (
            "L'entrée est gratuite le mardi.",
            "Le mardi, l'entrée est gratuite.",
            "Le mardi, l'entrée n'est pas gratuite.",
        ),
        ("电池寿命为24个月。外壳是钢制的。", "电池寿命为24个月。", "电池寿命为36个月。"),
        ("保修期是两年。不包括电池。", "保修不包括电池。", "保修包括电池,并且包括显示器和支架。"),
    ],
)
def test_other_languages(text: str, true: str, false: str) -> None:
    assert status(true, text) is CitationStatus.VERIFIED
    assert status(false, text) is CitationStatus.UNVERIFIED


def test_a_row_is_evidence_and_its_number_belongs_to_it() -> None:
    table = "Model | Weight | Power\nP40 | 9.2 kg | 370 W\nP60 | 11.5 kg | 550 W"
    verdict = check(Claim("The P60 weighs 11.5 kg.", ()), [passage(table)])
    assert verdict.status is CitationStatus.VERIFIED
    assert verdict.evidence is not None
    first = verdict.evidence.slices[0]
    assert "P60 | 11.5 kg" in table[first.start : first.end]


def test_a_claim_of_two_sentences_shows_both() -> None:
    text = "The Sprig was built by Ann Rao. Blue boxes are stacked. Doors open at nine. The Sprig costs 40 EUR."
    verdict = check(Claim("The Sprig, which Ann Rao built, costs 40 EUR.", ()), [passage(text)])
    assert verdict.evidence is not None
    assert {text[part.start : part.end] for part in verdict.evidence.slices} == {
        "The Sprig was built by Ann Rao.",
        "The Sprig costs 40 EUR.",
    }


def test_a_claim_of_two_passages_shows_both() -> None:
    first, second = "The Sprig was launched on 20 June 2024.", "The Loam was launched on 30 May 2024."
    claim = "The Sprig was launched on 20 June 2024, the Loam on 30 May 2024."
    verdict = check(Claim(claim, ()), [passage(first), passage(second)])
    assert verdict.status is CitationStatus.VERIFIED
    assert verdict.evidence is not None
    assert sorted(part.passage for part in verdict.evidence.slices) == [0, 1]


def test_the_title_and_headings_are_known() -> None:
    hit = Hit("prices/Sprig 4.xlsx", "id", "Sprig 4", None, ("Norway",), 0, 18, "Price: 40 EUR each", 1.0)
    assert check(Claim("In Norway, the Sprig 4 costs 40 EUR.", ()), [hit]).status is CitationStatus.VERIFIED


def test_a_year_of_the_question_needs_no_evidence_unless_the_passage_speaks_of_another() -> None:
    claim, question = "The fee of the club was 30 EUR in 2025.", "What was the fee of the club in 2025?"
    assert status(claim, "The fee of the club is 30 EUR.", question=question) is CitationStatus.VERIFIED
    assert status(claim, "In 2024 the fee of the club was 30 EUR.", question=question) is CitationStatus.UNVERIFIED
    weeks = "The course of six weeks costs 30 EUR."
    assert status(weeks, "The course of two weeks costs 30 EUR.", question="What do six weeks cost?") is (
        CitationStatus.UNVERIFIED
    )


def test_a_count_that_the_question_names_needs_no_evidence() -> None:
    text = "Report delivery is by mail or by courier."
    claim = "The two ways of delivery are mail and courier."
    assert status(claim, text, question="What are the two ways of delivery?") is CitationStatus.VERIFIED


def test_what_claims_nothing_has_no_evidence() -> None:
    verdict = check(Claim("Here are the steps:", (), asserts=False), [BATTERY])
    assert (verdict.status, verdict.evidence) == (CitationStatus.UNVERIFIED, None)


def test_a_heading_that_brings_one_word_is_not_shown_and_its_number_is_no_amount() -> None:
    row = "Brisa | 5 years | Battery pack: 2 years"
    text = f"2 Safety\n\nThe battery pack is heavy.\n\nHow long the warranty lasts\n\n{row}"
    hit = Hit("manual.pdf", "id", "", 3, ("2 Safety",), 0, len(text), text, 1.0)
    verdict = check(Claim("The battery pack lasts for 2 years.", ()), [hit])
    assert verdict.evidence is not None
    assert [text[part.start : part.end] for part in verdict.evidence.slices] == [row]
    safety = Hit("manual.pdf", "id", "", 3, ("2 Safety",), 0, 36, text[:36], 1.0)
    assert check(Claim("There are 2 heavy battery packs.", ()), [safety]).status is CitationStatus.UNVERIFIED
    assert check(Claim("Chapter 2 is about safety.", ()), [safety]).status is CitationStatus.VERIFIED


WARRANTY = passage(
    "Product | Warranty\nGable vent controller | 4 years | If installed by an electrician\nSpare parts | 6 months |\n\n"
    "The period begins on delivery. A replaced part is covered for the rest of it, but no less than 6 months."
)


@pytest.mark.parametrize(
    "claim", ["The Gable vent controller is covered for 6 months.", "Gable vent controller: 6 months."]
)
def test_another_rows_amount_is_no_evidence(claim: str) -> None:
    assert check(Claim(claim, ()), [WARRANTY]).status is CitationStatus.UNVERIFIED
    right = claim.replace("6 months", "4 years")
    assert check(Claim(right, ()), [WARRANTY]).status is CitationStatus.VERIFIED


def test_the_next_sentence_may_go_on_with_another_amount() -> None:
    told = passage("The pump of the mill first ran for 4 years. Rebuilt by Ann, it then ran for 9 years.")
    claim = "After Ann had rebuilt it, the pump of the mill ran for 9 years."
    assert check(Claim(claim, ()), [told]).status is CitationStatus.VERIFIED
