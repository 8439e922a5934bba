"""The DOCX, PPTX and XLSX files."""

import datetime as dt
import io

from docx import Document
from openpyxl import Workbook
from openpyxl.styles import Font
from pptx import Presentation
from pptx.util import Inches, Pt

from sample_src.archive import freeze
from sample_src.blocks import load
from sample_src.records import PRICE_HEAD, PRODUCTS, SPARE_HEAD, SPARES
from sample_src.slides import SLIDES, SUBTITLE, TITLE

STYLES = {"bullets": "List Bullet", "steps": "List Number", "note": "Quote"}
WRITTEN = dt.datetime(2025, 1, 1)  # noqa: DTZ001 - the libraries want a time without a zone


def docx(name: str, author: str) -> bytes:
    """Return a DOCX file of a source file; the first heading becomes its title."""
    document = Document()
    for block in load(name):
        if block.kind == "heading":
            document.add_heading(block.text, block.level - 1)
        elif block.kind == "table":
            table = document.add_table(0, len(block.rows[0]), "Light Grid Accent 1")
            for row in block.rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
        elif block.items:
            for item in block.items:
                document.add_paragraph(item, STYLES[block.kind])
        else:
            document.add_paragraph(block.text, STYLES.get(block.kind))
        if block.kind == "heading" and block.level == 1:
            document.core_properties.title = block.text
    properties = document.core_properties
    properties.author = properties.last_modified_by = author
    properties.comments = ""
    buffer = io.BytesIO()
    document.save(buffer)
    return freeze(buffer.getvalue())


def pptx() -> bytes:
    """Return the quarterly review."""
    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[0])
    slide.shapes.title.text = TITLE
    slide.placeholders[1].text = SUBTITLE
    for title, bullets, rows in SLIDES:
        slide = show.slides.add_slide(show.slide_layouts[1 if bullets else 5])
        slide.shapes.title.text = title
        if bullets:
            frame = slide.placeholders[1].text_frame
            frame.text = bullets[0]
            for bullet in bullets[1:]:
                frame.add_paragraph().text = bullet
            for paragraph in frame.paragraphs:
                paragraph.font.size = Pt(22)
        if rows:
            box = (Inches(0.8), Inches(1.8), Inches(8.4), Inches(0.5 * len(rows)))
            table = slide.shapes.add_table(len(rows), len(rows[0]), *box).table
            for r, row in enumerate(rows):
                for c, text in enumerate(row):
                    table.cell(r, c).text = text
    properties = show.core_properties
    properties.title = TITLE
    properties.author = properties.last_modified_by = "Teodora Lindqvist"
    properties.created = properties.modified = WRITTEN
    buffer = io.BytesIO()
    show.save(buffer)
    return freeze(buffer.getvalue())


def xlsx() -> bytes:
    """Return the price list with its two sheets."""
    book = Workbook()
    products = book.active
    assert products is not None
    products.title = "Products"
    spares = book.create_sheet("Spare parts")
    for sheet, head, rows in ((products, PRICE_HEAD, PRODUCTS), (spares, SPARE_HEAD, SPARES)):
        sheet.append(head)
        for row in rows:
            sheet.append(row)
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        for column, width in zip("ABCDEF", (12, 38, 14, 14, 14, 60), strict=True):
            sheet.column_dimensions[column].width = width
        for cell in sheet["C"][1:]:
            cell.number_format = "0.00"
        sheet.freeze_panes = "A2"
    book.properties.title = "Price list 2026"
    book.properties.creator = "Pavel Oduya"
    buffer = io.BytesIO()
    book.save(buffer)
    return freeze(buffer.getvalue())
