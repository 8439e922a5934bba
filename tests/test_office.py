"""Office files old and new, mail, e-books, web pages: what each keeps of its text, order and structure."""

import datetime
import io
from email.message import EmailMessage

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml
from office_files import (
    IN_TABLE,
    LIST_ITEM,
    ROW_END,
    e_book,
    excel97,
    open_document,
    outlook,
    pages,
    powerpoint97,
    word97,
    zipped,
)
from openpyxl.comments import Comment
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from ingest.formats.charsets import declared
from ingest.formats.elements import parse_docx
from ingest.formats.epub import parse_epub
from ingest.formats.iwork import parse_numbers, parse_pages
from ingest.formats.mail import parse_mail, parse_mail_whole
from ingest.formats.numbers import shown as shown_value
from ingest.formats.opendocument import parse_odp, parse_ods, parse_odt
from ingest.formats.outlook import parse_msg, parse_msg_whole
from ingest.formats.powerpoint97 import parse_ppt
from ingest.formats.rtf import parse_rtf, uncompressed
from ingest.formats.sheets import parse_xls, parse_xlsx
from ingest.formats.slides import parse_pptx
from ingest.formats.webpage import parse_html
from ingest.formats.word97 import parse_doc
from rag.errors import EmptyDocument, UnreadableDocument, UnsupportedFormat
from rag.types import Document


def shown(document: Document) -> list[tuple[str, str]]:
    return [(piece.kind.value, document.text[piece.start : piece.end]) for piece in document.pieces]


def saved(thing: object) -> bytes:
    target = io.BytesIO()
    thing.save(target)  # type: ignore[attr-defined]
    return target.getvalue()


WORD97 = (
    ("Pump manual\r", 1, b""),
    ("It costs 5 € and moves “water”.\r", 0, b""),
    ("Parts\r", 2, b""),
    ("Nut\r", 0, LIST_ITEM),
    ("Part\x07", 0, IN_TABLE),
    ("Price\x07", 0, IN_TABLE),
    ("\x07", 0, ROW_END),
    ("Nut\x07", 0, IN_TABLE),
    ("\x07", 0, IN_TABLE),
    ("\x07", 0, ROW_END),
    ("Bolt\rM8\x07", 0, IN_TABLE),
    ("1.50\x07", 0, IN_TABLE),
    ("\x07", 0, ROW_END),
    ("See \x13 HYPERLINK x \x14the page\x15 of 水 and 😀 here.\r", 0, b""),
    ("Kept and gone.\r", 0, b""),
)


def test_doc() -> None:
    document = parse_doc(word97(WORD97, notes="\x02 A note.\r", deleted=" and gone"), "a.doc")
    assert document.title == "Pump manual"
    assert shown(document) == [
        ("heading", "Pump manual"),
        ("paragraph", "It costs 5 € and moves “water”."),
        ("heading", "Parts"),
        ("list_item", "Nut"),
        ("row", "Part | Price"),
        ("row", "Nut"),
        ("row", "Bolt M8 | 1.50"),
        ("paragraph", "See the page of 水 and 😀 here."),
        ("paragraph", "Kept."),
        ("paragraph", "A note."),
    ]
    assert document.pieces[6].table_header == "Part | Price"
    assert document.pieces[6].headings == ("Pump manual", "Parts")
    with pytest.raises(UnreadableDocument, match="encrypted"):
        parse_doc(word97(WORD97, encrypted=True), "a.doc")


def test_ppt() -> None:
    slides = [("Pump", ["It moves\x0bwater"], "Say this slowly."), ("Valve", ["It closes", "It opens"], "")]
    document = parse_ppt(powerpoint97(slides), "a.ppt")
    assert document.title == "Pump"
    assert [
        (piece.page, piece.headings, text) for piece, (_, text) in zip(document.pieces, shown(document), strict=True)
    ] == [
        (1, ("Pump",), "Pump"),
        (1, ("Pump",), "It moves\nwater"),
        (1, ("Pump",), "Say this slowly."),
        (2, ("Valve",), "Valve"),
        (2, ("Valve",), "It closes"),
        (2, ("Valve",), "It opens"),
    ]
    with pytest.raises(UnreadableDocument, match="encrypted"):
        parse_ppt(powerpoint97(slides, encrypted=True), "a.ppt")


