"""Whether passages say what the fields of a form say: values, units, dates, truths, and of which thing. No model."""

from typing import Any

import pytest

from rag.citing.dates import Date, dates, stated, tells_time
from rag.citing.fields import Proof, prove
from rag.citing.leaves import leaves, shown_path, without
from rag.types import CitationStatus, Hit


def passage(text: str, source: str = "docs/notes.md") -> Hit:
    return Hit(source, source, "", None, (), 0, len(text), text, 1.0)


PASSAGE = passage(
    "We have 57 cases of broken lamps. The Brisa costs 249 EUR and is waterproof. The Sprig costs 99 EUR. "
    "It is not waterproof. "
    "The contract was signed on 5 January 2026 by Ann Lee at 14:30. The battery lasts 3 years. "
    "The first batch with the new cable is 2546."
)


def proofs(filled: Any, schema: dict[str, Any] | None = None, question: str = "") -> dict[str, Proof]:
    return {shown_path(leaf.path): prove(leaf, [PASSAGE], question) for leaf in leaves(filled, schema or {})}


def verified(filled: Any, schema: dict[str, Any] | None = None, question: str = "") -> set[str]:
    found = proofs(filled, schema, question)
    return {path for path, proof in found.items() if proof.status is CitationStatus.VERIFIED}


def test_a_field_is_proved_by_the_sentence_that_says_it() -> None:
    (proof,) = proofs({"price_eur": 99}, question="What does the Sprig cost?").values()
    assert proof.status is CitationStatus.VERIFIED
    assert [PASSAGE.text[part.start : part.end] for part in proof.slices] == ["The Sprig costs 99 EUR."]


@pytest.mark.parametrize(
    ("filled", "holds"),
    [
        ({"battery_years": 3}, True),
        ({"battery_months": 36}, True),
        ({"battery_days": 3}, False),
        ({"battery_years": 4}, False),
        ({"battery_life": "3 years"}, True),
        ({"first_batch": 2546}, True),
        ({"first_batch": 57}, False),  # it stands there, of something else
        ({"first_batch": "2546"}, True),
        ({"signed": "2026-01-05"}, True),
        ({"signed": "2026-05-01"}, False),
        ({"signed": "2025-01-05"}, False),
        ({"signed_at": "2026-01-05T14:30:00"}, True),
        ({"signed_at": "2026-01-05T15:30:00"}, False),
        ({"signed_by": "Ann Lee"}, True),
        ({"signed_by": "Ann Smith"}, False),
        ({"battery_life": "lasts_3_years"}, True),
        ({"cases": 57}, True),
        ({"colour": "green"}, False),
    ],
)
def test_values_units_dates_and_names(filled: dict[str, Any], holds: bool) -> None:
    assert bool(verified(filled)) is holds


def test_a_description_may_name_the_unit() -> None:
    schema = {"properties": {"battery": {"type": "integer", "description": "How long it lasts, in months"}}}
    assert verified({"battery": 36}, schema) == {"battery"}
    assert verified({"battery": 3}, schema) == set()


def test_in_a_list_each_value_is_said_of_its_own_thing() -> None:
    right = [{"name": "Brisa", "eur": 249, "waterproof": True}, {"name": "Sprig", "eur": 99, "waterproof": False}]
    question = "What do Brisa and Sprig cost, and are they waterproof?"
    assert len(verified(right, question=question)) == 6
    swapped = [{"name": "Brisa", "eur": 99, "waterproof": False}, {"name": "Sprig", "eur": 249, "waterproof": True}]
    assert verified(swapped, question=question) == {"[0].name", "[1].name"}


def test_a_truth_needs_a_sentence_and_none_that_denies_it_more_clearly() -> None:
    old, new = (
        passage("A restocking fee is kept.", "fee-2023.md"),
        passage("There is no restocking fee.", "fee-2025.md"),
    )
    for value, status in ((True, CitationStatus.UNVERIFIED), (False, CitationStatus.VERIFIED)):
        (leaf,) = leaves({"restocking_fee": value}, {})
        proof = prove(leaf, [old, new], "Is there a restocking fee in 2025?")
        assert proof.status is status
        assert [part.passage for part in proof.slices] == [1]


def test_what_a_question_names_must_be_near() -> None:
    assert verified({"price": 99}, question="What does the Sprig cost?")
    assert not verified({"price": 99}, question="What does the Relay cost in Lisbon?")


def test_a_form_is_taken_apart_by_its_schema() -> None:
    schema = {
        "$defs": {"Item": {"properties": {"kind": {"const": "item"}, "n": {"description": "How many"}}}},
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}, "more": {"$ref": "#"}},
    }
    filled = {"items": [{"kind": "item", "n": 1, "note": None, "text": ""}], "more": {"items": []}}
    (leaf,) = leaves(filled, schema)
    assert (shown_path(leaf.path), leaf.value, leaf.name) == ("items[0].n", 1, "n")
    assert "How many" in leaf.about
    assert without(filled, leaf.path)["items"][0]["n"] is None
    assert filled["items"][0]["n"] == 1
    assert [leaf.about for leaf in leaves({"unitPrice": 3}, {})] == ["unit Price"]


@pytest.mark.parametrize(
    "text",
    ["2026-01-05", "5 January 2026", "05.01.2026", "Jan 5th, 2026", "5/1/26", "am 5. Januar 2026", "5 janvier 2026"],
)
def test_dates_in_other_notations(text: str) -> None:
    assert Date(2026, 1, 5) in dates(text)
    assert Date(2026, 1, 6) not in dates(text)


def test_times_of_day() -> None:
    assert tells_time("from 9:00 to 9:50", 9, 0)
    assert tells_time("at 2.30 pm", 14, 30)
    assert tells_time("um 9 Uhr", 9, 0)
    assert not tells_time("at 2:30 am", 14, 30)
    assert not tells_time("it weighs 9.5 kg", 9, 0)
    assert stated("5 January") is None
