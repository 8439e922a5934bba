"""Markers and thoughts in a text that comes in pieces: what is shown does not depend on where it was cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.markers import Kind, MarkerReader, Piece, pieces, shown
from rag.thinking import Thoughts


def cut(text: str, at: list[int]) -> list[str]:
    ends = [0, *sorted(place % (len(text) + 1) for place in at), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def joined(parts: list[Piece]) -> list[Piece]:
    """Pieces without the cuts that text and blocks have between them."""
    whole: list[Piece] = []
    for part in parts:
        if whole and part.kind in (Kind.TEXT, Kind.BLOCK) and whole[-1].kind is part.kind:
            whole[-1] = Piece(part.kind, whole[-1].text + part.text)
        else:
            whole.append(part)
    return whole


MARKS = ("[", "]", "[[1]]", "[1, 2]", "【1】", "【2†source】", "［1］", "[Source 2]", "[^3]", "[1-", "3]", "x = a[1]")
CODE = ("`", "``", "```", "~~~", "\n```\n", "\n```python\n")
PARTS = st.sampled_from([*MARKS, *CODE, "\n", "\n\n", "  ", " ", ". ", "a", "9", "word " * 30, "c" * 400])
TEXTS = st.lists(PARTS, max_size=14).map("".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


@settings(deadline=None, max_examples=400)
@given(TEXTS, CUTS)
def test_pieces_do_not_depend_on_where_the_text_was_cut(text: str, at: list[int]) -> None:
    reader = MarkerReader()
    streamed = [piece for chunk in cut(text, at) for piece in reader.read(chunk)]
    streamed += reader.end()
    assert joined(streamed) == joined(pieces(text))
    assert "".join(piece.text for piece in streamed) == text


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_no_half_marker_is_ever_shown(text: str) -> None:
    """Letter by letter, what is shown only grows, and each marker comes whole."""
    reader, so_far = MarkerReader(), ""
    whole = shown(pieces(text), 3)
    for letter in text:
        so_far += shown(reader.read(letter), 3)
        assert whole.startswith(so_far)
    assert so_far + shown(reader.end(), 3) == whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It lasts 24 months 【1】.", "It lasts 24 months [1]."),
        ("It lasts [[1]], [1, 2]; [Source 2]!", "It lasts [1], [1][2]; [2]!"),
        ("Both [1-3] and ［2］ and [^1]", "Both [1][2][3] and [2] and [1]"),
        ("There are no 9 passages [9].", "There are no 9 passages ."),
        ("Use `row[1]` [1].", "Use `row[1]` [1]."),
        ("One stray ` and [[2]]", "One stray ` and [2]"),
        ("Write\n  ```\n  x = a[[1]]\n\n  y\n  ```\nthen [[1]]", "Write\n  ```\n  x = a[[1]]\n\n  y\n  ```\nthen [1]"),
        ("[a [1] b](x) [sic] [2024]", "[a [1] b](x) [sic] [2024]"),
        ("it is [1", "it is [1"),
    ],
)
def test_markers_have_one_form(text: str, expected: str) -> None:
    assert shown(pieces(text), 3) == expected


def test_what_cannot_become_a_marker_is_shown_at_once() -> None:
    reader = MarkerReader()
    assert shown(reader.read("The pump, see ["), 3) == "The pump, see "
    assert shown(reader.read("a" * 80), 3) == "[" + "a" * 80


def heard(chunks: list[str]) -> tuple[str, str]:
    """The answer and the thoughts, as one who shows both ends up with them."""
    thoughts, answer, thought = Thoughts(), "", ""
    for one in [piece for chunk in chunks for piece in thoughts.read(chunk)] + thoughts.end():
        answer = one.text if one.again else answer + one.text
        thought = one.thought if one.again else thought + one.thought
    return answer, thought


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>\nA hen?\n</think>\n\nA fox.", "\n\nA fox.", "\nA hen?\n"),
        ("A hen?\n</think>\nA fox.", "\nA fox.", "A hen?\n"),
        ("<think>A hen? And then", "", "A hen? And then"),
        ("[THINK]A hen?[/THINK]A fox.", "A fox.", "A hen?"),
        ("<think>A</think>B\n<think>C</think>D", "B\nD", "AC"),
        ("The tag <think> is quoted.", "The tag <think> is quoted.", ""),
        ("a < b and <thin air", "a < b and <thin air", ""),
    ],
)
def test_thoughts_are_told_from_the_answer(text: str, answer: str, thought: str) -> None:
    assert heard([text]) == (answer, thought)
    assert heard(list(text)) == (answer, thought)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<thi", "nk>", "[/THINK]", "[THINK]", "<", "\n", " ", "a"])).map(
        "".join
    ),
    CUTS,
)
def test_thoughts_do_not_depend_on_where_the_text_was_cut(text: str, at: list[int]) -> None:
    assert heard(cut(text, at)) == heard([text])
