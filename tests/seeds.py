"""One small file of each format, by its name, as the fuzzer's starting points."""

import io
import json
from email.message import EmailMessage

import docx
import openpyxl
import pptx
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
from reportlab.pdfgen import canvas

_MARKDOWN = (
    "---\ntitle: The manual\n---\n# Pump\n\nIt *moves* water.\n\n- Nut\n  - Small\n\n| A | B |\n|---|---|\n| 1 | 2 |\n"
)
_HTML = (
    "<html><head><meta charset='utf-8'><title>Pump</title></head><body><h1>Pump</h1><p>It <b>moves</b><br>water.</p>"
    "<ol start=3><li>Nut<ul><li>Small</ul></ol><table><tr><th>A<th>B<tr><td rowspan=2>1<td>2<tr><td colspan=2>3</table>"
    "<pre>x = 1</pre><dl><dt>T<dd>D</dl><img alt='A pump'><math><mi>x</mi></math></body></html>"
)
_RTF = (
    rb"{\rtf1\ansi\ansicpg1252\uc1{\fonttbl{\f0 Arial;}{\f1\fcharset128 Gothic;}}{\stylesheet{\s1 heading 1;}}"
    rb"{\info{\title Pump}}\pard\s1 Pump\par\pard\plain Gr\'f6\'dfe \u8211? {\f1\'83\'7d}\par"
    rb"\pard\intbl A\cell B\cell\row\pard Text{\footnote Note.}{\field{\*\fldinst X}{\fldrslt link}}\par\bin3 abc}"
)


def seeds() -> dict[str, bytes]:
    """The files, by names that end with their formats' suffixes."""
    return {
        "a.txt": "Größe: 5 µm\n\nZweiter Absatz".encode("cp1252"),
        "a.md": _MARKDOWN.encode(),
        "a.html": _HTML.encode(),
        "a.csv": b'Name;Note\nAnn;"two\nlines"\nBob;"a ""b"""\n',
        "a.json": json.dumps({"id": 7, "by": {"name": "Ann", "tags": ["x", "y"]}, "parts": [{"n": 1}]}).encode(),
        "a.jsonl": b'{"id": 7, "text": "one"}\n{"id": 8, "text": "two"}\n',
        "a.pdf": _pdf(),
        "a.docx": _docx(),
        "a.pptx": _pptx(),
        "a.xlsx": _xlsx(),
        "a.odt": open_document("text", _ODT, "Pump"),
        "a.ods": open_document("spreadsheet", f'<table:table table:name="S">{_ROWS}</table:table>'),
        "a.odp": open_document("presentation", _SLIDE * 2),
        "a.epub": e_book("Pump", {"b.xhtml": "<h1>One</h1><p>First.</p>", "a.xhtml": "<h2>Two</h2><p>More.</p>"}),
        "a.rtf": _RTF,
        "a.eml": _mail(),
        "a.msg": outlook(
            {0x001A: "IPM.Note", 0x0037: "Pump", 0x0C1F: "ann@example.org", 0x1000: "Dear Bob"},
            [("Bob", "bob@example.org")],
            [("offer.txt", b"words")],
        ),
        "a.doc": word97(
            [
                *(("Pump\r", 1, b""), ("It moves \x13 X \x14water\x15 and words.\r", 0, b""), ("Nut\r", 0, LIST_ITEM)),
                *(("A\x07", 0, IN_TABLE), ("B\x07", 0, IN_TABLE), ("\x07", 0, ROW_END), ("End.\r", 0, b"")),
            ],
            notes="\x02 A note.\r",
        ),
        "a.rst": b"Pump\n====\n\nIt *moves* water.\n\n- Nut\n\n.. note:: Slowly.\n\n== ==\nA  B\n== ==\n1  2\n== ==\n",
        "a.org": b"#+TITLE: Pump\n* Parts\n- Nut\n| A | B |\n|---+---|\n| 1 | 2 |\n#+BEGIN_SRC\nx\n#+END_SRC\n",
        "a.adoc": b"= Pump\n\n== Parts\n\n* Nut\n\n|===\n|A |B\n|1 |2\n|===\n",
        "a.tex": rb"\documentclass{x}\begin{document}\section{Pump}It \emph{moves} $x^2$.\end{document}",
        "a.xml": b"<?xml version='1.0'?><r><title>Pump</title><p>It <b>moves</b> water.</p><n a='1'>x</n></r>",
        "a.ipynb": json.dumps(
            {
                "nbformat": 4,
                "cells": [{"cell_type": "markdown", "source": "# Pump"}, {"cell_type": "code", "source": "x"}],
            }
        ).encode(),
        "a.vtt": b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>It moves water\n",
        "a.py": b'"""The pump."""\n\n\nclass Pump:\n    """It moves."""\n\n    def go(self):\n        return 1\n',
        "a.mbox": 2
        * b"From ann@example.org Mon May  6 10:00:00 2024\nFrom: a@example.org\nSubject: Pump\n\nIt moves.\n\n",
        "a.zip": zipped({"a/b.txt": "It moves water.", "c.md": "# Pump"}),
        "a.pages": pages([(0, "Pump\nIt moves water"), (5, "In a box")], ["Part", "Price"]),
        "a.ppt": powerpoint97([("Pump", ["It moves", "water"], "Slowly."), ("Valve", [], "")]),
        "a.xls": excel97({"Prices": [["Part", "Price"], ["Nut", 1.5]], "More": [["x", 2.0]]}),
    }


