"""Numbers as values with units: which amounts are the same, and which only look alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.citing.quantities import Quantity, quantities
from rag.citing.wording import words


def amounts(text: str, language: str = "en") -> list[Quantity]:
    return [q for q in quantities(words(text, language).folded) if not q.implied]


def agree(claim: str, evidence: str) -> bool:
    there = quantities(words(evidence, "en").folded)
    return all(any(q.agrees(other) for other in there) for q in amounts(claim))


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("24 months", "twenty-four months"),
        ("24 months", "2 years"),
        ("two years", "24 Monate"),
        ("vierundzwanzig Monate", "deux ans"),
        ("1299 EUR", "1,299 €"),
        ("€1.299,50", "1299.5 euros"),
        ("12 percent", "12 %"),
        ("12 pour cent", "12%"),
        ("1,350,000", "1.35 million"),
        ("110 million", "110M"),
        ("two hundred and five", "205"),
        ("12 March 2024", "2024-03-12"),
        ("2024-03-12", "March 12th, 2024"),
        ("3/12/24", "12 March 2024"),
        ("on 12.03.2024", "12. März 2024"),
        ("the 19th century", "the nineteenth century"),
        ("World War 2", "World War II"),
        ("1.1 kW", "1100 W"),
        ("48 hours", "2 days"),
        ("a price of 3.50", "3.5"),
        ("at -5 °C", "minus 5 °C"),
        ("version 2.4.1", "v2.4.1"),
        ("1 year", "a year"),
        ("two times", "twice"),
    ],
)
def test_the_same_amount(claim: str, evidence: str) -> None:
    assert amounts(claim)
    assert agree(claim, evidence)


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("24 months", "36 months"),
        ("24 months", "24 days"),
        ("24 EUR", "24 USD"),
        ("12 months", "four times a year"),
        ("12 Monate", "zweimal pro Jahr"),
        ("24 hours", "once per day"),
        ("12 percent", "12 months"),
        ("1,299", "1,298"),
        ("5 million", "5 billion"),
        ("March 2024", "May 2024"),
        ("12 March", "12 February 2003"),
        ("the third floor", "3 floors"),
        ("5 degrees", "-5 degrees"),
        ("version 2.4.1", "version 2.4.2"),
        ("fifteen", "fifty"),
        ("The U-bolts need 6 Nm", "Mast clamp kit with two U-bolts M6 | MK-12 | 1"),
        ("It runs for 4 years", "Printed on A4 for some years"),
    ],
)
def test_another_amount(claim: str, evidence: str) -> None:
    assert not agree(claim, evidence)


@pytest.mark.parametrize("text", ["one of them", "You may march on.", "1) first, 2) then", "a day", "no number"])
def test_what_is_no_amount(text: str) -> None:
    assert amounts(text) == []


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_any_whole_number_is_itself_with_and_without_commas(number: int) -> None:
    assert agree(f"{number}", f"{number:,}")
    assert not agree(f"{number}", f"{number + 1:,} and {number + 1}")
