"""What an answer claims: its sentences and the markers that models write, in the many forms they have."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.citing.claims import Claim, claims, refuses


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
        "It lasts 24 months [^1].",
        "It lasts 24 months [Source 1].",
        "It lasts [1] 24 months.",
        "[1] It lasts 24 months.",
    ],
)
def test_markers_of_every_form_belong_to_their_sentence(text: str) -> None:
    assert claims(text) == [Claim("It lasts 24 months.", (1,))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A hen [1, 2]. D e fox [2][3].", [("A hen.", (1, 2)), ("D e fox.", (2, 3))]),
        ("A hen [1-3]. A fox [1 and 4].", [("A hen.", (1, 2, 3)), ("A fox.", (1, 4))]),
        ("A hen.[1] A fox.[2]", [("A hen.", (1,)), ("A fox.", (2,))]),
        ("[1] A hen. [2] A fox.", [("A hen.", (1,)), ("A fox.", (2,))]),
        ('He said "hens." [1] A fox.', [('He said "hens."', (1,)), ("A fox.", ())]),
        ("电池寿命为24个月。[1]外壳是钢制的。[2]", [("电池寿命为24个月。", (1,)), ("外壳是钢制的。", (2,))]),
        ("- a hen [1]\n- a fox [2]", [("- a hen", (1,)), ("- a fox", (2,))]),
    ],
)
def test_several_markers(text: str, expected: list[tuple[str, tuple[int, ...]]]) -> None:
    assert [(one.text, one.marked) for one in claims(text)] == expected


@pytest.mark.parametrize(
    "text",
    ["Use a[i] and [sic] and array[2024].", "Take `row[1]` of it.", "Call ``a[1] ` b[2]`` now.", "See [the map](x)."],
)
def test_brackets_that_are_no_markers_stay(text: str) -> None:
    assert claims(text) == [Claim(text, ())]


def test_a_block_of_code_is_one_and_claims_nothing() -> None:
    code = "```python\nx = a[1]. b\n# No. Not at all.\n```"
    assert claims(f"Write this [1]:\n\n{code}\n\nIt prints 3 [2].") == [
        Claim("Write this:", (1,), asserts=False),
        Claim(code, (), asserts=False),
        Claim("It prints 3.", (2,)),
    ]


@pytest.mark.parametrize(
    ("text", "asserts"),
    [
        ("# Warranty", False),
        ("Is that all?", False),
        ("The steps are:", False),
        ("Yes.", True),
        ("It is.", False),
        ("30.", True),
        ("**Price**: 40 EUR", True),
    ],
)
def test_what_asserts_something(text: str, asserts: bool) -> None:
    assert [one.asserts for one in claims(text)] == [asserts]


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("aB .[1]【】`\n2,-:?。"), max_size=120))
def test_no_word_is_lost(answer: str) -> None:
    said = "".join(one.text for one in claims(answer))
    assert re.sub(r"[^aB]", "", said) == re.sub(r"[^aB]", "", answer)


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