def test_xls() -> None:
    document = parse_xls(
        excel97({"Prices": [["All prices"], ["Part", "Price"], ["Größe 水", 1.5], ["Bolt", 2.0]], "Empty": []}), "a.xls"
    )
    assert shown(document) == [
        ("heading", "Prices"),
        ("paragraph", "All prices"),
        ("row", "Part | Price"),
        ("row", "Größe 水 | 1.5"),
        ("row", "Bolt | 2"),
    ]
    assert document.pieces[3].table_header == "Part | Price"
    with pytest.raises(UnreadableDocument):
        parse_xls(b"plain words", "a.xls")


MESSAGE: dict[int, str | bytes] = {0x001A: "IPM.Note", 0x0037: "Wärmepumpe", 0x0C1A: "Ann", 0x0C1F: "ann@example.org"}


def test_msg() -> None:
    data = outlook(
        {**MESSAGE, 0x1000: "Dear Bob,\r\n\r\nthe pump is here."},
        [("Bob", "bob@example.org"), ("Zoë", "zoe@example.org")],
        [("offer.pdf", b"%PDF-1.4"), ("a/b.txt", b"words")],
    )
    document, attachments = parse_msg_whole(data, "a.msg")
    assert document.title == "Wärmepumpe"
    assert document.text == (
        'From: "Ann" <ann@example.org>\nTo: Bob <bob@example.org>, Zoë <zoe@example.org>\nSubject: Wärmepumpe\n\n'
        "Dear Bob,\n\nthe pump is here.\n\nAttachment: offer.pdf\nAttachment: a_b.txt"
    )
    assert attachments == [("offer.pdf", b"%PDF-1.4"), ("a_b.txt", b"words")]
    assert document.metadata["from"] == '"Ann" <ann@example.org>'


def test_msg_bodies_in_html_and_rich_text() -> None:
    page = '<html><head><meta charset="iso-8859-1"></head><body><h1>News</h1><p>Größe</p></body></html>'
    document = parse_msg(outlook({**MESSAGE, 0x1013: page.encode("cp1252")}), "a.msg")
    assert shown(document)[-2:] == [("heading", "News"), ("paragraph", "Größe")]
    rich = rb"{\rtf1\ansi\ansicpg1252 Gr\'f6\'dfe\par Second}"
    stored = len(rich).to_bytes(4, "little") + len(rich).to_bytes(4, "little") + b"MELA" + bytes(4) + rich
    assert parse_msg(outlook({**MESSAGE, 0x1009: stored}), "a.msg").text.endswith("Größe\n\nSecond")
    headers = "Content-Type: multipart/encrypted\r\nFrom: ann@example.org\r\n"
    with pytest.raises(UnreadableDocument, match="encrypted"):
        parse_msg(outlook({**MESSAGE, 0x007D: headers}), "a.msg")


def test_a_stream_that_claims_gigabytes() -> None:
    data = bytearray(outlook({**MESSAGE, 0x1000: "words " * 1000}))
    at = data.index("__substg1.0_1000001F".encode("utf-16-le"))
    data[at + 120 : at + 124] = b"\xff\xff\xff\x7f"
    with pytest.raises(UnreadableDocument, match="longer than the file"):
        parse_msg(bytes(data), "a.msg")


