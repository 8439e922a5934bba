"""The manual as a PDF in the format A5, with the standard fonts."""

import io
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    ListFlowable,
    ListItem,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus.tableofcontents import TableOfContents

from sample_src.blocks import Block, load

TITLE = "Brisa 4 Weather Station"
SUBTITLE = "Installation and Operating Manual"
NUMBER = "FI-M-0417, revision 3.2, 14 March 2025"
MARGIN = 18 * mm

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=14.2, spaceAfter=6)
CHAPTER = ParagraphStyle("chapter", fontName="Helvetica-Bold", fontSize=17, leading=21, spaceAfter=10)
SECTION = ParagraphStyle("section", fontName="Helvetica-Bold", fontSize=12, leading=15, spaceBefore=9, spaceAfter=4)
NOTE = ParagraphStyle(
    "note", BODY, backColor=colors.HexColor("#eef2ee"), borderPadding=5, leftIndent=6, rightIndent=6, spaceBefore=8,
    spaceAfter=12,
)  # fmt: skip
CELL = ParagraphStyle("cell", BODY, fontSize=9, leading=11.5, spaceAfter=0)
HEAD = ParagraphStyle("head", CELL, fontName="Helvetica-Bold")
TOC = [
    ParagraphStyle("toc1", BODY, fontName="Helvetica-Bold", spaceBefore=5, spaceAfter=0),
    ParagraphStyle("toc2", BODY, fontSize=9, leading=11.5, leftIndent=12, spaceAfter=0),
]


class Manual(BaseDocTemplate):
    """Reports headings to the table of contents and to the outline, and draws header and footer."""

    def __init__(self, target: io.BytesIO) -> None:
        super().__init__(
            target, pagesize=A5, title=f"{TITLE}: {SUBTITLE}", author="Ines Calloway", subject=NUMBER,
            creator="Fernholt Instruments", invariant=1,
        )  # fmt: skip
        width, height = A5
        frame = Frame(MARGIN, 18 * mm, width - 2 * MARGIN, height - 38 * mm, 0, 0, 0, 0)
        self.addPageTemplates(
            [PageTemplate("cover", [frame]), PageTemplate("text", [frame], onPage=self.header_and_footer)]
        )
        self.count = 0

    def beforeDocument(self) -> None:  # noqa: N802 - the name is reportlab's
        self.count = 0

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - the name is reportlab's
        style = getattr(flowable, "style", None)
        if style not in (CHAPTER, SECTION):
            return
        level = 0 if style is CHAPTER else 1
        self.count += 1
        key = f"h{self.count}"
        text = flowable.getPlainText()
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level, closed=True)
        self.notify("TOCEntry", (level, text, self.page, key))

    @staticmethod
    def header_and_footer(canvas: Any, document: BaseDocTemplate) -> None:
        width, height = A5
        canvas.saveState()
        canvas.setFont("Helvetica", 8)
        canvas.drawString(MARGIN, height - 12 * mm, f"{TITLE} - {SUBTITLE}")
        canvas.line(MARGIN, height - 14 * mm, width - MARGIN, height - 14 * mm)
        canvas.line(MARGIN, 14 * mm, width - MARGIN, 14 * mm)
        canvas.drawString(MARGIN, 10 * mm, NUMBER)
        canvas.drawRightString(width - MARGIN, 10 * mm, f"Page {document.page}")
        canvas.restoreState()


def table(rows: list[list[str]]) -> Flowable:
    """Return a table with a repeated head; the columns share the width by the length of their texts."""
    lengths = [min(max(max(len(row[i]) for row in rows), 11), 44) for i in range(len(rows[0]))]
    width = A5[0] - 2 * MARGIN
    widths = [width * length / sum(lengths) for length in lengths]
    cells = [[Paragraph(escape(cell), CELL if n else HEAD) for cell in row] for n, row in enumerate(rows)]
    result = Table(cells, widths, repeatRows=1, spaceBefore=4, spaceAfter=8)
    result.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#dfe7df")),
            ]
        )
    )
    return result


def items(block: Block) -> Flowable:
    """Return a list with bullets or numbers."""
    numbered = block.kind == "steps"
    return ListFlowable(
        [ListItem(Paragraph(escape(item), BODY)) for item in block.items],
        bulletType="1" if numbered else "bullet",
        bulletFormat="%s." if numbered else None,
        start=None if numbered else "•",
        leftIndent=16,
        bulletFontSize=10,
    )


def cover() -> list[Flowable]:
    """Return the title page and the table of contents."""
    big = ParagraphStyle("big", CHAPTER, fontSize=28, leading=34)
    medium = ParagraphStyle("medium", BODY, fontSize=14, leading=20)
    contents = TableOfContents(levelStyles=TOC, dotsMinLevel=-1)
    return [
        Spacer(1, 45 * mm),
        Paragraph(TITLE, big),
        Paragraph(SUBTITLE, medium),
        Spacer(1, 20 * mm),
        Paragraph(f"Document {NUMBER}", BODY),
        Paragraph("Fernholt Instruments, Sluice Lane 9, Marrick Bridge", BODY),
        NextPageTemplate("text"),
        PageBreak(),
        Paragraph("Contents", ParagraphStyle("contents", CHAPTER)),
        contents,
    ]


def manual() -> bytes:
    """Return the manual; chapters and sections are numbered here."""
    story = cover()
    chapter = section = 0
    for block in load("manual.md"):
        if block.kind == "heading" and block.level == 1:
            chapter, section = chapter + 1, 0
            story += [PageBreak(), Paragraph(f"{chapter} {escape(block.text)}", CHAPTER)]
        elif block.kind == "heading":
            section += 1
            story += [CondPageBreak(22 * mm), Paragraph(f"{chapter}.{section} {escape(block.text)}", SECTION)]
        elif block.kind == "table":
            story.append(table(block.rows))
        elif block.items:
            story.append(items(block))
        else:
            story.append(Paragraph(escape(block.text), NOTE if block.kind == "note" else BODY))
    buffer = io.BytesIO()
    Manual(buffer).multiBuild(story)
    return buffer.getvalue()
