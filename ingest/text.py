"""Plain text: bytes in any encoding into the text that offsets refer to, and its paragraphs."""

import codecs
import re

from ingest.blocks import same_length
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document, Piece

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PARAGRAPH = re.compile(r"\S.*(?:\n.*\S.*)*")
# All but control characters; escape stands in terminal logs. Binary data has one of the others in ten bytes.
_TEXT_BYTES = bytes({*range(9, 14), 27, *range(32, 256)})
_GUESS_BYTES = 64 * 1024


def decode(data: bytes, source: str) -> str:
    """The text of a file: by its byte order mark, else as UTF-8, else by what charset-normalizer makes of it.

    Line breaks are `\\n`; characters that nothing can store are replaced one by one, so places in the text are places
    in the file. Raises UnreadableDocument for binary data.
    """
    return same_length(_decoded(data, source).replace("\r\n", "\n").replace("\r", "\n"))


def looks_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are those of something other than text."""
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return False
    return len(head.translate(None, _TEXT_BYTES)) > 0.05 * len(head) and not _wide(head)


def _decoded(data: bytes, source: str) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, errors="replace")
            return text.removeprefix("\ufeff")
    if wide := _wide(data[:4096]):
        return data.decode(wide, errors="replace")
    if looks_binary(data[:4096]):
        raise UnreadableDocument(
            f"{source} is binary data, not text. Give it the suffix of what it is, or leave it out."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        if _is_damaged_utf8(data, exc):
            return data.decode("utf-8", errors="replace")
    return data.decode(_guessed(data), errors="replace")


def _is_damaged_utf8(data: bytes, error: UnicodeDecodeError) -> bool:
    """Whether the data is UTF-8 but for a cut-off end, so that a guess could only be worse."""
    return (
        error.start > len(data) - 4 and error.reason == "unexpected end of data" and not data[: error.start].isascii()
    )


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: in Western text every other byte is zero."""
    pairs = len(head) // 2
    if pairs < 2:
        return None
    even, odd = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if odd > 0.6 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * pairs and odd < 0.05 * pairs else None


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    # A guess costs a second per megabyte; the first lines with foreign letters say enough.
    first = next((at for at, byte in enumerate(data) if byte > 127), 0)
    best = from_bytes(data[max(0, first - _GUESS_BYTES // 2) :][:_GUESS_BYTES]).best()
    return best.encoding if best else "cp1252"


def parse_text(data: bytes, source: str) -> Document:
    """A plain text file: `document.text` is the file's text, its pieces are the paragraphs between empty lines."""
    text = decode(data, source)
    pieces = tuple(Piece(found.start(), found.end()) for found in _PARAGRAPH.finditer(text))
    if not pieces:
        raise EmptyDocument(f"{source} holds no text")
    return Document(source, text, "", pieces, "text")
