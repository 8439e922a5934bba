"""PowerPoint files from before 2007: the text of each slide by the records of the published format [MS-PPT].

No reader on the package index follows the record of edits, without which slides that were deleted come back and
others come twice; so this is one of our own. Numbers of records are the ones that the format gives.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingest.formats.blocks import Blocks, cleaned
from ingest.formats.ole import streams
from rag.errors import UnreadableDocument
from rag.types import Document, Kind

_DOCUMENT, _SLIDE, _NOTES, _USER_EDIT, _PERSIST = 0x03E8, 0x03EE, 0x03F0, 0x0FF5, 0x1772
_SLIDE_PERSIST, _SLIDE_ATOM, _SLIDE_LIST = 0x03F3, 0x03EF, 0x0FF0
_TEXT_HEADER, _TEXT_CHARS, _TEXT_BYTES, _OUTLINE_REF = 0x0F9F, 0x0FA0, 0x0FA8, 0x0F9E
_TITLES, _BODIES, _NOTE_TEXT = {0, 6}, {1, 5, 7, 8}, 2
_ENCRYPTED = 0xF3D1C4DF
_DEEPEST = 64


@dataclass(slots=True)
class _Slide:
    """Where a slide is, its outline texts as pairs of kind and text, and the number of its notes."""

    persist: int
    number: int
    outline: list[tuple[int, str]] = field(default_factory=list)


def parse_ppt(data: bytes, source: str) -> Document:
    """One page a slide: its title as heading, what stands on it, then its notes.

    Raises UnreadableDocument (encrypted, damaged, older than PowerPoint 97), EmptyDocument, struct.error.
    """
    parts = streams(data, source, ("Current User", "PowerPoint Document"))
    user, show = parts.get("Current User", b""), parts.get("PowerPoint Document", b"")
    if len(user) < 20 or not show:
        raise UnreadableDocument(f"{source} is not a PowerPoint file, or one from before 1997")
    token, edit = struct.unpack_from("<II", user, 12)
    if token == _ENCRYPTED:
        raise UnreadableDocument(f"{source} is encrypted; save it without a password")
    places, document = _persistent(show, edit)
    blocks = Blocks()
    notes = _notes(show, places, document)
    # A slide that is listed again would make gigabytes out of kilobytes.
    slides = {slide.persist: slide for slide in _listed(show, places, document, 0)}
    for page, slide in enumerate(slides.values(), start=1):
        _fill(blocks, page, _texts(show, places.get(slide.persist), slide.outline), notes.pop(slide.number, []))
    return blocks.document(source, blocks.first_heading, "ppt")


def _fill(blocks: Blocks, page: int, texts: list[tuple[int, str]], notes: list[str]) -> None:
    blocks.stand_below()
    title = next((text for kind, text in texts if kind in _TITLES and cleaned(text)), None)
    if title is not None:
        blocks.heading(title, 1, page)
    for kind, text in texts:
        if text is title:
            continue
        for line in cleaned(text).split("\n") if kind in _BODIES else [text]:
            blocks.add(line, Kind.LIST_ITEM if kind in _BODIES else Kind.PARAGRAPH, page)
    for note in notes:
        blocks.add(note, page=page)


def _records(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The records between two places: version, instance, type, start and end of the content."""
    while start + 8 <= end:
        head, kind, size = struct.unpack_from("<HHI", data, start)
        start += 8
        yield head & 0xF, head >> 4, kind, start, min(start + size, end)
        start += size


