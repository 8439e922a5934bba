"""Images of text: through Tesseract where it is installed, and a clear outcome where it is not."""

import io
import shutil
from pathlib import Path

import pytest
from drawn import HEIGHT, WIDTH, drawn, paragraph
from PIL import Image, ImageDraw
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from ingest.formats.ocr import IMAGE_SUFFIXES, parse_image, ranges
from ingest.formats.pdf import parse_pdf
from ingest.parse import parse, supported
from rag.errors import EmptyDocument, NeedsOcr, UnreadableDocument

needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="Tesseract is not installed (apt-get install tesseract-ocr)"
)


def page(*texts: str, size: tuple[int, int] = (1240, 1754)) -> Image.Image:
    """A page at 150 dots to the inch, its lines 200 dots below each other."""
    image = Image.new("RGB", size, "white")
    for at, text in enumerate(texts):
        ImageDraw.Draw(image).text((100, 100 + 200 * at), text, fill="black", font_size=50)
    return image


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


@pytest.fixture
def no_tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search path that leads nowhere: the program cannot be found, whatever is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_tesseract")
def test_without_tesseract_a_picture_needs_ocr(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(page("The pump stops")))
    assert supported(path)
    with pytest.raises(NeedsOcr, match=r"a\.png needs OCR: page 1 is .*Tesseract .*apt-get install tesseract-ocr"):
        parse(path, "a.png")


@pytest.mark.usefixtures("no_tesseract")
def test_without_tesseract_a_scan_needs_ocr() -> None:
    """And of a document with both, the written pages are read."""
    scan = ImageReader(page("The pump stops"))

    def draw(canvas: Canvas) -> None:
        for _ in range(2):
            canvas.drawImage(scan, 0, 0, WIDTH, HEIGHT)
            canvas.showPage()

    def draw_both(canvas: Canvas) -> None:
        draw(canvas)
        paragraph(canvas, 60, 700, ["The third page is written."])

    with pytest.raises(NeedsOcr, match=r"a\.pdf needs OCR: pages 1-2 are images"):
        parse_pdf(drawn(draw), "a.pdf")
    document = parse_pdf(drawn(draw_both), "a.pdf")
    assert document.text == "The third page is written."
    assert document.metadata == {"pages_without_text": "1-2"}


def test_ocr_can_be_switched_off() -> None:
    with pytest.raises(NeedsOcr, match="switched off"):
        parse_image(saved(page("The pump stops")), "a.png", ocr=False)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_a_damaged_picture_is_unreadable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture" * 20)
    with pytest.raises(UnreadableDocument, match="damaged picture"):
        parse(path, path.name)


def test_a_picture_that_claims_a_billion_pixels_is_refused() -> None:
    bomb = saved(Image.new("1", (40_000, 30_000)))
    assert len(bomb) < 1_000_000
    with pytest.raises(UnreadableDocument, match="pixels"):
        parse_image(bomb, "a.png")


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([3]) == "3"
    assert ranges([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7-8"


@needs_tesseract
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_a_picture_is_read_with_places(kind: str) -> None:
    data = saved(page("The pump stops when", "The tank above is full"), kind, dpi=(150, 150))
    document = parse_image(data, "a")
    assert "The pump stops when" in document.text
    assert "The tank above is full" in document.text
    assert [piece.page for piece in document.pieces] == [1] * len(document.pieces)
    left, top, right, bottom = document.pieces[-1].box or (0, 0, 0, 0)
    # WebP and GIF do not say how many dots they have to the inch.
    points = 72 / 150 if kind not in {"WEBP", "GIF"} else 1.0
    assert left / points == pytest.approx(100, abs=12)
    assert top / points == pytest.approx(310, abs=20)
    assert right / points == pytest.approx(
        100 + ImageDraw.Draw(page()).textlength("The tank above is full", font_size=50), abs=12
    )
    assert bottom / points == pytest.approx(355, abs=20)


@needs_tesseract
def test_letters_on_nothing_are_read() -> None:
    image = Image.new("RGBA", (900, 300), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((60, 100), "The pump stops", fill=(0, 0, 0, 255), font_size=60)
    assert parse_image(saved(image), "a.png").text == "The pump stops"


def test_a_picture_that_breaks_off_is_unreadable() -> None:
    data = saved(Image.effect_noise((400, 400), 60))
    with pytest.raises(UnreadableDocument, match="damaged picture"):
        parse_image(data[: len(data) // 2], "a.png")


@needs_tesseract
def test_each_picture_of_a_file_is_a_page() -> None:
    pages = [page(f"This is sheet {name}") for name in ("alpha", "beta", "gamma")]
    document = parse_image(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "a.tif")
    assert [(piece.page, document.text[piece.start : piece.end]) for piece in document.pieces] == [
        (1, "This is sheet alpha"),
        (2, "This is sheet beta"),
        (3, "This is sheet gamma"),
    ]
    assert document.metadata == {"pages_by_ocr": "1-3"}


@needs_tesseract
def test_scanned_pages_are_read_among_written_ones() -> None:
    def draw(canvas: Canvas) -> None:
        paragraph(canvas, 60, 700, ["The first page is written."])
        canvas.showPage()
        canvas.drawImage(ImageReader(page("The second one is scanned")), 0, 0, WIDTH, HEIGHT)
        canvas.showPage()

    document = parse_pdf(drawn(draw), "a.pdf")
    assert [(piece.page, document.text[piece.start : piece.end]) for piece in document.pieces] == [
        (1, "The first page is written."),
        (2, "The second one is scanned"),
    ]
    box = document.pieces[1].box
    assert box is not None
    assert box[:2] == pytest.approx((100 * WIDTH / 1240, 110 * HEIGHT / 1754), abs=8)
    assert document.metadata == {"pages_by_ocr": "2"}


@needs_tesseract
@pytest.mark.parametrize("degrees", [90, 180])
def test_a_page_scanned_the_wrong_way_up(degrees: int) -> None:
    """Its boxes are where the words stand on the page as it is."""
    text = [
        "The pump moves water through the coil",
        "and stops when the tank above it is full",
        "of water again. Close the valve behind it",
        "before the filter is taken out and cleaned",
        "with warm water, and never with a brush.",
    ]
    picture = page(*text).rotate(degrees, expand=True)
    document = parse_image(saved(picture, dpi=(72, 72)), "a.png")
    assert "moves water through the coil" in document.text
    found = [piece.box for piece in document.pieces if piece.box]
    assert len(found) == len(document.pieces)
    if degrees == 180:
        assert max(box[3] for box in found) == pytest.approx(1754 - 110, abs=25)
    else:
        assert min(box[0] for box in found) == pytest.approx(110, abs=25)


@needs_tesseract
def test_a_photograph_holds_no_text() -> None:
    with pytest.raises(EmptyDocument, match="no text"):
        parse_image(saved(Image.effect_noise((400, 400), 60)), "a.png")


@needs_tesseract
def test_a_language_that_is_not_installed_is_named() -> None:
    with pytest.raises(NeedsOcr, match="xyz"):
        parse_image(saved(page("The pump stops")), "a.png", ocr_languages="xyz")
