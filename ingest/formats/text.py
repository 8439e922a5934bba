"""Plain text: bytes in any encoding into the text that offsets refer to, and its paragraphs. The only door to chardet.

charset-normalizer, which stood here before, took a short German or French text for one from Iceland or Latvia, and
Thai for Chinese; chardet names all of them.
"""

import codecs
import re
import unicodedata

from ingest.formats.blocks import same_length
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
_STRANGE_SHARE = 0.05
_HEAD_BYTES = 4096
_HIGHEST_PLANE = 16
_GUESS_BYTES = 64 * 1024


def decode(data: bytes, source: str) -> str:
    """The text of a file: by its byte order mark, else as UTF-8, else by what chardet makes of it.

    Line breaks are `\\n`; characters that nothing can store are replaced one by one, so places in the text are places
    in the file. Raises UnreadableDocument for binary data.
    """
    return same_length(_decoded(data, source).replace("\r\n", "\n").replace("\r", "\n"))


def looks_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are those of something other than text."""
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return False
    return len(head.translate(None, _TEXT_BYTES)) > _STRANGE_SHARE * len(head) and not _wide(head)


def head_text(head: bytes) -> str:
    """The first bytes of a text file as characters, good enough to see what kind of text it is."""
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), _wide(head) or "utf-8")
    return head.decode(encoding, errors="replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def encoding_of(head: bytes, source: str) -> str:
    """The encoding of a text file by its first bytes, for one that is too long to be decoded at once.

    Raises UnreadableDocument for binary data.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return "utf-8-sig" if mark == codecs.BOM_UTF8 else encoding
    if wide := _wide(head[:_HEAD_BYTES]):
        return wide
    if looks_binary(head[:_HEAD_BYTES]):
        raise UnreadableDocument(f"{source} is binary data, not text.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return _guessed(head)
    return "utf-8"


def _decoded(data: bytes, source: str) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, errors="replace")
            return text.removeprefix("\ufeff")
    if wide := _wide(data[:_HEAD_BYTES]):
        return data.decode(wide, errors="replace")
    if looks_binary(data[:_HEAD_BYTES]):
        raise UnreadableDocument(
            f"{source} is binary data, not text. Give it the suffix of what it is, or leave it out."
        )
    if b"\x1b$B" in data and data.isascii():
        return data.decode("iso2022_jp", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        if _is_damaged_utf8(data, exc):
            return data.decode("utf-8", errors="replace")
    head = data[:_HEAD_BYTES]
    # No text of another encoding holds control characters.
    wide = _wide_by_letters(head) if head.translate(None, _TEXT_BYTES) else None
    return data.decode(wide or _guessed(data), errors="replace")


def _is_damaged_utf8(data: bytes, error: UnicodeDecodeError) -> bool:
    """Whether the data is UTF-8 but for a cut-off end, so that a guess could only be worse."""
    return (
        error.start > len(data) - 4 and error.reason == "unexpected end of data" and not data[: error.start].isascii()
    )


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: by its zeros, or because it makes sense as nothing else."""
    strange = len(head.translate(None, _TEXT_BYTES))
    if not strange:
        return None
    quads = len(head) // 4
    if quads > 1:
        columns = [head[at : 4 * quads : 4] for at in range(4)]
        if not any(columns[3]) and max(columns[2]) <= _HIGHEST_PLANE and any(columns[0]):
            return "utf-32-le"
        if not any(columns[0]) and max(columns[1]) <= _HIGHEST_PLANE and any(columns[3]):
            return "utf-32-be"
    pairs = len(head) // 2
    if pairs < 2:
        return None
    even, odd = head[0 : 2 * pairs : 2], head[1 : 2 * pairs : 2]
    if odd.count(0) > 0.6 * pairs and even.count(0) < 0.05 * pairs:
        return "utf-16-le"
    if even.count(0) > 0.6 * pairs and odd.count(0) < 0.05 * pairs:
        return "utf-16-be"
    return _wide_by_letters(head) if strange > _STRANGE_SHARE * len(head) else None


def _wide_by_letters(head: bytes) -> str | None:
    """UTF-16 that makes sense as nothing else: Chinese and Japanese have no zeros."""
    pairs = len(head) // 2
    even, odd = head[0 : 2 * pairs : 2], head[1 : 2 * pairs : 2]
    # Letters of one script share their upper byte, or, as the Chinese ones, a part of all upper bytes.
    likely = ("utf-16-le", "utf-16-be") if len(set(odd)) <= len(set(even)) else ("utf-16-be", "utf-16-le")
    return next((encoding for encoding in likely if _is_language(head, encoding)), None)


def _is_language(head: bytes, encoding: str) -> bool:
    """Whether the bytes are letters, for the most part, and nothing that no text holds."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    kinds = [unicodedata.category(character) for character in text if character not in "\t\n\r"]
    letters = sum(kind[0] in "LM" for kind in kinds)
    return letters > 0.6 * len(kinds) and not any(kind in {"Cn", "Co", "Cc"} for kind in kinds)


def _guessed(data: bytes) -> str:
    import chardet

    # A guess costs seconds per megabyte; the first lines with foreign letters say enough.
    first = next((at for at, byte in enumerate(data) if byte > 127), 0)
    encoding = chardet.detect(data[max(0, first - _GUESS_BYTES // 2) :][:_GUESS_BYTES])["encoding"]
    try:
        return codecs.lookup(encoding or "cp1252").name
    except LookupError:
        return "cp1252"


def parse_text(data: bytes, source: str) -> Document:
    """A plain text file: `document.text` is the file's text, its pieces are the paragraphs between empty lines."""
    return text_document(decode(data, source), source)


def text_document(text: str, source: str) -> Document:
    """A text as a document of its paragraphs. Raises EmptyDocument."""
    pieces = tuple(Piece(found.start(), found.end()) for found in _PARAGRAPH.finditer(text))
    if not pieces:
        raise EmptyDocument(f"{source} holds no text")
    return Document(source, text, "", pieces, "text")