_ROWS = (
    '<table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="3"><text:p>1'
    "</text:p></table:table-cell></table:table-row>"
)
_ODT = (
    '<text:h text:outline-level="1">Pump</text:h><text:p>It<text:s text:c="3"/>moves<text:note><text:note-body><text:p>'
    "N</text:p></text:note-body></text:note></text:p><text:list><text:list-item><text:p>Nut</text:p></text:list-item>"
    f"</text:list><table:table>{_ROWS}</table:table>"
)
_SLIDE = (
    '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Pump</text:p></draw:text-box>'
    "</draw:frame><draw:frame><draw:text-box><text:p>Water</text:p></draw:text-box></draw:frame></draw:page>"
)


def _saved(thing: object) -> bytes:
    target = io.BytesIO()
    thing.save(target)  # type: ignore[attr-defined]
    return target.getvalue()


def _pdf() -> bytes:
    target = io.BytesIO()
    page = canvas.Canvas(target)
    for number in range(2):
        page.drawString(72, 720, f"Page {number} of the pump manual")
        page.drawString(72, 700, "It moves water.")
        page.showPage()
    page.save()
    return target.getvalue()


def _docx() -> bytes:
    word = docx.Document()
    word.add_heading("Pump", 1)
    word.add_paragraph("It moves water.")
    word.add_paragraph("Nut", style="List Bullet")
    table = word.add_table(2, 2)
    for at, cell in enumerate(table._cells):
        cell.text = f"cell {at}"
    word.add_comment(word.paragraphs[1].runs, text="Is it?", author="Ann")
    return _saved(word)


def _pptx() -> bytes:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Pump", "It moves water"
    slide.notes_slide.notes_text_frame.text = "Slowly."
    slide.shapes.add_table(2, 2, 0, 0, 100, 100).table.cell(0, 0).text = "A"
    data = CategoryChartData()
    data.categories = ["a", "b"]
    data.add_series("S", (1, 2))
    slide.shapes.add_chart(XL_CHART_TYPE.LINE, 0, 0, Inches(1), Inches(1), data)
    return _saved(show)


def _xlsx() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Sales"], ["Part", "Price"], ["Nut", 1.5], [None, 0.25]):
        sheet.append(row)
    sheet["B3"].number_format = "0.0%"
    sheet["B3"].comment = Comment("Check", "Ann")
    sheet.merge_cells("A3:A4")
    return _saved(book)


def _mail() -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ann <ann@example.org>", "bob@example.org", "Wärmepumpe"
    mail["Date"] = "Mon, 06 May 2024 10:00:00 +0200"
    mail.set_content("Dear Bob,\n\nsee below.\n")
    mail.add_alternative("<p>Dear <b>Bob</b></p>", subtype="html")
    mail.add_attachment(b"words", maintype="text", subtype="plain", filename="offer.txt")
    return bytes(mail)
