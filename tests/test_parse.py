"""Readers of every format, on files that the usual libraries write."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.parse import SUFFIXES, parse, supported
from rag.errors import EmptyDocument, ParseError, UnreadableDocument, UnsupportedFormat
from rag.types import Document, Kind


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str, bytes | str], Document]:
    def read(name: str, content: bytes | str) -> Document:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return checked(parse(path, name))

    return read


def checked(document: Document) -> Document:
    """What every document promises: pieces in order that hold all text but white space (and front matter)."""
    end = 0
    for piece in document.pieces:
        assert piece.start >= end
        assert not document.text[end : piece.start].strip() or document.text.startswith(("---", "+++"))
        assert document.text[piece.start : piece.end].strip()
        assert piece.page is None or piece.page >= 1
        end = piece.end
    assert not document.text[end:].strip()
    assert "\0" not in document.text
    document.text.encode("utf-8")
    return document


def shown(document: Document) -> list[tuple[str, str]]:
    return [(piece.kind.value, document.text[piece.start : piece.end]) for piece in document.pieces]


Read = Callable[[str, bytes | str], Document]

MARKDOWN = """---
title: "The manual"
tags: [a]
---
Preamble.

# Pump `P1`

First paragraph
on two lines.

- item one
  - nested
- item two

```python
x = 1

y = 2
```

Setext
------

| Part | Price |
| ---- | ----: |
| Nut  | 1.50  |
| Bolt | 2.50  |

> quoted

