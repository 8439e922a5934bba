"""Chunks are slices: on any text, under any limit."""

import base64
import random
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunk import chunk
from rag import tokens
from rag.types import Chunk, Document, Kind, Piece

LOREM = "The pump moves water through the coil. It stops when the tank is full. A valve keeps pressure low."


def made(blocks: list[tuple[Kind, str, int | None, tuple[str, ...], str]], title: str = "Manual") -> Document:
    """A document of (kind, text, page, headings, table header) blocks."""
    text, pieces = "", []
    for kind, words, page, headings, header in blocks:
        text += "\n\n" if text else ""
        pieces.append(Piece(len(text), len(text) + len(words), kind, page, headings, header))
        text += words
    return Document("manual.md", text, title, tuple(pieces), "test")


def plain(text: str) -> Document:
    return made([(Kind.PARAGRAPH, text, None, (), "")])


def check(document: Document, chunks: list[Chunk], limit: int) -> None:
    """All that every result promises."""
    end = 0
    pages = {index: piece.page for piece in document.pieces for index in (piece.start, piece.end - 1)}
    for ordinal, one in enumerate(chunks):
        assert one.ordinal == ordinal
        assert one.start >= end
        assert one.text == document.text[one.start : one.end] == one.text.strip() != ""
        assert not document.text[end : one.start].strip()
        assert tokens.count(one.text) <= limit
        assert {page for index, page in pages.items() if one.start <= index < one.end} <= {one.page}
        end = one.end
    assert not document.text[end:].strip()


words = st.text(
    alphabet=st.sampled_from("aé中文。, .!?\n\u0301\u200d👩👧🏽🇩🇪שלום\tx-مرحبا\u064eनमस्तेไทยี่각가\u200f\u2067"),
    min_size=1,
    max_size=400,
)
huge = st.builds(
    lambda unit, times: unit * times,
    st.sampled_from(["a", "中", "👩‍👩‍👧", "e\u0301", "🇩🇪", "ab1_"]),
    st.integers(1, 400),
)
blocks = st.lists(
    st.tuples(
        st.sampled_from(list(Kind)),
        (words | huge).filter(lambda text: bool(text.strip())),
        st.sampled_from([1, 2]),
        st.sampled_from([(), ("A",), ("A", "B"), ("C",)]),
        st.just(""),
    ),
    min_size=1,
    max_size=8,
).map(lambda found: sorted(found, key=lambda block: block[2]))


@given(blocks, st.integers(16, 120))
@settings(deadline=None, max_examples=150)
def test_chunks_are_slices_that_cover_the_text(
    found: list[tuple[Kind, str, int | None, tuple[str, ...], str]], limit: int
) -> None:
    document = made(found)
    check(document, chunk(document, max_tokens=limit), limit)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=500), st.integers(16, 64))
@settings(deadline=None, max_examples=100)
def test_any_characters(text: str, limit: int) -> None:
    document = plain(text)
    check(document, chunk(document, max_tokens=limit), limit)


@pytest.mark.parametrize("character", ["👩‍👩‍👧", "e\u0301", "👍🏽", "🇩🇪", "각", "शि", "بَ", "ที่"])
def test_what_a_reader_sees_as_one_character_stays_whole(character: str) -> None:
    for one in chunk(plain(character * 300), max_tokens=40):
        assert len(one.text) % len(character) == 0
        assert not unicodedata.combining(one.text[0])


