"""Sentence spans: they cover all text, and they end where sentences do."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.sentences import sentences


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        (
            "Dr. Smith met J. Doe in the U.S. Senate. They spoke.",
            ["Dr. Smith met J. Doe in the U.S. Senate.", "They spoke."],
        ),
        ("e.g. this, i.e. that.", ["e.g. this, i.e. that."]),
        ("Das gilt z.B. Berlin bzw. Hamburg. Ende.", ["Das gilt z.B. Berlin bzw. Hamburg.", "Ende."]),
        ("“Stop.” She left (at once). Then", ["“Stop.”", "She left (at once).", "Then"]),
        ('"What?" he asked. Nothing.', ['"What?" he asked.', "Nothing."]),
        ("第一句。第二句！“第三句。”第四", ["第一句。", "第二句！", "“第三句。”", "第四"]),
        ("हाँ। नहीं।", ["हाँ।", "नहीं।"]),
        ("هل هذا صحيح؟ نعم.", ["هل هذا صحيح؟", "نعم."]),
        ("a wrapped\nline goes on. Next", ["a wrapped\nline goes on.", "Next"]),
        ("one\n\ntwo", ["one", "two"]),
        ("one\n \t\ntwo", ["one", "two"]),
        ("Name | Age\nAnn | 5. Maybe", ["Name | Age", "Ann | 5.", "Maybe"]),
        ("Intro:\n- first\n  goes on\n- second\n1. third", ["Intro:", "- first\n  goes on", "- second", "1. third"]),
        ("# Title\nText", ["# Title", "Text"]),
        ("name: Ann\nage: 5", ["name: Ann", "age: 5"]),
    ],
)
def test_ends(text: str, expected: list[str]) -> None:

    assert cut(text) == expected


def test_numbers_and_abbreviations() -> None:
    text = "It costs 3.50 euros. See Fig. 3 and No. 5. He said no. Fine."
    assert cut(text) == ["It costs 3.50 euros.", "See Fig. 3 and No. 5.", "He said no.", "Fine."]


@given(st.text(alphabet=st.sampled_from('aB1 .!?。！\n\t|-:"”)é中\u200d\u0301א#'), max_size=200))
def test_spans_ascend_and_hold_everything_but_white_space(text: str) -> None:
    end = 0
    for start, stop in sentences(text):
        assert start >= end
        assert not text[end:start].strip()
        assert text[start:stop] == text[start:stop].strip() != ""
        end = stop
    assert not text[end:].strip()


@pytest.mark.parametrize("unit", [".", "a.\n", "x ", ". ", '."', "a", "A. ", "- a\n", "。"])
def test_time_grows_with_length(unit: str) -> None:
    text = unit * (500_000 // len(unit))
    began = time.perf_counter()
    sentences(text)
    assert time.perf_counter() - began < 3