[link]: http://example.org
"""


def test_markdown_is_the_text_of_the_file(read: Read) -> None:
    document = read("manual.md", MARKDOWN)
    assert document.text == MARKDOWN
    assert document.title == "The manual"
    assert shown(document) == [
        ("paragraph", "Preamble."),
        ("heading", "# Pump `P1`"),
        ("paragraph", "First paragraph\non two lines."),
        ("list_item", "- item one"),
        ("list_item", "- nested"),
        ("list_item", "- item two"),
        ("code", "```python\nx = 1\n\ny = 2\n```"),
        ("heading", "Setext\n------"),
        ("row", "| Part | Price |\n| ---- | ----: |"),
        ("row", "| Nut  | 1.50  |"),
        ("row", "| Bolt | 2.50  |"),
        ("paragraph", "> quoted"),
        ("paragraph", "[link]: http://example.org"),
    ]
    row = document.pieces[10]
    assert row.headings == ("Pump P1", "Setext")
    assert row.table_header == "Part | Price"
    assert document.pieces[8].table_header == ""


def test_markdown_titles(read: Read) -> None:
    assert read("a.md", "## Two\n\n# One\n\ntext").title == "One"
    assert read("notes.md", "text").title == "", "a file's name is no part of its content"
    assert read("b.md", "Intro\n\n***\n\n<!-- note -->\n\nEnd").text.startswith("Intro")


@pytest.mark.parametrize(
    "data",
    [
        "Größe: 5 µm\r\n\r\nZweiter".encode("utf-8-sig"),
        "Größe: 5 µm\r\n\r\nZweiter".encode("utf-16"),
        "Größe: 5 µm\r\rZweiter".encode("utf-16-le"),
        "Größe: 5 µm\n\nZweiter".encode(),
    ],
)
def test_encodings_and_line_breaks(read: Read, data: bytes) -> None:
    document = read("a.txt", data)
    assert document.text == "Größe: 5 µm\n\nZweiter"
    assert [kind for kind, _ in shown(document)] == ["paragraph", "paragraph"]


def test_an_encoding_without_a_mark_is_guessed(read: Read) -> None:
    text = "Die Prüfung der Wärmepumpe fällt größtenteils in den März, während die Öfen noch geheizt werden. " * 5
    assert "Wärmepumpe" in read("a.txt", text.encode("cp1252")).text
    text = "Проверка насоса проводится каждую весну перед началом отопительного сезона. " * 5
    assert "насоса" in read("a.txt", text.encode("cp1251")).text


def test_unusable_characters_keep_their_places(read: Read) -> None:
    document = read("a.txt", "The pump\0s <html> manual for owners")
    assert document.text == "The pump\ufffds <html> manual for owners"


@given(st.binary(max_size=400), st.sampled_from(sorted(SUFFIXES - {".epub", ".odt"})))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_document_or_a_parse_error(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    try:
        checked(parse(path, path.name))
    except ParseError as exc:
        told = str(exc)
    else:
        told = path.name
    assert path.name in told


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv(read: Read, delimiter: str) -> None:
    lines = [["Name", "Note"], ["Ann", '"two\nlines"'], ["Bob", ""]]
    document = read("people.csv", "\n".join(delimiter.join(line) for line in lines))
    assert shown(document) == [("row", "Name | Note"), ("row", "Ann | two lines"), ("row", "Bob")]
    assert [piece.table_header for piece in document.pieces] == ["", "Name | Note", "Name | Note"]
    assert document.text == "Name | Note\nAnn | two lines\nBob"
    assert document.title == ""


def test_a_cell_may_be_long(read: Read) -> None:
    assert len(read("a.csv", "id,text\n1," + "word " * 50_000).text) > 200_000


def test_json_lines(read: Read) -> None:
    record = {
        "id": 7,
        "by": {"name": "Ann", "tags": ["x", "y"]},
        "ok": True,
        "none": None,
        "parts": [{"n": 1}, {"n": 2}],
    }
    document = read("a.jsonl", json.dumps(record) + "\n\n" + json.dumps({"id": 8, "text": "one\n\ntwo"}) + "\n")
    assert shown(document) == [
        ("paragraph", "id: 7\nby.name: Ann\nby.tags: x, y\nok: true\nparts.0.n: 1\nparts.1.n: 2"),
        ("paragraph", "id: 8\ntext: one\ntwo"),
    ]
    with pytest.raises(UnreadableDocument, match="line 2"):
        read("b.ndjson", '{"a": 1}\n{"a": \n')


def test_json(read: Read) -> None:
    assert shown(read("a.json", '[{"a": 1}, {"a": 2}]')) == [("paragraph", "a: 1"), ("paragraph", "a: 2")]
    assert read("b.json", '{"a": {"b": "c"}}').text == "a.b: c"
    with pytest.raises(UnreadableDocument, match="line 1"):
        read("c.json", "{")
    with pytest.raises(UnreadableDocument):
        read("d.json", "[" * 100_000)
    with pytest.raises(EmptyDocument):
        read("e.json", "[]")


def saved(thing: object) -> bytes:
    target = io.BytesIO()
    thing.save(target)  # type: ignore[attr-defined]
    return target.getvalue()


def test_xlsx_says_what_the_cells_say(read: Read) -> None:
    import datetime

    book = openpyxl.Workbook()
    first = book.active
    assert first is not None
    first.title = "Prices"
    first["B2"], first["C2"], first["D2"] = "Part", "Price", "Since"
    first["B3"], first["C3"], first["D3"] = "N/A", 3.0, datetime.date(2024, 5, 1)
    first["B4"], first["C4"], first["D4"] = "Bolt\nM8", 3.14159265, datetime.datetime.fromisoformat("2024-05-01T12:30")
    first["C5"] = 0.1 + 0.2
    second = book.create_sheet("Stock")
    second["A1"], second["A2"] = "Count", 1_000_000
    book.create_sheet("Empty")
    document = read("parts.xlsx", saved(book))
    assert [(piece.page, text) for piece, (_, text) in zip(document.pieces, shown(document), strict=True)] == [
        (1, "Prices"),
        (1, "| Part | Price | Since"),
        (1, "| N/A | 3 | 2024-05-01"),
        (1, "| Bolt M8 | 3.14159265 | 2024-05-01 12:30:00"),
        (1, "|  | 0.3"),
        (2, "Stock"),
        (2, "Count"),
        (2, "1000000"),
    ]
    assert document.pieces[2].headings == ("Prices",)
    assert document.pieces[2].table_header == "| Part | Price | Since"
    assert document.pieces[2].kind is Kind.ROW


HTML = """<!doctype html><html><head><title>Pump page</title><style>p {}</style></head><body>
<nav>Home</nav><h1>Pump</h1><p>First <b>bold</b><br>text.</p><h2>Parts</h2>
<ul><li>Nut<ul><li>Small nut</li></ul></li><li>Bolt</li></ul>
<table><tr><th>Part</th><th>Price</th></tr><tr><td>Nut</td><td>1.50</td></tr></table>
<details><summary>How long?</summary><p>Two years.</p></details><figure><figcaption>Figure of it</figcaption></figure>
<pre>x = 1
y = 2</pre><p>Short Title Like</p><script>var x</script><footer>Imprint</footer></body></html>"""


def test_html(read: Read) -> None:
    document = read("pump.html", HTML)
    assert document.title == "Pump page"
    assert shown(document) == [
        ("heading", "Pump"),
        ("paragraph", "First bold text."),
        ("heading", "Parts"),
        ("list_item", "Nut"),
        ("list_item", "Small nut"),
        ("list_item", "Bolt"),
        ("row", "Part | Price"),
        ("row", "Nut | 1.50"),
        ("paragraph", "How long?"),
        ("paragraph", "Two years."),
        ("paragraph", "Figure of it"),
        ("code", "x = 1\ny = 2"),
        ("paragraph", "Short Title Like"),
    ]
    assert document.pieces[7].headings == ("Pump", "Parts")
    assert document.pieces[7].table_header == "Part | Price"
    assert "Nut\nSmall nut\nBolt\n\nPart | Price\nNut | 1.50\n\nHow long?" in document.text


def test_html_in_a_declared_encoding(read: Read) -> None:
    page = '<html><head><meta charset="iso-8859-1"></head><body><p>Wärme über alles</p></body></html>'
    assert read("a.htm", page.encode("latin-1")).text == "Wärme über alles"


def test_docx(read: Read) -> None:
    word = docx.Document()
    word.add_heading("Pump", 1)
    word.add_paragraph("It moves water.")
    word.add_heading("Parts", 2)
    word.add_paragraph("Nut", style="List Bullet")
    word.add_paragraph("Short Title Like")
    table = word.add_table(2, 2)
    for cell, text in zip(table._cells, ["Part", "Price", "Nut", "1.50"], strict=True):
        cell.text = text
    document = read("pump.docx", saved(word))
    assert document.title == "Pump"
    assert shown(document) == [
        ("heading", "Pump"),
        ("paragraph", "It moves water."),
        ("heading", "Parts"),
        ("list_item", "Nut"),
        ("paragraph", "Short Title Like"),
        ("row", "Part | Price"),
        ("row", "Nut | 1.50"),
    ]
    assert document.pieces[-1].headings == ("Pump", "Parts")


def test_docx_text_boxes_controls_insertions_and_formulas(read: Read) -> None:
    from docx.oxml import parse_xml

    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    math = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    word = docx.Document()
    word.add_paragraph("Before.")
    for xml in (
        f"<w:sdt {space}><w:sdtContent><w:p><w:r><w:t>In a control.</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        f"<w:p {space}><w:ins><w:r><w:t>Inserted.</w:t></w:r></w:ins>"
        "<w:del><w:r><w:t>Deleted.</w:t></w:r></w:del></w:p>",
        f"<w:p {space}><w:r><w:pict><w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p>"
        "</w:txbxContent></w:pict></w:r></w:p>",
        f"<w:p {space} {math}><w:r><w:t>Energy: </w:t></w:r><m:oMath><m:r><m:t>E=mc</m:t></m:r></m:oMath></w:p>",
    ):
        word.element.body.insert(len(word.element.body) - 1, parse_xml(xml))
    text = read("a.docx", saved(word)).text
    assert text == "Before.\n\nIn a control.\n\nInserted.\n\nIn a box.\n\nEnergy: E=mc"


def test_pptx(read: Read) -> None:
    show = pptx.Presentation()
    for title, body in (("Pump", "It moves water"), ("Valve", "It keeps pressure")):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    show.slides[1].notes_slide.notes_text_frame.text = "Say this slowly."
    grid = show.slides[1].shapes.add_table(2, 2, 0, 5_000_000, 1_000_000, 500_000).table
    for place, text in enumerate(["Part", "Price", "Nut", "1.50"]):
        grid.cell(place // 2, place % 2).text = text
    document = read("show.pptx", saved(show))
    assert document.title == "Pump"
    assert [
        (piece.page, piece.headings, text) for piece, (_, text) in zip(document.pieces, shown(document), strict=True)
    ] == [
        (1, ("Pump",), "Pump"),
        (1, ("Pump",), "It moves water"),
        (2, ("Valve",), "Valve"),
        (2, ("Valve",), "It keeps pressure"),
        (2, ("Valve",), "Part | Price"),
        (2, ("Valve",), "Nut | 1.50"),
        (2, ("Valve",), "Say this slowly."),
    ]


def zipped(parts: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return target.getvalue()


def by_pandoc(kind: str, words: str, folder: Path) -> bytes:
    import pypandoc

    target = folder / f"made.{kind}"
    pypandoc.convert_text(words, kind, format="markdown", outputfile=str(target))
    return target.read_bytes()


@pytest.fixture
def odt(tmp_path: Path) -> bytes:
    table = "| Part | Price |\n|---|---|\n| Nut | 1.50 |\n"
    return by_pandoc("odt", f"# Pump\n\nIt moves water.\n\n## Parts\n\n- A nut.\n\n{table}", tmp_path)


@pytest.fixture
def epub(tmp_path: Path) -> bytes:
    words = "---\ntitle: The book\n---\n\n# One\n\nFirst chapter.\n\n## Deeper\n\nMore.\n\n# Two\n\nSecond chapter.\n"
    return by_pandoc("epub", words, tmp_path)


def test_epub(read: Read, epub: bytes) -> None:
    document = read("book.epub", epub)
    assert document.title == "The book"
    assert [(piece.headings, text) for piece, (_, text) in zip(document.pieces, shown(document), strict=True)][-4:] == [
        (("One", "Deeper"), "Deeper"),
        (("One", "Deeper"), "More."),
        (("Two",), "Two"),
        (("Two",), "Second chapter."),
    ]


def test_odt(read: Read, odt: bytes) -> None:
    document = read("pump.odt", odt)
    assert document.text == "Pump\n\nIt moves water.\n\nParts\n\nA nut.\n\nPart | Price\nNut | 1.50"
    assert [piece.kind for piece in document.pieces][3:] == [Kind.LIST_ITEM, Kind.ROW, Kind.ROW]
    assert document.pieces[3].headings == ("Pump", "Parts")


def test_mail(read: Read) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ann <ann@example.org>", "bob@example.org", "Wärmepumpe"
    mail["Date"] = "Mon, 06 May 2024 10:00:00 +0200"
    mail.set_content("Dear Bob,\n\nthe pump is here.\n")
    mail.add_alternative("<p>Never this</p>", subtype="html")
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="offer.pdf")
    document = read("a.eml", bytes(mail))
    assert document.title == "Wärmepumpe"
    assert document.text == (
        "From: Ann <ann@example.org>\nTo: bob@example.org\nDate: Mon, 06 May 2024 10:00:00 +0200\n"
        "Subject: Wärmepumpe\n\nDear Bob,\n\nthe pump is here.\n\nAttachment: offer.pdf"
    )
    assert document.pieces[5].headings == ("Wärmepumpe",)


def test_mail_with_html_only(read: Read) -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ann@example.org", "Hello"
    mail.set_content("<h1>News</h1><p>Body.</p>", subtype="html")
    document = read("a.eml", bytes(mail))
    assert document.pieces[-1].headings == ("Hello", "News")
    assert document.text.endswith("News\n\nBody.")
    with pytest.raises(UnreadableDocument, match="not a mail"):
        read("b.eml", "just words")


def test_unsupported(read: Read, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match=r"\.xyz"):
        read("a.xyz", bytes(range(256)))
    assert read("a.xyz", "words").text == "words", "a text is a text, whatever its suffix"
    assert supported(Path("A.PDF"))
    assert not supported(Path("a.exe"))
    (tmp_path / "README").write_text("words")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    assert supported(tmp_path / "README")
    assert not supported(tmp_path / "binary")
    assert not supported(tmp_path / "missing")
    assert read("NOTES", "words").parser == "text"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.html", "a.jsonl", "a.eml"])
@pytest.mark.parametrize("data", [b"", b" \n\t\n"])
def test_no_text(read: Read, name: str, data: bytes) -> None:
    with pytest.raises(EmptyDocument, match=name):
        read(name, data)


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.epub", "a.odt", "a.pdf"])
def test_a_wrong_suffix(read: Read, name: str) -> None:
    with pytest.raises(UnreadableDocument, match=name):
        read(name, "these are plain words")
    with pytest.raises(UnreadableDocument, match="damaged"):
        read(name, zipped({"mimetype": "application/epub+zip"})[:60])
    with pytest.raises(UnreadableDocument, match="empty"):
        read(name, b"")


def test_a_zip_based_file_is_read_as_what_it_is(read: Read) -> None:
    word = docx.Document()
    word.add_paragraph("Words in Word.")
    for name in ("a.pptx", "a.txt", "a"):
        assert read(name, saved(word)).text == "Words in Word."
    with pytest.raises(UnsupportedFormat):
        read("a.docx", zipped({"some.txt": "x"}))


def test_parsing_needs_no_network(tmp_path: Path, odt: bytes, epub: bytes) -> None:
    """A fresh process with closed sockets reads every format that goes through unstructured."""
    word, show = docx.Document(), pptx.Presentation()
    word.add_heading("Pump", 1)
    word.add_paragraph("It moves water.")
    show.slides.add_slide(show.slide_layouts[0]).shapes.title.text = "Pump"
    files = {
        "a.docx": saved(word),
        "a.pptx": saved(show),
        "a.html": HTML.encode(),
        "a.odt": odt,
        "a.epub": epub,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import socket, sys\n"
        "from pathlib import Path\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse\n"
        "from ingest.parse import parse\n"
        "for name in sys.argv[2:]: print(len(parse(Path(sys.argv[1], name), name).pieces))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [int(line) for line in done.stdout.split()] == [2, 1, 13, 6, 6]
    assert not done.stderr


def test_importing_the_readers_is_quick() -> None:
    code = (
        "import sys, ingest.parse\n"
        "slow = 'unstructured spacy pypdfium2 markdown_it lxml openpyxl tiktoken chardet olefile pylatexenc'.split()\n"
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