def test_packed_rich_text() -> None:
    # The example of the format's own description.
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    assert uncompressed(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"


RICH = rb"""{\rtf1\ansi\ansicpg1252\deff0\uc1{\fonttbl{\f0\fnil Arial;}{\f1\fnil\fcharset204 Arial Cyr;}
{\f2\fnil\fcharset128 MS Gothic;}}{\stylesheet{\s0 Normal;}{\s1\b heading 1;}{\s2 heading 2;}}
{\info{\title The manual}{\author Nobody}}{\header Every page}
\pard\plain\s1 Pump {\b manual}\par
\pard\plain Gr\'f6\'dfe 5\~\'b5m \u8211? \u27700?\{x\}\line next{\*\unknown hidden}{\v secret}{\deleted old}\par
\pard{\f1\'cd\'e0\'f1\'ee\'f1}\par\pard{\f2\'83\'7d\'83\x93\'83v}\par
\pard\plain\s2 Parts\par
{\pntext\f1\'b7\tab}\pard\ls1 Nut\par{\listtext 2.\tab}\pard\ls1 Bolt\par
\pard\intbl Part\cell Price\cell\row\pard\intbl Nut\par M8\cell 1.50\cell\row
\pard Text{\footnote A note.} with note and {\field{\*\fldinst HYPERLINK "x"}{\fldrslt a link}}.\par
{\shp{\*\shpinst{\sp{\sn name}{\sv value}}{\shptxt \pard In a box.\par}}}\bin3 }}}\par}"""


def test_rtf() -> None:
    document = parse_rtf(RICH.replace(rb"\x93", rb"\'93"), "a.rtf")
    assert document.title == "The manual"
    assert shown(document) == [
        ("heading", "Pump manual"),
        ("paragraph", "Größe 5\u00a0µm – 水{x}\nnext"),
        ("paragraph", "Насос"),
        ("paragraph", "マンプ".replace("プ", "プ")),
        ("heading", "Parts"),
        ("list_item", "Nut"),
        ("list_item", "2. Bolt"),
        ("row", "Part | Price"),
        ("row", "Nut M8 | 1.50"),
        ("paragraph", "Text with note and a link."),
        ("paragraph", "In a box."),
        ("paragraph", "A note."),
    ]
    assert document.pieces[8].headings == ("Pump manual", "Parts")
    with pytest.raises(EmptyDocument):
        parse_rtf(rb"{\rtf1 {\*\x words}}", "a.rtf")
    with pytest.raises(UnreadableDocument):
        parse_rtf(b"words", "a.rtf")


TEXT = """<text:h text:outline-level="1">Pump</text:h><text:p>It moves<text:s text:c="2"/>water<text:note>
<text:note-body><text:p>A note.</text:p></text:note-body></text:note>.</text:p><text:tracked-changes><text:p>Old
</text:p></text:tracked-changes><text:list><text:list-item><text:p>Nut</text:p><text:list><text:list-item><text:p>Small</text:p>
</text:list-item></text:list></text:list-item></text:list><table:table><table:table-row><table:table-cell><text:p>Part
</text:p></table:table-cell><table:table-cell><text:p>Price</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell table:number-columns-repeated="2"><text:p>1</text:p></table:table-cell>
<table:table-cell table:number-columns-repeated="99999999"/></table:table-row></table:table>"""


def test_odt() -> None:
    document = parse_odt(open_document("text", TEXT, "The manual"), "a.odt")
    assert document.title == "The manual"
    assert shown(document) == [
        ("heading", "Pump"),
        ("paragraph", "It moves  water."),
        ("paragraph", "A note."),
        ("list_item", "Nut"),
        ("list_item", "Small"),
        ("row", "Part | Price"),
        ("row", "1 | 1"),
    ]
    manifest = '<manifest><file-entry><encryption-data xmlns="x"/></file-entry></manifest>'
    with pytest.raises(UnreadableDocument, match="encrypted"):
        parse_odt(zipped({"META-INF/manifest.xml": manifest, "content.xml": b"\x8f\x01"}), "a.odt")


def test_odp_and_ods() -> None:
    slide = (
        "<draw:page><draw:frame><draw:text-box><text:p>It moves water</text:p></draw:text-box></draw:frame>"
        '<draw:frame presentation:class="title"><draw:text-box><text:p>Pump</text:p></draw:text-box></draw:frame>'
        "<presentation:notes><draw:frame><draw:text-box><text:p>Slowly.</text:p></draw:text-box></draw:frame>"
        "</presentation:notes></draw:page>"
    )
    document = parse_odp(open_document("presentation", slide * 2), "a.odp")
    assert [(piece.page, text) for piece, (_, text) in zip(document.pieces, shown(document), strict=True)] == [
        *((1, "Pump"), (1, "It moves water"), (1, "Slowly.")),
        *((2, "Pump"), (2, "It moves water"), (2, "Slowly.")),
    ]
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    rows = "".join(
        f"<table:table-row>{cell.format(left)}{cell.format(right)}</table:table-row>"
        for left, right in (("Part", "Price"), ("Nut", "5 €"))
    )
    sheet = f'<table:table table:name="Prices">{rows}</table:table><table:table table:name="Empty"/>'
    document = parse_ods(open_document("spreadsheet", sheet), "a.ods")
    assert document.text == "Prices\n\nPart | Price\nNut | 5 €"


def test_cells_that_repeat_millions_of_times() -> None:
    cells = '<table:table-cell table:number-columns-repeated="999"><text:p>x</text:p></table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="1000000">{cells}</table:table-row>'
    with pytest.raises(ValueError, match="repeat"):
        parse_ods(open_document("spreadsheet", f"<table:table>{row * 10}</table:table>"), "a.ods")


def test_epub_follows_the_spine() -> None:
    chapters = {"z.xhtml": "<h1>One</h1><p>First.</p>", "a.xhtml": "<h1>Two</h1><p>Second <b>one</b>.</p>"}
    document = parse_epub(e_book("The book", chapters), "a.epub")
    assert document.title == "The book"
    assert document.text == "One\n\nFirst.\n\nTwo\n\nSecond one."
    assert document.pieces[3].headings == ("Two",)
    locked = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData><CipherData>'
        '<CipherReference URI="book/text/{}"/></CipherData></EncryptedData></encryption>'
    )
    with pytest.raises(UnreadableDocument, match="protected"):
        parse_epub(e_book("b", chapters, {"META-INF/encryption.xml": locked.format("a.xhtml")}), "a.epub")
    only_fonts = {"META-INF/encryption.xml": locked.format("font.otf")}
    assert parse_epub(e_book("b", chapters, only_fonts), "a.epub").title == "b"


