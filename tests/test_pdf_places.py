"""PDF: boxes on the page, tables, columns, turned pages, outlines, page labels, long documents."""

import io
from pathlib import Path

import pytest
from drawn import HEIGHT, WIDTH, drawn, lines, paragraph, shown
from PIL import Image, ImageDraw
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from ingest.chunk import chunk
from ingest.formats.pdf import parse_pdf
from ingest.parse import parse
from rag.errors import EmptyDocument, NeedsOcr
from rag.types import Box, Document, Kind, Piece


def piece_with(document: Document, words: str) -> Piece:
    return next(piece for piece in document.pieces if words in document.text[piece.start : piece.end])


def is_about(box: Box | None, other: Box, slack: float = 4.0) -> bool:
    return box is not None and all(abs(one - two) < slack for one, two in zip(box, other, strict=True))


def picture(text: str, size: tuple[int, int] = (900, 200)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((40, 60), text, fill="black", font_size=60)
    return image


def scan(canvas: Canvas, text: str = "A page of paper") -> None:
    """A page that is nothing but a picture."""
    canvas.drawImage(ImageReader(picture(text, (1240, 1754))), 0, 0, WIDTH, HEIGHT)
    canvas.showPage()


def test_every_piece_has_its_box() -> None:
    """In points from the page's top left corner."""

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        canvas.drawString(100, HEIGHT - 200, "Forty words would be more than this line has.")
        canvas.drawString(100, HEIGHT - 212, "It has a second one, and no more.")

    document = parse_pdf(drawn(draw), "a.pdf")
    width = Canvas(io.BytesIO()).stringWidth("Forty words would be more than this line has.", "Helvetica", 10)
    assert len(document.pieces) == 1
    assert is_about(document.pieces[0].box, (100, 190, 100 + width, 215))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_page_is_read_as_it_is_shown(degrees: int) -> None:
    """`/Rotate` turns the page for the reader; boxes follow what the reader sees."""

    def draw(canvas: Canvas) -> None:
        canvas.setPageRotation(degrees)
        # What the viewer turns clockwise was written turned the other way.
        canvas.translate(*{0: (0, 0), 90: (HEIGHT, 0), 180: (WIDTH, HEIGHT), 270: (0, WIDTH)}[degrees])
        canvas.rotate(degrees)
        paragraph(canvas, 60, HEIGHT - 100, lines(5, "First"))
        paragraph(canvas, 60, HEIGHT - 200, lines(5, "Second"))

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [text.split()[0] for _, _, text in shown(document)] == ["First", "Second"]
    box = document.pieces[1].box
    assert box is not None
    assert is_about((box[0], box[1], box[0], box[3]), (60, 190, 60, 251))


def test_text_turned_on_an_upright_page() -> None:
    """A table in landscape on a page in portrait is read behind the rest, its box as on the page."""

    def draw(canvas: Canvas) -> None:
        paragraph(canvas, 60, HEIGHT - 60, lines(4, "Upright"))
        canvas.rotate(90)
        paragraph(canvas, 100, -300, lines(8, "Sideways", 60))

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [text.split()[0] for _, _, text in shown(document)] == ["Upright", "Sideways"]
    left, top, right, bottom = document.pieces[1].box or (0, 0, 0, 0)
    assert 285 < left < 300
    assert 370 < right < 400
    assert bottom == pytest.approx(HEIGHT - 100, abs=4)
    assert top < bottom - 200


def test_three_columns_are_read_one_after_the_other() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        columns = [lines(40, mark, 30) for mark in ("LEFT", "MIDDLE", "RIGHT")]
        for row, cells in enumerate(zip(*columns, strict=True)):
            for column, text in enumerate(cells):
                canvas.drawString(50 + 170 * column, 760 - 11 * row, text)

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [text.split()[0] for _, _, text in shown(document)] == ["LEFT", "MIDDLE", "RIGHT"]


def test_a_word_parted_between_two_columns_is_mended() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        left, right = lines(24, "LEFT", 42), lines(24, "lation RIGHT", 42)
        left[-1] = "and now the last line ends in the instal-"
        for row, (one, other) in enumerate(zip(left, right, strict=True)):
            canvas.drawString(50, 740 - 12 * row, one)
            canvas.drawString(310, 740 - 12 * row, other)

    document = parse_pdf(drawn(draw), "a.pdf")
    assert len(document.pieces) == 1
    assert "ends in the installation RIGHT" in " ".join(document.text.split())


def grid(canvas: Canvas, top: float, rows: list[list[str]], widths: list[float], left: float = 60) -> None:
    """A table with all its rules; cells may have lines."""
    canvas.setFont("Helvetica", 9)
    edges = [left + sum(widths[:at]) for at in range(len(widths) + 1)]
    y = top
    levels = [y]
    for row in rows:
        for edge, cell in zip(edges, row, strict=False):
            for number, line in enumerate(cell.split("\n")):
                canvas.drawString(edge + 2, y - 10 - 10 * number, line)
        y -= 4 + 10 * max(cell.count("\n") + 1 for cell in row)
        levels.append(y)
    canvas.grid(edges, levels)


def test_a_table_between_rules_keeps_its_header_and_rows() -> None:
    rows = [["Part", "Needed for", "Price"]] + [
        [f"P-{n}", f"pumping water\nthrough coil {n}", f"{n}.50"] for n in range(1, 6)
    ]

    def draw(canvas: Canvas) -> None:
        y = paragraph(canvas, 60, HEIGHT - 60, lines(4, "Before"))
        grid(canvas, y, rows, [40, 70, 50])
        paragraph(canvas, 60, y - 200, lines(4, "After"))

    document = parse_pdf(drawn(draw), "a.pdf")
    table = [piece for piece in document.pieces if piece.kind is Kind.ROW]
    texts = [document.text[piece.start : piece.end] for piece in table]
    assert texts == ["Part | Needed for | Price"] + [
        f"P-{n} | pumping water through coil {n} | {n}.50" for n in range(1, 6)
    ]
    assert [piece.table_header for piece in table] == [""] + [texts[0]] * 5
    assert [kind for _, kind, _ in shown(document)] == ["paragraph", *["row"] * 6, "paragraph"]
    tops = [piece.box[1] for piece in table if piece.box]
    assert tops == sorted(tops)
    assert len(tops) == 6


@pytest.mark.parametrize("repeats_header", [True, False])
def test_a_table_over_two_pages_keeps_its_header(repeats_header: bool) -> None:
    header = ["Part", "Price"]
    rows = [[f"P-{n}", f"{n}.50"] for n in range(60)]

    def draw(canvas: Canvas) -> None:
        grid(canvas, HEIGHT - 60, [header, *rows[:45]], [100, 100])
        canvas.showPage()
        grid(canvas, HEIGHT - 60, [header, *rows[45:]] if repeats_header else rows[45:], [100, 100])

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [text for _, _, text in shown(document)] == ["Part | Price", *(" | ".join(row) for row in rows)]
    assert {piece.table_header for piece in document.pieces[1:]} == {"Part | Price"}
    assert [piece.page for piece in document.pieces] == [1] * 46 + [2] * 15
    for made in chunk(document, max_tokens=64):
        assert made.text.split("\n") == [text for text in made.text.split("\n") if text in document.text.split("\n")]
        assert "Part | Price" in made.searched


def test_what_stands_over_a_table_is_not_its_header() -> None:
    rows = [["Prices of this year"], ["Part", "Price"], *([f"P-{n}", f"{n}.50"] for n in range(4))]
    document = parse_pdf(drawn(lambda canvas: grid(canvas, HEIGHT - 60, rows, [100, 100])), "a.pdf")
    assert shown(document)[:3] == [
        (1, "paragraph", "Prices of this year"),
        (1, "row", "Part | Price"),
        (1, "row", "P-0 | 0.50"),
    ]
    assert document.pieces[2].table_header == "Part | Price"


def test_boxes_with_two_columns_of_text_are_no_table() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        for at in range(9):
            canvas.drawString(80, 700 - 12 * at, "some words that go on in this box")
            canvas.drawString(300, 700 - 12 * at, "and others in the column beside it")
        for y in (720, 712, 590):
            canvas.line(75, y, 480, y)

    assert Kind.ROW not in {piece.kind for piece in parse_pdf(drawn(draw), "a.pdf").pieces}


def test_a_table_with_rules_above_and_below_alone() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        rows = [("Model", "Size", "Score"), *((f"Model {n}", f"{n} GB", f"{n}7.5") for n in range(1, 8))]
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                canvas.drawString(80 + 120 * column, 700 - 14 * number, cell)
        for y in (712, 696, 596):
            canvas.line(75, y, 400, y)
        paragraph(canvas, 60, 560, lines(6, "After"))

    document = parse_pdf(drawn(draw), "a.pdf")
    assert shown(document)[3] == (1, "row", "Model 3 | 3 GB | 37.5")
    assert document.pieces[3].table_header == "Model | Size | Score"


def test_text_in_columns_is_no_table() -> None:
    """Neither are lists with marks, nor names with what they mean."""

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        for row in range(12):
            canvas.drawString(60, 740 - 14 * row, "•")
            canvas.drawString(90, 740 - 14 * row, f"item {row} of a list that goes on")
            canvas.drawString(60, 500 - 14 * row, f"term{'abcdefghijkl'[row]}")
            canvas.drawString(160, 500 - 14 * row, "means something that takes words to say")

    document = parse_pdf(drawn(draw), "a.pdf")
    assert Kind.ROW not in {piece.kind for piece in document.pieces}


def test_the_outline_says_what_is_a_heading() -> None:
    """Also where the type does not; and at which level."""

    def draw(canvas: Canvas) -> None:
        y = HEIGHT - 60
        for level, name in enumerate(["Using it", "Cleaning", "The filter"]):
            canvas.bookmarkPage(name)
            canvas.addOutlineEntry(name, name, level)
            y = paragraph(canvas, 60, y, [name])
            y = paragraph(canvas, 60, y, lines(4, f"Text{level}"))
        canvas.showPage()
        canvas.bookmarkPage("unprinted")
        canvas.addOutlineEntry("Never printed", "unprinted", 0)
        paragraph(canvas, 60, y, lines(4, "Text3"))

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [kind for _, kind, _ in shown(document)] == ["heading", "paragraph"] * 3 + ["paragraph"]
    assert piece_with(document, "Text2").headings == ("Using it", "Cleaning", "The filter")
    assert piece_with(document, "Text1").headings == ("Using it", "Cleaning")


def test_an_outline_that_names_nothing_in_print_is_not_believed() -> None:
    def draw(canvas: Canvas) -> None:
        for number in range(4):
            canvas.bookmarkPage(f"b{number}")
            canvas.addOutlineEntry(f"Slide from some other talk {number}", f"b{number}", 0)
            paragraph(canvas, 60, HEIGHT - 100, lines(4, f"Text{number}"))
            canvas.showPage()

    assert {piece.headings for piece in parse_pdf(drawn(draw), "a.pdf").pieces} == {()}


def test_page_labels_are_told() -> None:
    """Pages themselves are counted from 1 in any case."""

    def draw(canvas: Canvas) -> None:
        canvas.addPageLabel(0, style="ROMAN_LOWER", start=1)
        canvas.addPageLabel(3, style="ARABIC", start=1)
        canvas.addPageLabel(5, style="ARABIC", start=1, prefix="A-")
        for number in range(7):
            paragraph(canvas, 60, HEIGHT - 100, lines(3, f"Text{number}"))
            canvas.showPage()

    document = parse_pdf(drawn(draw), "a.pdf")
    assert document.metadata["page_labels"] == "1=i, 4=1, 6=A-1"
    assert [piece.page for piece in document.pieces] == list(range(1, 8))
    plain = drawn(lambda canvas: paragraph(canvas, 60, HEIGHT - 100, lines(3, "Text")))
    assert "page_labels" not in parse_pdf(plain, "a.pdf").metadata


def test_running_heads_of_a_long_document_in_bounded_memory() -> None:
    """Also on the last few pages, which are read after the others are done with."""

    def draw(canvas: Canvas) -> None:
        for number in range(1, 520):
            canvas.setFont("Helvetica", 8)
            canvas.drawString(72, 815, "The Pump Manual")
            canvas.drawString(290, 20, f"Page {number}")
            paragraph(canvas, 72, 760, lines(3, f"Body{number}x"))
            canvas.showPage()

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [text.split()[0] for _, _, text in shown(document)] == [f"Body{number}x" for number in range(1, 520)]
    assert [piece.page for piece in document.pieces] == list(range(1, 520))


def test_scanned_pages_need_ocr() -> None:
    """A document of pictures alone is no empty success; the message says which pages and what to install."""

    def draw(canvas: Canvas) -> None:
        for _ in range(3):
            scan(canvas)

    with pytest.raises(NeedsOcr, match=r"a\.pdf needs OCR: pages 1-3 are images"):
        parse_pdf(drawn(draw), "a.pdf", ocr=False)


def test_the_other_pages_of_a_partly_scanned_document_are_read() -> None:
    def draw(canvas: Canvas) -> None:
        scan(canvas)
        paragraph(canvas, 60, HEIGHT - 100, lines(4, "Written"))
        canvas.showPage()
        scan(canvas)
        scan(canvas)
        canvas.showPage()

    document = parse_pdf(drawn(draw), "a.pdf", ocr=False)
    assert [(page, text.split()[0]) for page, _, text in shown(document)] == [(2, "Written")]
    assert document.metadata["pages_without_text"] == "1, 3-4"


def test_blank_pages_are_empty_not_scanned(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(drawn(lambda canvas: canvas.rect(10, 10, 50, 50)))
    with pytest.raises(EmptyDocument, match="no text"):
        parse(path, "a.pdf")


def test_what_is_filled_into_a_form_is_text() -> None:
    def draw(canvas: Canvas) -> None:
        paragraph(canvas, 60, 700, ["Name of the applicant"])
        canvas.acroForm.textfield(name="name", x=60, y=640, width=200, height=20, value="Ada Lovelace")

    document = parse_pdf(drawn(draw), "a.pdf")
    assert "Ada Lovelace" in document.text
    assert is_about(piece_with(document, "Ada").box, (62, HEIGHT - 660, 125, HEIGHT - 640), 12)


def test_a_chunk_has_the_box_of_its_pieces() -> None:
    def draw(canvas: Canvas) -> None:
        y = paragraph(canvas, 60, HEIGHT - 60, lines(4, "First"))
        paragraph(canvas, 90, y, lines(4, "Second"))
        canvas.showPage()
        paragraph(canvas, 60, HEIGHT - 60, lines(4, "Third"))

    document = parse_pdf(drawn(draw), "a.pdf")
    first, second, third = (piece.box for piece in document.pieces)
    assert first is not None
    assert second is not None
    chunks = chunk(document, max_tokens=512)
    assert [made.page for made in chunks] == [1, 2]
    assert chunks[0].box == (60.0, first[1], second[2], second[3])
    assert chunks[1].box == third
