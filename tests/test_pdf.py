"""PDF: reading order, paragraphs, headings, running heads, and files that cannot be read."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drawn import drawn, lines, paragraph, shown
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from ingest.parse import parse
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document, Kind


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Document]:
    def read(data: bytes) -> Document:
        path = tmp_path / "a.pdf"
        path.write_bytes(data)
        document = parse(path, "a.pdf")
        end = 0
        for piece in document.pieces:
            assert piece.start >= end
            assert not document.text[end : piece.start].strip()
            end = piece.end
        assert end == len(document.text)
        return document

    return read


Read = Callable[[bytes], Document]


def test_paragraphs_headings_and_pages(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        y = paragraph(canvas, 72, 760, ["The Pump Manual"], 20, "Helvetica-Bold")
        y = paragraph(canvas, 72, y, ["1 Use"], 14, "Helvetica-Bold")
        y = paragraph(canvas, 72, y, lines(4, "First"))
        y = paragraph(canvas, 72, y, lines(3, "Second"))
        y = paragraph(canvas, 72, y, ["1.1 Care"], 12, "Helvetica-Bold")
        paragraph(canvas, 72, y, lines(3, "Third"))
        canvas.showPage()
        paragraph(canvas, 72, 760, lines(3, "Fourth"))

    document = read(drawn(draw))
    assert document.title == "The Pump Manual"
    assert [(page, kind, text.split()[0]) for page, kind, text in shown(document)] == [
        (1, "heading", "The"),
        (1, "heading", "1"),
        (1, "paragraph", "First"),
        (1, "paragraph", "Second"),
        (1, "heading", "1.1"),
        (1, "paragraph", "Third"),
        (2, "paragraph", "Fourth"),
    ]
    assert document.pieces[-1].headings == ("The Pump Manual", "1 Use", "1.1 Care")
    assert "\n" not in shown(document)[2][2], "lines that fill the paragraph run on"


def test_two_columns_are_read_one_after_the_other(read: Read) -> None:
    """Also where the file draws them line by line, across both."""

    def draw(canvas: Canvas) -> None:
        paragraph(canvas, 120, 790, ["A title over both of the columns of this page"], 16, "Helvetica-Bold")
        left, right = lines(24, "LEFT", 42), lines(24, "RIGHT", 42)
        canvas.setFont("Helvetica", 10)
        for row, (one, other) in enumerate(zip(left, right, strict=True)):
            canvas.drawString(50, 740 - 12 * row, one)
            canvas.drawString(310, 740 - 12 * row, other)

    document = read(drawn(draw))
    assert [text.split()[0] for _, _, text in shown(document)] == ["A", "LEFT", "RIGHT"]


def test_a_table_is_read_row_by_row(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        for row in range(20):
            canvas.drawString(72, 740 - 14 * row, f"part {row}")
            canvas.drawString(350, 740 - 14 * row, f"price {row}")

    assert "part 7 | price 7" in read(drawn(draw)).text


def test_running_heads_and_feet_are_left_out(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        for page in range(1, 7):
            canvas.setFont("Helvetica", 8)
            canvas.drawString(72, 815, "The Pump Manual" if page % 2 else "Chapter on care")
            canvas.drawString(290, 20, f"Page {page} of 6")
            paragraph(canvas, 72, 760, lines(5, f"Body{page}"))
            canvas.drawString(72, 30, f"A footnote on page {'abcdef'[page - 1] * 3}")
            canvas.showPage()

    text = read(drawn(draw)).text
    assert "Manual" not in text
    assert "Chapter" not in text
    assert "of 6" not in text
    assert [f"Body{page}" in text and "abcdef"[page - 1] * 3 in text for page in range(1, 7)] == [True] * 6


def test_few_pages_keep_what_they_repeat(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        for page in range(3):
            canvas.drawString(72, 815, "Letterhead")
            paragraph(canvas, 72, 760, lines(3, f"Body{page}"))
            canvas.showPage()

    assert read(drawn(draw)).text.count("Letterhead") == 3


def test_words_parted_at_a_line_end_are_mended(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        first = ["The installa-", "tion of a state-of-", "the-art well-", "known pump. Here well-known stands whole"]
        paragraph(canvas, 72, 760, first)

    text = " ".join(read(drawn(draw)).text.split())
    assert "installation" in text
    assert "state-of-the-art" in text
    assert "a well-known" not in text
    assert text.count("well-known") == 2


def test_headings_in_capitals_and_type_without_headings(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        y = paragraph(canvas, 72, 760, ["II. RELATED WORK"], 8)
        y = paragraph(canvas, 72, y, lines(4, "First"))
        paragraph(canvas, 72, y, ["3.1 TASKS"], 8)

    document = read(drawn(draw))
    assert [kind for _, kind, _ in shown(document)] == ["heading", "paragraph", "heading"]
    assert document.pieces[-1].headings == ("II. RELATED WORK", "3.1 TASKS")
    assert document.title == "", "nothing is large enough to be a title"


def test_list_items(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        paragraph(canvas, 72, 760, ["1. Close the valve.", "2. Open the tap,", "slowly.", "3. Wait."])

    assert [kind for _, kind, _ in shown(read(drawn(draw)))] == [Kind.LIST_ITEM] * 3


def test_unreadable(read: Read) -> None:
    locked = drawn(lambda canvas: canvas.drawString(72, 700, "secret"), encrypt=StandardEncryption("pw"))
    with pytest.raises(UnreadableDocument, match=r"a\.pdf is encrypted"):
        read(locked)
    with pytest.raises(EmptyDocument, match="no text"):
        read(drawn(lambda canvas: canvas.rect(10, 10, 50, 50)))
    with pytest.raises(UnreadableDocument, match="damaged"):
        read(b"%PDF-1.7\nnothing that follows is one")


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    paths = []
    for number in range(8):
        paths.append(tmp_path / f"{number}.pdf")
        paths[-1].write_bytes(drawn(lambda canvas, n=number: paragraph(canvas, 72, 760, lines(30, f"Number{n}"))))
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda path: parse(path, path.name).text, paths))
    assert [text.split()[0] for text in texts] == [f"Number{number}" for number in range(8)]
