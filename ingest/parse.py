"""Any file into a Document: finds out what it is and hands it to its reader."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from ingest.blocks import one_line
from ingest.elements import parse_docx, parse_epub, parse_html, parse_odt, parse_pptx
from ingest.mail import parse_mail
from ingest.markdown import parse_markdown
from ingest.ocr import IMAGE_SUFFIXES, parse_image
from ingest.pdf import parse_pdf
from ingest.records import parse_csv, parse_json, parse_json_lines
from ingest.sheets import parse_xlsx
from ingest.text import looks_binary, parse_text
from rag.errors import ParseError, UnreadableDocument, UnsupportedFormat
from rag.types import Document

Reader = Callable[[bytes, str], Document]

_HEAD_BYTES = 4096
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def parse(path: Path, source: str) -> Document:
    """Read one file; `source` is the name it goes by in the document and in messages.

    Raises UnsupportedFormat, UnreadableDocument (damaged, encrypted, not what its name says), EmptyDocument, or OSError
    where the file cannot be opened.
    """
    data = path.read_bytes()
    reader = _READERS.get(_kind(path, data, source))
    if reader is None:
        raise UnsupportedFormat(
            f"{source}: there is no reader for {_named(path)} files. Convert it to PDF, DOCX or text first."
        )
    try:
        return reader(data, source)
    except (ParseError, MemoryError):
        raise
    except Exception as exc:
        why = f"{type(exc).__name__}: {one_line(str(exc))[:200]}"
        raise UnreadableDocument(f"{source} cannot be read as {_named(path)}: it seems damaged ({why})") from exc


def supported(path: Path) -> bool:
    """Whether `parse` has a reader for the file, by its suffix; without a suffix, whether it looks like text."""
    suffix = path.suffix.lower()
    if suffix:
        return suffix in SUFFIXES
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return bool(head) and not looks_binary(head)


def _named(path: Path) -> str:
    return path.suffix.lower() or "such"


def _kind(path: Path, data: bytes, source: str) -> str:
    """What the file is, as a suffix: by its name, and by its content where that says otherwise beyond doubt."""
    named = path.suffix.lower()
    if named and named not in SUFFIXES:
        return named
    head = data[:1024]
    if b"%PDF-" in head:
        # A mail or a text may quote the mark; a PDF has it near its start.
        if named in _BINARY or not named or head.lstrip().startswith(b"%PDF-"):
            return ".pdf"
    elif data.startswith(b"PK\x03\x04"):
        return _zipped(data, source)
    elif data.startswith(_OLE) and named in _ZIPPED:
        old = b"E\x00n\x00c\x00r\x00y\x00p\x00t" not in data
        why = (
            "an Office file from before 2007; save it in the present format"
            if old
            else "encrypted; save it without a password"
        )
        raise UnreadableDocument(f"{source} is {why}")
    if named in _BINARY:
        if not data:
            raise UnreadableDocument(f"{source} is an empty file")
        raise UnreadableDocument(
            f"{source} is not a {named} file, whatever its name says: it seems damaged or misnamed"
        )
    return named or ".txt"


def _zipped(data: bytes, source: str) -> str:
    """Which of the zip-based kinds it is."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            kind = archive.read("mimetype")[:100].decode("ascii", "replace").strip() if "mimetype" in names else ""
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError) as exc:
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc
    if kind == "application/epub+zip" or ("META-INF/container.xml" in names and not kind):
        return ".epub"
    if kind.startswith("application/vnd.oasis.opendocument."):
        return {"text": ".odt", "text-template": ".odt"}.get(kind.rpartition(".")[2], ".od?")
    for part, suffix in (("word/", ".docx"), ("ppt/", ".pptx"), ("xl/", ".xlsx")):
        if any(name.startswith(part) for name in names):
            return suffix
    return ".zip"


_READERS: dict[str, Reader] = {
    **dict.fromkeys((".md", ".markdown"), parse_markdown),
    **dict.fromkeys((".txt", ".text", ".log"), parse_text),
    **dict.fromkeys((".html", ".htm", ".xhtml"), parse_html),
    **dict.fromkeys((".csv", ".tsv"), parse_csv),
    **dict.fromkeys((".jsonl", ".ndjson"), parse_json_lines),
    ".json": parse_json,
    ".pdf": parse_pdf,
    ".docx": parse_docx,
    ".pptx": parse_pptx,
    **dict.fromkeys((".xlsx", ".xlsm"), parse_xlsx),
    ".epub": parse_epub,
    ".odt": parse_odt,
    ".eml": parse_mail,
    **dict.fromkeys(IMAGE_SUFFIXES, parse_image),
}
SUFFIXES = frozenset(_READERS)
_ZIPPED = frozenset({".docx", ".pptx", ".xlsx", ".xlsm", ".epub", ".odt"})
_BINARY = _ZIPPED | {".pdf"}