def _persistent(show: bytes, edit: int) -> tuple[dict[int, int], int]:
    """The places of the present versions of all parts by number, and the number of the document itself."""
    places: dict[int, int] = {}
    document = 0
    seen: set[int] = set()
    room = len(show)
    while edit and edit not in seen:
        seen.add(edit)
        kind = struct.unpack_from("<H", show, edit + 2)[0]
        if kind != _USER_EDIT:
            break
        _, _, before, directory, reference = struct.unpack_from("<IIIII", show, edit + 8)
        document = document or reference
        size = struct.unpack_from("<I", show, directory + 4)[0]
        at, end = directory + 8, min(directory + 8 + size, len(show))
        room -= max(0, end - at)
        if room < 0:
            raise ValueError("its edits share their lists")
        while at + 4 <= end:
            head = struct.unpack_from("<I", show, at)[0]
            first, count = head & 0xFFFFF, min(head >> 20, (end - at - 4) // 4)
            for number, place in enumerate(struct.unpack_from(f"<{count}I", show, at + 4), start=first):
                places.setdefault(number, place)  # edits come newest first
            at += 4 + 4 * count
        edit = before
    return places, document


def _container(show: bytes, place: int | None, kind: int) -> tuple[int, int]:
    """The content of the container of this type that stands at a place, nothing where it does not."""
    if place is None or place + 8 > len(show):
        return 0, 0
    _, found, size = struct.unpack_from("<HHI", show, place)
    return (place + 8, min(place + 8 + size, len(show))) if found == kind else (0, 0)


def _listed(show: bytes, places: dict[int, int], document: int, instance: int) -> Iterator[_Slide]:
    """The slides (instance 0) or notes (2) of the document in their order."""
    for _, which, kind, start, end in _records(show, *_container(show, places.get(document), _DOCUMENT)):
        if kind != _SLIDE_LIST or which != instance:
            continue
        slide: _Slide | None = None
        role = 4
        for _, _, inner, at, stop in _records(show, start, end):
            if inner == _SLIDE_PERSIST and stop - at >= 16:
                if slide:
                    yield slide
                slide = _Slide(struct.unpack_from("<I", show, at)[0], struct.unpack_from("<I", show, at + 12)[0])
            elif inner == _TEXT_HEADER and stop - at >= 4:
                role = struct.unpack_from("<I", show, at)[0]
                if slide:
                    slide.outline.append((role, ""))
            elif inner in {_TEXT_CHARS, _TEXT_BYTES} and slide and slide.outline:
                slide.outline[-1] = (role, _decoded(show[at:stop], inner))
        if slide:
            yield slide


def _decoded(raw: bytes, kind: int) -> str:
    text = raw.decode("utf-16-le" if kind == _TEXT_CHARS else "latin-1", errors="replace")
    return text.replace("\x0b", "\n").replace("\r", "\n")


def _texts(
    show: bytes, place: int | None, outline: list[tuple[int, str]], container: int = _SLIDE
) -> list[tuple[int, str]]:
    """The texts on a slide in the order of its shapes; those that only its outline has come first."""
    shapes: list[tuple[int, str]] = []
    named: set[int] = set()
    role = 4
    pending = [(1, *_container(show, place, container))]
    while pending:
        depth, start, end = pending.pop()
        inner: list[tuple[int, int, int]] = []
        for version, _, kind, at, stop in _records(show, start, end):
            if version == 0xF and depth < _DEEPEST:
                # The rest of this container waits until the inner one has been read.
                inner.append((depth + 1, at, stop))
                inner.append((depth, stop, end))
                break
            if kind == _TEXT_HEADER and stop - at >= 4:
                role = struct.unpack_from("<I", show, at)[0]
            elif kind in {_TEXT_CHARS, _TEXT_BYTES}:
                shapes.append((role, _decoded(show[at:stop], kind)))
            elif kind == _OUTLINE_REF and stop - at >= 4:
                index = struct.unpack_from("<I", show, at)[0]
                if index < len(outline):
                    named.add(index)
                    shapes.append(outline[index])
        pending += reversed(inner)
    return [text for index, text in enumerate(outline) if index not in named] + shapes


def _notes(show: bytes, places: dict[int, int], document: int) -> dict[int, list[str]]:
    """The speaker's notes by the number of their slide."""
    notes: dict[int, list[str]] = {}
    for page in {page.persist: page for page in _listed(show, places, document, 2)}.values():
        start, end = _container(show, places.get(page.persist), _NOTES)
        for _, _, kind, at, stop in _records(show, start, end):
            if kind == 0x03F1 and stop - at >= 4:  # says whose notes these are
                texts = _texts(show, places.get(page.persist), page.outline, _NOTES)
                said = [text for role, text in texts if role == _NOTE_TEXT]
                notes.setdefault(struct.unpack_from("<I", show, at)[0], []).extend(said)
    return notes