@pytest.mark.parametrize("unit", ["a", "中", "word ", "😀", "ab1-", "A b. "])
def test_a_line_of_a_megabyte(unit: str) -> None:
    document = plain(unit * (1_000_000 // len(unit)))
    began = time.perf_counter()
    chunks = chunk(document, max_tokens=200)
    assert time.perf_counter() - began < 8
    assert sum(len(one.text.replace(" ", "")) for one in chunks) == len(document.text.replace(" ", ""))
    assert max(tokens.count(one.text) for one in chunks) <= 200


def data(size: int, width: int = 0) -> str:
    """Random bytes as base64, on one line or on lines of a width."""
    text = base64.b64encode(random.Random(size).randbytes(size)).decode()
    return "\n".join(text[at : at + width] for at in range(0, len(text), width)) if width else text


@pytest.mark.parametrize("blob", [data(4_000_000), data(4_000_000, 76), random.Random(1).randbytes(500_000).hex()])
def test_data_pasted_as_text_makes_no_chunks(blob: str) -> None:
    document = made(
        [
            (Kind.HEADING, "Pump", None, ("Pump",), ""),
            (Kind.PARAGRAPH, f"{LOREM}\nkey: {blob}\nBehind it. {LOREM}", None, ("Pump",), ""),
            (Kind.PARAGRAPH, LOREM, None, ("Pump",), ""),
        ]
    )
    before, behind = chunk(document, max_tokens=120)
    assert before.text.startswith(f"Pump\n\n{LOREM}\nkey: ")
    assert before.text.endswith(blob[60:80]), "its beginning can be found"
    assert len(before.text) < 300
    assert behind.text == f"Behind it. {LOREM}\n\n{LOREM}"
    for one in (before, behind):
        assert one.text == document.text[one.start : one.end]


@pytest.mark.parametrize("text", ["a" * 5000, "-" * 5000, "ACGT" * 2000, "donaudampfschifffahrt" * 200, data(600)])
def test_long_words_are_no_data(text: str) -> None:
    document = plain(text)
    check(document, chunk(document, max_tokens=100), 100)


def test_cuts_between_sentences_before_words() -> None:
    chunks = chunk(plain(" ".join([LOREM] * 20)), max_tokens=60)
    assert len(chunks) > 5
    assert all(one.text.endswith(".") for one in chunks)
    sizes = [tokens.count(one.text) for one in chunks]
    assert min(sizes) > 20, "no part is a small remainder"


def test_a_heading_starts_a_chunk_and_stays_with_its_text() -> None:
    found: list[tuple[Kind, str, int | None, tuple[str, ...], str]] = []
    for name in ("Pump", "Valve", "Tank"):
        found.append((Kind.HEADING, name, None, (name,), ""))
        found += [(Kind.PARAGRAPH, LOREM, None, (name,), "")] * 2
    chunks = chunk(made(found), max_tokens=64)
    assert [one.text.split("\n")[0] for one in chunks] == ["Pump", "Valve", "Tank"]
    assert [one.headings for one in chunks] == [("Pump",), ("Valve",), ("Tank",)]
    assert chunks[1].context == "Manual > Valve"


def test_a_heading_stays_with_text_that_fills_a_chunk_by_itself() -> None:
    body = " ".join([LOREM] * 3)
    limit = tokens.count(body)
    document = made([(Kind.HEADING, "Pump", None, ("Pump",), ""), (Kind.PARAGRAPH, body, None, ("Pump",), "")])
    first = chunk(document, max_tokens=limit)[0]
    assert first.text.startswith("Pump\n\nThe pump")


def test_small_neighbours_share_a_chunk_but_only_under_one_heading() -> None:
    def section(*path: str) -> list[tuple[Kind, str, int | None, tuple[str, ...], str]]:
        return [(Kind.HEADING, path[-1], None, path, ""), (Kind.PARAGRAPH, "Short.", None, path, "")]

    document = made(section("A", "one") + section("A", "two") + section("B", "three"))
    assert [one.text.split() for one in chunk(document, max_tokens=90)] == [
        ["one", "Short.", "two", "Short."],
        ["three", "Short."],
    ]


def test_a_chunk_inside_a_table_says_the_header() -> None:
    header = "Name | Price"
    rows = [(Kind.ROW, header, 1, ("Prices",), "")]
    rows += [(Kind.ROW, f"Part {number} | {number}.50", 1, ("Prices",), header) for number in range(40)]
    chunks = chunk(made(rows), max_tokens=50)
    assert chunks[0].context == "Manual > Prices"
    assert len(chunks) > 3
    for one in chunks[1:]:
        assert one.context == f"Manual > Prices\n{header}"
        assert one.text.startswith("Part ")
        assert one.text.endswith(".50"), "rows stay whole"


def test_the_context_is_bounded_and_keeps_the_innermost_heading() -> None:
    path = tuple(f"{letter * 90} end" for letter in "abc")
    document = made([(Kind.ROW, "x", None, path, "h" * 999)], title="T" * 300)
    first, second = chunk(document, max_tokens=50)[0].context.split("\n")
    assert len(first) <= 200
    assert "ccc" in first
    assert len(second) <= 300


def test_a_title_that_is_the_first_heading_is_said_once() -> None:
    document = made([(Kind.PARAGRAPH, "x", None, ("Manual", "Use"), "")], title="Manual")
    assert chunk(document, max_tokens=50)[0].context == "Manual > Use"


def test_a_heading_at_the_foot_of_a_page_joins_what_stands_before_it() -> None:
    document = made(
        [
            (Kind.PARAGRAPH, LOREM, 1, (), ""),
            (Kind.HEADING, "Next", 1, ("Next",), ""),
            (Kind.PARAGRAPH, LOREM, 2, ("Next",), ""),
        ]
    )
    assert [(one.page, one.text.endswith("Next")) for one in chunk(document, max_tokens=60)] == [(1, True), (2, False)]


def test_another_count_is_obeyed() -> None:
    document = plain(" ".join([LOREM] * 5))
    chunks = chunk(document, max_tokens=50, count=len)
    assert max(len(one.text) for one in chunks) <= 50
    check(document, chunks, 50)


def test_a_limit_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        chunk(plain("x"), max_tokens=4)