def test_pages() -> None:
    data = pages([(5, "In a box"), (0, "Pump\nIt moves water 😀"), (1, "Header")], ["Part", "Price"])
    assert parse_pages(data, "a.pages").text == "Pump\n\nIt moves water 😀\n\nIn a box\n\nPart | Price"
    with pytest.raises(UnsupportedFormat, match="export"):
        parse_numbers(data, "a.numbers")


def test_pptx_charts_groups_notes_and_merged_cells() -> None:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Ducks"
    data = CategoryChartData()
    data.categories = ["2023", "2024"]
    data.add_series("Wild", (1.5, 2))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.LINE, Inches(1), Inches(4), Inches(3), Inches(1), data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "By year"
    group = slide.shapes.add_group_shape()
    box = group.shapes.add_textbox(Inches(1), Inches(2), Inches(2), Inches(1))
    box.text_frame.text = "In a group"
    table = slide.shapes.add_table(3, 2, Inches(1), Inches(3), Inches(2), Inches(1)).table
    for at, text in enumerate(["Zone", "Count", "North", "1", "", "2"]):
        table.cell(at // 2, at % 2).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    slide.notes_slide.notes_text_frame.text = "Say this."
    document = parse_pptx(saved(show), "a.pptx")
    assert [text for _, text in shown(document)] == [
        *("Ducks", "In a group", "Zone | Count", "North | 1", "North | 2"),
        *("By year", "| Wild", "2023 | 1.5", "2024 | 2", "Say this."),
    ]
    empty = pptx.Presentation()
    empty.slides.add_slide(empty.slide_layouts[6])
    with pytest.raises(EmptyDocument):
        parse_pptx(saved(empty), "a.pptx")


def test_docx_formulas_comments_and_nested_tables() -> None:
    word = docx.Document()
    names = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    )
    run = "<m:r><m:t>{}</m:t></m:r>"
    fraction = f"<m:f><m:num>{run.format('a+b')}</m:num><m:den>{run.format('2')}</m:den></m:f>"
    power = f"<m:sSup><m:e>{run.format('x')}</m:e><m:sup>{run.format('2')}</m:sup></m:sSup>"
    word.element.body.insert(
        0, parse_xml(f"<w:p {names}><w:r><w:t>Mean: </w:t></w:r><m:oMath>{fraction}{power}</m:oMath></w:p>")
    )
    table = word.add_table(2, 2)
    for place, text in enumerate(["Part", "Price", "Nut", "1.50"]):
        table.cell(place // 2, place % 2).text = text
    inner = table.cell(1, 0).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "inner one", "inner two"
    word.add_comment(word.paragraphs[0].runs, text="Is this right?", author="Ann")
    document = parse_docx(saved(word), "a.docx")
    assert shown(document)[0] == ("paragraph", "Mean: (a+b)/2x^2")
    assert shown(document)[-1] == ("paragraph", "Is this right?")
    rows = [text for kind, text in shown(document) if kind == "row"]
    assert rows[0] == "Part | Price"
    assert rows[1].startswith("Nut")
    assert rows[1].count("inner one") == 1


def test_xlsx_captions_merged_cells_comments_and_hidden_sheets() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Sales"
    rows = [
        *(["Sales of 2024"], [], ["Region", "Month", "Sum"], ["North", "May", 0.125], [None, "June", 1234.5]),
        *([], ["Stock", "Where"], ["Nuts", "Hall 1"]),
    ]
    for row in rows:
        sheet.append(row)
    sheet["C4"].number_format, sheet["C5"].number_format = "0.0%", '#,##0.00 "EUR"'
    sheet.merge_cells("A4:A5")
    sheet["B4"].comment = Comment("Check this", "Ann")
    hidden, deep = book.create_sheet("Hidden"), book.create_sheet("Deep")
    hidden.append(["found"])
    deep.append(["not shown"])
    hidden.sheet_state, deep.sheet_state = "hidden", "veryHidden"
    document = parse_xlsx(saved(book), "a.xlsx")
    assert shown(document) == [
        ("heading", "Sales"),
        ("paragraph", "Sales of 2024"),
        ("row", "Region | Month | Sum"),
        ("row", "North | May | 12.5%"),
        ("row", "North | June | 1234.50 EUR"),
        ("row", "Stock | Where"),
        ("row", "Nuts | Hall 1"),
        ("paragraph", "Ann: Check this"),
        ("heading", "Hidden"),
        ("paragraph", "found"),
    ]
    assert [piece.table_header for piece in document.pieces][3:7] == [
        *("Region | Month | Sum", "Region | Month | Sum", "", "Stock | Where"),
    ]


@pytest.mark.parametrize(
    ("value", "number_format", "said"),
    [
        (0.1 + 0.2, "General", "0.3"),
        (3.0, "General", "3"),
        (0.256, "0%", "26%"),
        (-5.5, "#,##0.00", "-5.50"),
        (5.5, "[$€-407] #,##0.00", "€ 5.50"),
        (0.0001, "0.00", "0.0001"),
        (1.5, "# ?/?", "1.5"),
        (12345.0, "0.00E+00", "12345"),
        (1e300, "0.00", "1e+300"),
        (True, "General", "TRUE"),
        (datetime.datetime.fromisoformat("2024-05-01"), "General", "2024-05-01"),
        (None, "General", ""),
    ],
)
def test_numbers_as_shown(value: object, number_format: str, said: str) -> None:
    assert shown_value(value, number_format) == said


PAGE = """<html><body><table><tr><td><h2>Left</h2><p>One<br><br>Two</p></td><td>
<p>x <img src="a.png" alt="A pump"> y</p></td></tr></table><dl><dt>Term</dt><dd>Meaning</dd></dl>
<ol start="3"><li>Third<ol><li>Inner</li></ol></li><li value="9">Ninth</li></ol>
<table><caption>Prices</caption><tr><th>Zone</th><th>Part</th><th>Price</th></tr>
<tr><td rowspan="2">North</td><td colspan="2">Nut<br>M8</td></tr><tr><td>Bolt</td><td>2</td></tr></table>
<a href="x"><div>Linked</div></a> tail <p hidden>never</p><span aria-hidden="true">decoration</span>
<select><option>a</option><option selected>b</option></select></body></html>"""


def test_html_keeps_what_stands_between() -> None:
    assert shown(parse_html(PAGE.encode(), "a.html")) == [
        ("heading", "Left"),
        *(("paragraph", text) for text in ("One", "Two", "x A pump y", "Term", "Meaning")),
        *(("list_item", text) for text in ("3. Third", "1. Inner", "9. Ninth")),
        ("paragraph", "Prices"),
        *(("row", text) for text in ("Zone | Part | Price", "North | Nut M8", "North | Bolt | 2")),
        ("paragraph", "Linked"),
        ("paragraph", "tail b"),
    ]


def test_html_nested_a_thousand_deep() -> None:
    assert "core" in parse_html(("<div>" * 1000 + "core" + "</div>" * 1000).encode(), "a.html").text
    with pytest.raises(ValueError, match="deep"):
        parse_html(("<p>First.</p>" + "<div>" * 3000 + "core").encode(), "a.html")


@pytest.mark.parametrize(
    ("charset", "encoding", "text"),
    [
        ("iso-8859-1", "cp1252", "“5 €”"),
        ("GB2312", "gb18030", "㐀龥水"),
        ("ks_c_5601-1987", "cp949", "똠방각하"),
        ("x-sjis", "cp932", "①髙"),
        ("unicode-1-1-utf-7", "utf-7", "Größe"),
        ("iso-8859-8-i", "iso-8859-8", "שלום"),
        ("us-ascii", "utf-8", "Größe"),
    ],
)
def test_mails_in_odd_charsets(charset: str, encoding: str, text: str) -> None:
    assert declared(text.encode(encoding), charset) == text
    head = f"From: a@example.org\nSubject: x\nContent-Type: text/plain; charset={charset}\n"
    raw = head.encode() + b"Content-Transfer-Encoding: 8bit\n\n" + text.encode(encoding)
    assert parse_mail(raw, "a.eml").text.endswith(text)


def test_mail_hands_out_its_attachments() -> None:
    inner = EmailMessage()
    inner["From"], inner["Subject"] = "zoe@example.org", "Inner/one"
    inner.set_content("Deep words")
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ann <ann@example.org>", "bob@example.org", "Files"
    mail["Date"] = "Mon, 06 May 2024 10:00:00 +0200"
    mail.set_content("See below.")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="../x.bin")
    mail.add_attachment(inner)
    document, attachments = parse_mail_whole(bytes(mail), "a.eml")
    assert [name for name, _ in attachments] == [".._x.bin", "Inner_one.eml"]
    assert attachments[0][1] == b"\x00\x01"
    assert parse_mail(attachments[1][1], "inner").text.endswith("Deep words")
    assert document.metadata == {
        "from": "Ann <ann@example.org>",
        "to": "bob@example.org",
        "date": "2024-05-06T10:00:00+02:00",
    }
    encrypted = b"From: a@example.org\nContent-Type: multipart/encrypted; boundary=x\n\n--x\n\nabc\n--x--\n"
    with pytest.raises(UnreadableDocument, match="encrypted"):
        parse_mail(encrypted, "a.eml")
