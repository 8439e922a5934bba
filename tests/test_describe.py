"""Images described by a model that sees. None can be had here: a server of recorded shapes says what it would."""

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from drawn import HEIGHT, drawn, paragraph
from lmstudio_server import CHAT, OTHER, FakeLMStudio, lm_studio
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

import rag.errors as errors
from ingest.describe import describer
from ingest.formats.pdf import parse_pdf
from ingest.formats.pictures import Pictures
from ingest.frames import Picture, packed, packed_words, unpacked, unpacked_task
from ingest.parse import parse, read_all
from ingest.pipeline import ingest
from ingest.report import Outcome
from rag.knowledge_base import KnowledgeBase
from rag.store.kept import Kept
from rag.types import IMAGE_DESCRIPTION, Document

SAID = "A red mast with a clamp. Its label reads 9 Nm."
CHAT_PATH = "/v1/chat/completions"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeLMStudio]:
    monkeypatch.setenv("PATH", str(tmp_path))  # no Tesseract, whatever is installed
    with lm_studio() as running:
        running.rows[OTHER].vision = True
        running.says = SAID
        yield running


def picture(colour: str = "red", size: tuple[int, int] = (200, 120)) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, colour).save(target, "PNG")
    return target.getvalue()


def pdf() -> bytes:
    def draw(canvas: Canvas) -> None:
        paragraph(canvas, 72, HEIGHT - 100, ["The mast stands on the roof and is held by four bolts."])
        canvas.drawImage(ImageReader(io.BytesIO(picture())), 72, 300, 200, 120)
        canvas.drawImage(ImageReader(io.BytesIO(picture("blue", (20, 20)))), 300, 300, 20, 20)
        canvas.showPage()
        paragraph(canvas, 72, HEIGHT - 100, ["The console stands in the kitchen."])

    return drawn(draw)


def pptx() -> bytes:
    from pptx import Presentation
    from pptx.util import Inches

    show = Presentation()
    for title in ("The mast", "The console"):
        slide = show.slides.add_slide(show.slide_layouts[5])
        slide.shapes.title.text = title
        slide.shapes.add_picture(io.BytesIO(picture()), Inches(1), Inches(2))
    target = io.BytesIO()
    show.save(target)
    return target.getvalue()


def docx() -> bytes:
    from docx import Document as Word

    word = Word()
    word.add_heading("The mast", 1)
    word.add_paragraph("The mast stands on the roof.")
    word.add_picture(io.BytesIO(picture()))
    word.add_paragraph("It is held by four bolts.")
    target = io.BytesIO()
    word.save(target)
    return target.getvalue()


def tiff() -> bytes:
    target = io.BytesIO()
    pages = [Image.new("RGB", (200, 120), colour) for colour in ("red", "red", "blue")]
    pages[0].save(target, "TIFF", save_all=True, append_images=pages[1:])
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.png", picture, [(None, (IMAGE_DESCRIPTION,), 1)]),
        ("a.tiff", tiff, [(None, (IMAGE_DESCRIPTION,), 1), (None, (IMAGE_DESCRIPTION,), 3)]),
        ("a.pdf", pdf, [("four bolts", (IMAGE_DESCRIPTION,), 1)]),
        ("a.pptx", pptx, [("image.png", ("The mast", IMAGE_DESCRIPTION), 1)]),
        ("a.docx", docx, [("on the roof", ("The mast", IMAGE_DESCRIPTION), None)]),
    ],
)
def test_a_description_stands_where_the_picture_does(
    tmp_path: Path, name: str, make: Callable[[], bytes], expected: list[tuple[str | None, tuple[str, ...], int | None]]
) -> None:
    """Once for each different picture; bullets and lines are none. All else is as without."""
    (tmp_path / name).write_bytes(make())
    seen: list[bytes] = []

    def look(data: bytes) -> str:
        seen.append(data)
        return SAID

    (document,) = read_all(tmp_path / name, name, look=look)
    assert isinstance(document, Document)
    texts = [document.text[piece.start : piece.end] for piece in document.pieces]
    at = [index for index, text in enumerate(texts) if text == f"Image: {SAID}"]
    found = [(document.pieces[index].headings, document.pieces[index].page) for index in at]
    assert [headings for headings, _ in found] == [headings for _, headings, _ in expected]
    assert [page for _, page in found] == [page for *_, page in expected]
    for index, (before, *_) in zip(at, expected, strict=True):
        assert before is None or before in texts[index - 1]
    assert document.metadata["images_described"] == str(len(expected)) == str(len(seen))
    assert all(Image.open(io.BytesIO(data)).format == "JPEG" for data in seen)
    if name not in ("a.png", "a.tiff"):
        without = parse(tmp_path / name, name)
        assert [text for text in texts if not text.startswith("Image: ")] == [
            without.text[piece.start : piece.end] for piece in without.pieces
        ]


