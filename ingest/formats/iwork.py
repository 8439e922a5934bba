"""Pages and Keynote: the preview that the file carries, else the texts in its archive. Numbers: the preview alone.

Apple publishes no description; what is known of the archive since 2013 is enough for texts in their order, without
headings. Of a sheet that would be words without their table, so there the way is an export.
"""

from collections.abc import Iterator

from ingest.formats.blocks import Blocks, cleaned
from ingest.formats.package import Package
from ingest.formats.pdf import parse_pdf
from rag.errors import UnreadableDocument, UnsupportedFormat
from rag.types import Document

_PREVIEWS = ("QuickLook/Preview.pdf", "preview.pdf")
_TEXT_STORAGE, _TABLE_LIST = frozenset({2001, 2005}), 6005
_STRINGS = 1  # a list of a table may hold formats, formulas or styles, too
# Kinds of text: headers and tables of contents repeat what stands elsewhere.
_SHOWN_KINDS = frozenset({0, 2, 3, 4, 5})
_LARGEST = 128 << 20


def parse_pages(data: bytes, source: str) -> Document:
    """A Pages document. Raises UnreadableDocument, EmptyDocument."""
    return _parse(data, source, "pages")


def parse_key(data: bytes, source: str) -> Document:
    """A Keynote presentation. Raises UnreadableDocument, EmptyDocument."""
    return _parse(data, source, "key")


def parse_numbers(data: bytes, source: str) -> Document:
    """A Numbers sheet that carries a preview. Raises UnsupportedFormat for others, and as above."""
    return _parse(data, source, "numbers")


def _parse(data: bytes, source: str, kind: str) -> Document:
    package = Package(data, source)
    for name in _PREVIEWS:
        if name in package.names:
            return parse_pdf(package.read(name), source)
    if ".iwpv2" in package.names or ".iwph" in package.names:
        raise UnreadableDocument(f"{source} is encrypted; save it without a password")
    parts = sorted(name for name in package.names if name.endswith(".iwa"))
    if kind == "numbers" or not parts:
        raise UnsupportedFormat(
            f"{source}: export it from Apple's program as PDF, Word, PowerPoint or Excel file first"
        )
    blocks = Blocks()
    room = _LARGEST
    for name in sorted(parts, key=lambda name: (name != "Index/Document.iwa", "Slide-" not in name, len(name), name)):
        archive = _unpacked(package.read(name), room)
        room -= len(archive)
        # The body before what floats around it.
        for _, text in sorted(_texts(archive), key=lambda found: found[0] != 0):
            for paragraph in cleaned(text.replace("\u2028", "\n").replace("\ufffc", "")).split("\n"):
                blocks.add(paragraph)
    return blocks.document(source, "", kind)


def _texts(archive: bytes) -> Iterator[tuple[int, str]]:
    """The texts among the objects of an archive, each with its kind; the words of a table in one."""
    at = 0
    while at < len(archive):
        size, at = _number(archive, at)
        header, at = archive[at : at + size], at + size
        for field, message in _fields(header):
            if field != 2 or not isinstance(message, bytes):
                continue
            about = {key: value for key, value in _fields(message) if isinstance(value, int)}
            payload, at = archive[at : at + about.get(3, 0)], at + about.get(3, 0)
            if about.get(1) in _TEXT_STORAGE:
                fields = list(_fields(payload))
                kind = next((value for key, value in fields if key == 1), 0)
                if kind in _SHOWN_KINDS:
                    parts = [value for key, value in fields if key == 3 and isinstance(value, bytes)]
                    yield int(kind), b"".join(parts).decode("utf-8", "replace")
            elif about.get(1) == _TABLE_LIST and (1, _STRINGS) in (fields := list(_fields(payload))):
                entries = [dict(_fields(value)) for key, value in fields if key == 3 and isinstance(value, bytes)]
                entries.sort(key=lambda entry: str(entry.get(1, 0)).zfill(20))  # as they were written
                words = [word.decode("utf-8", "replace") for e in entries if isinstance(word := e.get(3), bytes)]
                yield -1, " | ".join(words)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: number and value, those of fixed size as bytes."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        if key & 7 == 0:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            size, at = _number(message, at)
        else:
            size = {1: 8, 5: 4}.get(key & 7, len(message))
        yield key >> 3, message[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at


def _unpacked(data: bytes, room: int) -> bytes:
    """The chunks of an archive unpacked, in the compression named Snappy without its usual frame."""
    made = bytearray()
    at = 0
    while at + 4 <= len(data) and data[at] == 0:
        end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "little")
        chunk = data[at + 4 : end]
        at, start = end, len(made)
        _, here = _number(chunk, 0)
        while here < len(chunk):
            tag = chunk[here]
            here += 1
            if tag & 3 == 0:
                length = (tag >> 2) + 1
                if length > 60:
                    size = length - 60
                    length = int.from_bytes(chunk[here : here + size], "little") + 1
                    here += size
                made += chunk[here : here + length]
                here += length
                continue
            if tag & 3 == 1:
                length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | int.from_bytes(chunk[here : here + 1], "little")
                here += 1
            else:
                size = 2 if tag & 3 == 2 else 4
                length, offset = (tag >> 2) + 1, int.from_bytes(chunk[here : here + size], "little")
                here += size
            if not 0 < offset <= len(made) - start:
                raise ValueError("an archive in it is damaged")
            piece = made[-offset:] if offset <= length else made[-offset : len(made) - offset + length]
            made += (piece * (length // len(piece) + 1))[:length]
        if len(made) > room:
            raise ValueError("it unpacks to too much")
    return bytes(made)
