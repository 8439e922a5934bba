"""Jupyter notebooks: the words of Markdown cells with their structure, code, and what it printed."""

import json
from dataclasses import replace
from typing import Any

from ingest.formats.blocks import HeadingPath, cleaned, one_line, same_length
from ingest.formats.markdown import markdown_pieces
from ingest.formats.text import decode
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document, Kind, Piece

# A training run prints a megabyte of progress. What was cut off is said.
_OUTPUT_CHARS = 4000


def parse_notebook(data: bytes, source: str) -> Document:
    """A notebook, its cells in order under the headings of the Markdown cells; outputs that are text are shortened.

    The first heading of level 1 is the title, language and kernel are metadata. Raises UnreadableDocument where the
    file is not a notebook, EmptyDocument.
    """
    try:
        book = json.loads(decode(data, source) or "{}")
    except (ValueError, RecursionError) as exc:
        raise UnreadableDocument(f"{source} is not a notebook: {exc}") from exc
    cells = _cells(book)
    if cells is None:
        raise UnreadableDocument(f"{source} is not a notebook: it has no cells")
    title = ""
    pieces: list[Piece] = []
    path = HeadingPath()
    parts: list[str] = []
    at = 0
    for kind, words in cells:
        if not words:
            continue
        if parts:
            parts.append("\n\n")
            at += 2
        if kind == "markdown":
            found, first = markdown_pieces(words, 0, path)
            title = title or first
        else:
            found = [Piece(0, len(words), Kind.CODE if kind != "raw" else Kind.PARAGRAPH, None, path.names)]
        pieces += (replace(piece, start=piece.start + at, end=piece.end + at) for piece in found)
        parts.append(words)
        at += len(words)
    if not pieces:
        raise EmptyDocument(f"{source} holds no text")
    return Document(source, "".join(parts), one_line(title), tuple(pieces), "notebook", _metadata(book))


def _cells(book: Any) -> list[tuple[str, str]] | None:
    """Kind and text of each cell and output, None where the file has no cells; before format 4 there were sheets."""
    if not isinstance(book, dict):
        return None
    cells = book.get("cells")
    if cells is None and isinstance(book.get("worksheets"), list):
        sheets = [sheet for sheet in book["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets for cell in sheet.get("cells") or []]
    if not isinstance(cells, list):
        return None
    found = []
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        kind = cell.get("cell_type")
        words = cleaned(_joined(cell.get("source", cell.get("input"))))
        if kind == "heading":
            words = "#" * int(cell.get("level") or 1) + f" {words}"
        found.append(("markdown" if kind == "heading" else str(kind), words))
        outputs = cell.get("outputs")
        if kind == "code" and isinstance(outputs, list):
            said = "\n".join(filter(None, (_output(output) for output in outputs if isinstance(output, dict))))
            found.append(("output", _shortened(cleaned(said))))
    return found


def _output(output: dict[str, Any]) -> str:
    """What one output says in words: a stream, an error, or the plain text of a value."""
    if output.get("output_type") in {"error", "pyerr"}:
        return f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
    data = output.get("data")
    return _joined(data.get("text/plain") if isinstance(data, dict) else output.get("text"))


def _joined(value: object) -> str:
    """Notebooks keep a text as itself or as the list of its lines."""
    text = "".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""
    return same_length(text)


def _shortened(text: str) -> str:
    if len(text) <= _OUTPUT_CHARS:
        return text
    return f"{text[:_OUTPUT_CHARS].rstrip()}\n[{len(text) - _OUTPUT_CHARS} more characters of output]"


def _metadata(book: dict[str, Any]) -> dict[str, str]:
    about = book.get("metadata")
    about = about if isinstance(about, dict) else {}
    kernel, language = about.get("kernelspec"), about.get("language_info")
    found = {
        "kernel": kernel.get("display_name") if isinstance(kernel, dict) else None,
        "language": language.get("name") if isinstance(language, dict) else None,
    }
    return {name: value for name, value in found.items() if isinstance(value, str) and value}