def test_pictures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.formats.pictures._MOST_PICTURES", 2)
    asked: list[bytes] = []
    pictures = Pictures(lambda data: asked.append(data) or "A hen.")
    told = [pictures.words_in(picture(colour, (3000, 900))) for colour in ("red", "blue", "green")]
    assert told == ["Image: A hen.", "Image: A hen.", ""]
    assert [Image.open(io.BytesIO(data)).size for data in asked] == [(1024, 307)] * 2
    assert Pictures(lambda _: "A hen.").words_in(b"no picture") == ""
    assert Pictures(lambda _: "A hen.").words_in(picture(size=(20, 500))) == ""
    assert Pictures(None).words_in(picture()) == ""


def test_a_picture_goes_over_the_pipe() -> None:
    assert unpacked(packed(Picture(b"\x00\xff"))) == Picture(b"\x00\xff")
    assert unpacked_task(packed_words("A hen.")) == "A hen."
    with pytest.raises(ValueError, match="base64"):
        unpacked(b'["picture", "?"]')


def ingested(base: KnowledgeBase, folder: Path, **changes: object) -> list[Outcome]:
    return ingest(folder, into=base, workers=1, **changes).outcomes  # type: ignore[arg-type]


def test_described_once_found_and_told_from_the_documents_words(server: FakeLMStudio, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "mast.png").write_bytes(picture())
    (docs / "slides.pptx").write_bytes(pptx())
    settings = replace(server.settings, describe_images=True)
    with KnowledgeBase(tmp_path / "notes.kb", settings=settings) as base:
        outcomes = ingested(base, docs)
        assert {(one.source, one.reason) for one in outcomes} == {
            ("docs/mast.png", "images described: 1"),
            ("docs/slides.pptx", "images described: 1"),
        }
        (body,) = server.bodies(CHAT_PATH)  # the same picture twice is asked about once
        assert body["model"] == OTHER
        address = body["messages"][0]["content"][1]["image_url"]["url"]
        kind, _, data = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (200, 120)
        (docs / "again.png").write_bytes(picture())
        ingested(base, docs)
        assert len(server.bodies(CHAT_PATH)) == 1
        assert base.text("docs/again.png") == f"Image: {SAID}"
        answer = base.summarize("mast.png").answer
        assert answer.citations
        for citation in answer.citations:
            assert base.text(citation.source)[citation.start : citation.end] == citation.quote
            assert citation.standing == "verified, in a model's description of an image"
        assert "model's description" in str(answer)


def test_without_a_model_that_sees_it_is_said_and_goes_on(server: FakeLMStudio, tmp_path: Path) -> None:
    server.rows[OTHER].vision = False
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "slides.pptx").write_bytes(pptx())
    told: list[str] = []
    settings = replace(server.settings, describe_images=True)
    with KnowledgeBase(tmp_path / "notes.kb", settings=settings, notify=told.append) as base:
        (outcome,) = ingested(base, tmp_path / "docs")
        assert (outcome.status, outcome.reason) == ("added", "")
        (notice,) = [line for line in told if "Images are not described" in line]
        assert "rag models get" in notice
        assert "RAG_VISION_MODEL" in notice
    with pytest.raises(errors.ModelNotFound, match="nobody"):
        describer(replace(settings, vision_model="nobody"), Kept(tmp_path / "kept"), told.append)


def test_a_server_that_fails_is_not_asked_for_ever(server: FakeLMStudio, tmp_path: Path) -> None:
    told: list[str] = []
    describe = describer(replace(server.settings, vision_model=CHAT), Kept(tmp_path / "kept"), told.append)
    assert describe is not None
    for _ in range(20):
        server.fail(CHAT_PATH, 400, "Vision add-on is not loaded, but images were provided for processing")
    assert [describe(picture(colour)) for colour in ("red", "green", "blue", "black")] == [""] * 4
    described = [line for line in told if "could not be described" in line]
    assert len(described) == 3
    assert "no more are tried" in described[-1]
    asked = len(server.bodies(CHAT_PATH))
    assert describe(picture("white")) == ""
    assert len(server.bodies(CHAT_PATH)) == asked
    describe.close()


def test_thoughts_are_no_description(server: FakeLMStudio, tmp_path: Path) -> None:
    server.say("<think>What is it?</think>", "A hen.")
    describe = describer(replace(server.settings, vision_model=CHAT), Kept(tmp_path / "kept"), lambda _: None)
    assert describe is not None
    assert describe(picture()) == describe(picture()) == "A hen."
    assert len(server.bodies(CHAT_PATH)) == 1
    describe.close()


def test_pdf_pictures_are_not_looked_at_unasked() -> None:
    assert "Image" not in parse_pdf(pdf(), "a.pdf").text
