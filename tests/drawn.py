"""PDF files drawn in code, for the tests of their reader."""

import io
import textwrap
from collections.abc import Callable

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from rag.types import Document

WIDTH, HEIGHT = A4
WORDS = "the pump moves water through the coil and stops when the tank above it is full of water again " * 40


def drawn(draw: Callable[[Canvas], None], **options: object) -> bytes:
    """The bytes of what `draw` draws on A4."""
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, **options)
    draw(canvas)
    canvas.save()
    return target.getvalue()


def paragraph(canvas: Canvas, x: float, y: float, lines: list[str], size: float = 10, font: str = "Helvetica") -> float:
    """Lines below each other, and where the next paragraph may begin."""
    canvas.setFont(font, size)
    for line in lines:
        canvas.drawString(x, y, line)
        y -= size * 1.2
    return y - size


def lines(count: int, start: str, width: int = 80) -> list[str]:
    """The lines of a paragraph that starts with a mark to find it by."""
    made = textwrap.wrap(f"{start} {WORDS}", width)[:count]
    return [*made[:-1], f"{made[-1]}."]


def shown(document: Document) -> list[tuple[int | None, str, str]]:
    """Page, kind and text of every piece."""
    return [(piece.page, piece.kind.value, document.text[piece.start : piece.end]) for piece in document.pieces]
