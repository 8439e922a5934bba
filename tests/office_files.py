"""Small files of the formats that no library at hand writes, made here after their published descriptions."""

import io
import struct
import zipfile
from collections.abc import Iterable, Sequence

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def zipped(parts: dict[str, str | bytes]) -> bytes:
    """A zip file of these parts, in this order."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target.getvalue()


def compound(streams: dict[str, bytes]) -> bytes:
    """A compound file of these streams; "storage/stream" stands in a storage."""
    names: list[str] = []
    for path in streams:
        parts = path.split("/")
        names += [name for at in range(1, len(parts) + 1) if (name := "/".join(parts[:at])) not in names]
    mini = io.BytesIO()
    mini_fat: list[int] = []
    small: dict[str, int] = {}
    for path, data in streams.items():
        if len(data) < 4096:
            small[path] = len(mini_fat)
            count = max(1, -(-len(data) // 64))
            mini_fat += [*range(len(mini_fat) + 1, len(mini_fat) + count), _END]
            mini.write(data.ljust(64 * count, b"\0"))
    sectors: list[bytes] = []
    fat: list[int] = []

    def place(data: bytes) -> int:
        if not data:
            return _END
        first, count = len(sectors), -(-len(data) // 512)
        sectors.extend(data[512 * at : 512 * at + 512].ljust(512, b"\0") for at in range(count))
        fat.extend([*range(first + 1, first + count), _END])
        return first

    starts = {path: small.get(path, 0) if path in small else place(data) for path, data in streams.items()}
    mini_start = place(mini.getvalue())
    mini_fat_start = place(b"".join(struct.pack("<I", entry) for entry in mini_fat))

    def entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
        shown = name.encode("utf-16-le")
        head = shown.ljust(64, b"\0") + struct.pack("<HBBIII", len(shown) + 2, kind, 1, _FREE, right, child)
        return head.ljust(116, b"\0") + struct.pack("<IQ", start, size)

    numbers = {name: at for at, name in enumerate(names, start=1)}

    def children(folder: str) -> list[str]:
        return [name for name in names if name.rpartition("/")[0] == folder]

    directory = entry("Root Entry", 5, _FREE, numbers[children("")[0]], mini_start, len(mini.getvalue()))
    for name in names:
        beside = children(name.rpartition("/")[0])
        after = beside.index(name) + 1
        right = numbers[beside[after]] if after < len(beside) else _FREE
        if name in streams:
            directory += entry(name.rpartition("/")[2], 2, right, _FREE, starts[name], len(streams[name]))
        else:
            directory += entry(name.rpartition("/")[2], 1, right, numbers[children(name)[0]], 0, 0)
    directory_start = place(directory.ljust(-(-len(directory) // 512) * 512, b"\0"))
    fat_sectors = 1
    while fat_sectors * 128 < len(fat) + fat_sectors:
        fat_sectors += 1
    fat_start = len(sectors)
    table = [*fat, *[_FAT] * fat_sectors]
    raw = b"".join(struct.pack("<I", number) for number in table).ljust(512 * fat_sectors, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, fat_sectors, directory_start, 0, 4096, mini_fat_start, 1, _END, 0)
    header += b"".join(struct.pack("<I", fat_start + at) for at in range(fat_sectors))
    return header.ljust(512, b"\xff") + b"".join(sectors) + raw


Paragraph = tuple[str, int, bytes]  # text with its end mark, number of the style, property modifiers

IN_TABLE = b"\x16\x24\x01"
ROW_END = IN_TABLE + b"\x17\x24\x01"
LIST_ITEM = b"\x0b\x46\x01\x00"


def _units(text: str) -> str:
    raw = text.encode("utf-16-le")
    return "".join(map(chr, struct.unpack(f"<{len(raw) // 2}H", raw)))


def word97(paragraphs: Sequence[Paragraph], notes: str = "", deleted: str = "", encrypted: bool = False) -> bytes:
    """A Word file: body in two pieces, one byte and two bytes a character; style 1 is heading 1, style 2 heading 2."""
    # A character outside the first plane counts as two.
    paragraphs = [(_units(text), style, modifiers) for text, style, modifiers in paragraphs]
    body = "".join(text for text, _, _ in paragraphs)
    half = len(body) // 2
    first, second = body[:half].encode("cp1252"), (body[half:] + notes).encode("utf-16-le", "surrogatepass")
    offset = 1024
    gap = offset + len(first) + len(first) % 2
    end = gap + len(second)
    spans, limits, at = [], [], 0
    for text, style, modifiers in paragraphs:
        stop = at + len(text)
        limits.append(offset + at if at < half else gap + 2 * (at - half))
        spans.append(struct.pack("<H", style) + modifiers)
        at = stop
    limits.append(end)
    page = bytearray(512)
    struct.pack_into(f"<{len(limits)}I", page, 0, *limits)
    write = 510
    for number, grpprl in enumerate(spans):
        padded = grpprl + b"\0" * (1 - len(grpprl) % 2)
        write -= len(padded) + 1
        write -= write % 2
        page[write : write + 1 + len(padded)] = bytes(((len(padded) + 1) // 2,)) + padded
        page[4 * len(limits) + 13 * number] = write // 2
    page[511] = len(spans)
    marks = bytearray(512)
    if deleted:
        start = gap + 2 * (body.index(deleted) - half)
        struct.pack_into("<4I", marks, 0, offset, start, start + 2 * len(deleted), end)
        marks[500:504] = b"\x03\x00\x08\x01"
        marks[17], marks[511] = 250, 3
    text_end = -(-end // 512) * 512
    styles = b"".join(struct.pack("<HH", 10, number).ljust(12, b"\0") for number in (0, 1, 2))
    parts = {
        1: struct.pack("<HHH", 4, 3, 10) + styles,
        12: struct.pack("<III", offset, end, text_end // 512 + 1),
        13: struct.pack("<III", offset, end, text_end // 512),
        33: b"\x02" + struct.pack("<I", 28) + struct.pack("<3I", 0, half, len(body + notes))
        + struct.pack("<HIH", 0, offset * 2 | 0x40000000, 0) + struct.pack("<HIH", 0, gap, 0),
    }  # fmt: skip
    main = bytearray(text_end + 1024)
    struct.pack_into("<HH", main, 0, 0xA5EC, 0x00C1)
    struct.pack_into("<H", main, 10, 0x0200 | (0x0100 if encrypted else 0))
    struct.pack_into("<II", main, 0x4C, len(body), len(notes))
    table = b""
    for index, part in parts.items():
        struct.pack_into("<II", main, 154 + 8 * index, len(table), len(part))
        table += part
    main[offset : offset + len(first)] = first
    main[gap:end] = second
    main[text_end : text_end + 512], main[text_end + 512 : text_end + 1024] = page, marks
    return compound({"WordDocument": bytes(main), "1Table": table})


def _record(kind: int, content: bytes, version: int = 0, instance: int = 0) -> bytes:
    return struct.pack("<HHI", version | instance << 4, kind, len(content)) + content


def _text(role: int, words: str) -> bytes:
    return _record(0x0F9F, struct.pack("<I", role)) + _record(0x0FA0, words.encode("utf-16-le"))


def powerpoint97(slides: Iterable[tuple[str, Sequence[str], str]], encrypted: bool = False) -> bytes:
    """A presentation: for each slide its title, the texts in boxes on it, and its notes."""
    show, places = b"", {}
    listed, noted = b"", b""
    number = 2
    for at, (title, boxes, notes) in enumerate(slides):
        shapes = b"".join(
            _record(0xF004, _record(0xF00D, words, 15), 15)
            for words in (_record(0x0F9E, struct.pack("<I", 0)), *(_text(4, box) for box in boxes))
        )
        places[number] = len(show)
        show += _record(0x03EE, _record(0x040C, _record(0xF002, _record(0xF003, shapes, 15), 15), 15), 15)
        listed += _record(0x03F3, struct.pack("<IIIII", number, 0, 1, 256 + at, 0)) + _text(0, title)
        number += 1
        if notes:
            shapes = _record(0xF004, _record(0xF00D, _text(2, notes), 15), 15)
            drawing = _record(0x040C, _record(0xF002, shapes, 15), 15)
            places[number] = len(show)
            show += _record(0x03F0, _record(0x03F1, struct.pack("<II", 256 + at, 0)) + drawing, 15)
            noted += _record(0x03F3, struct.pack("<IIIII", number, 0, 1, 256 + at, 0))
            number += 1
    places[1] = len(show)
    show += _record(0x03E8, _record(0x0FF0, listed, 15, 0) + _record(0x0FF0, noted, 15, 2), 15)
    directory = len(show)
    offsets = b"".join(struct.pack("<I", places[at]) for at in range(1, number))
    show += _record(0x1772, struct.pack("<I", 1 | (number - 1) << 20) + offsets)
    edit = len(show)
    show += _record(0x0FF5, struct.pack("<IIIIIII", 0, 0, 0, directory, 1, number, 0))
    user = _record(0x0FF6, struct.pack("<III", 20, 0xF3D1C4DF if encrypted else 0xE391C05F, edit) + bytes(12))
    return compound({"Current User": user, "PowerPoint Document": show})


def outlook(
    properties: dict[int, str | bytes],
    recipients: Iterable[tuple[str, str]] = (),
    attachments: Iterable[tuple[str, bytes]] = (),
) -> bytes:
    """A message: properties by their number, recipients as name and address, attached files as name and content."""
    recipients, attachments = list(recipients), list(attachments)
    streams: dict[str, bytes] = {}

    def put(folder: str, header: bytes, values: dict[int, str | bytes | int]) -> None:
        listed = header
        for number, value in values.items():
            if isinstance(value, int):
                listed += struct.pack("<HHIII", 0x0003, number, 6, value, 0)
                continue
            kind, raw = (0x001F, value.encode("utf-16-le")) if isinstance(value, str) else (0x0102, value)
            streams[f"{folder}__substg1.0_{number:04X}{kind:04X}"] = raw
            listed += struct.pack("<HHIII", kind, number, 6, len(raw) + (2 if kind == 0x001F else 0), 0)
        streams[f"{folder}__properties_version1.0"] = listed

    counts = (len(recipients), len(attachments))
    put("", bytes(8) + struct.pack("<4I", *counts, *counts) + bytes(8), {0x340D: 0x40000, **properties})
    for at, (name, address) in enumerate(recipients):
        put(f"__recip_version1.0_#{at:08X}/", bytes(8), {0x0C15: 1, 0x3001: name, 0x39FE: address})
    for at, (name, content) in enumerate(attachments):
        put(f"__attach_version1.0_#{at:08X}/", bytes(8), {0x3705: 1, 0x3707: name, 0x3701: content})
    return compound(streams)


def excel97(sheets: dict[str, Sequence[Sequence[str | float]]]) -> bytes:
    """A workbook: sheets by name, rows of texts and numbers."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    def word(text: str, size: str) -> bytes:
        return struct.pack(size, len(text)) + b"\x01" + text.encode("utf-16-le")

    begin = record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0x0DBB, 0x07CC, 0x41, 0x6))
    fonts = record(0x0031, struct.pack("<HHHHHBBBB", 200, 0, 0x7FFF, 400, 0, 0, 0, 0, 0) + word("Arial", "<B")) * 5
    formats = record(0x00E0, struct.pack("<HHHBBBBHI", 0, 0, 0xFFF5, 0x20, 0, 0, 0, 0, 0x20C0).ljust(20, b"\0")) * 15
    formats += record(0x00E0, struct.pack("<HHHBBBB", 0, 0, 0x0001, 0x20, 0, 0, 0).ljust(20, b"\0"))
    bodies = []
    for rows in sheets.values():
        body = record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0x0DBB, 0x07CC, 0x41, 0x6))
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, str):
                    body += record(0x0204, struct.pack("<HHH", at, column, 15) + word(value, "<H"))
                else:
                    body += record(0x0203, struct.pack("<HHHd", at, column, 15, value))
        bodies.append(body + record(0x000A, b""))
    listed = [struct.pack("<IH", 0, 0) + word(name, "<B") for name in sheets]
    at = len(begin + fonts + formats) + sum(4 + len(entry) for entry in listed) + 4
    book = begin + fonts + formats
    for entry, body in zip(listed, bodies, strict=True):
        book += record(0x0085, struct.pack("<I", at) + entry[4:])
        at += len(body)
    return compound({"Workbook": (book + record(0x000A, b"") + b"".join(bodies)).ljust(4096, b"\0")})


def pages(texts: Iterable[tuple[int, str]], cells: Sequence[str] = ()) -> bytes:
    """A Pages document of these texts, each with its kind, and the cells of a table."""

    def number(value: int) -> bytes:
        return bytes((value & 0x7F | 0x80,)) + number(value >> 7) if value > 0x7F else bytes((value,))

    def field(key: int, value: int | bytes) -> bytes:
        if isinstance(value, int):
            return number(key << 3) + number(value)
        return number(key << 3 | 2) + number(len(value)) + value

    archive = b""
    listed = [field(3, field(1, at) + field(3, cell.encode())) for at, cell in enumerate(cells)]
    objects = [(2001, field(1, kind) + field(3, text.encode())) for kind, text in texts]
    for kind, content in [*objects, (6005, field(1, 1) + b"".join(reversed(listed))), (1, b"\x08\x00" * 20)]:
        header = field(1, 7) + field(2, field(1, kind) + field(3, len(content)))
        archive += number(len(header)) + header + content
    # The repeated bytes at the end are packed: two of them, and then 38 that are copied from two places before.
    plain = archive[:-38]
    packed = number(len(archive)) + b"\xf4" + (len(plain) - 1).to_bytes(2, "little") + plain
    packed += bytes(((38 - 1) << 2 | 2, 2, 0))
    return zipped({"Index/Document.iwa": b"\x00" + len(packed).to_bytes(3, "little") + packed})


def open_document(kind: str, body: str, title: str = "") -> bytes:
    """An OpenDocument file of this kind (text, presentation, spreadsheet) with this body."""
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{path}:1.0"'
        for name, path in (("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"),
                           ("presentation", "presentation"))
    )  # fmt: skip
    meta = f'<m xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></m>'
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {names}><office:body><office:{kind}>{body}'
        f"</office:{kind}></office:body></office:document-content>"
    )
    return zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content, "meta.xml": meta})


def e_book(title: str, chapters: dict[str, str], extra: dict[str, str] | None = None) -> bytes:
    """An EPUB of these chapters, whose names sort otherwise than they follow each other."""
    items = "".join(f'<item id="{name}" href="text/{name}" media-type="application/xhtml+xml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>{title}</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book/package.opf"/></rootfiles></container>'
    )
    pages = {f"book/text/{name}": f"<html><body>{body}</body></html>" for name, body in reversed(chapters.items())}
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "book/package.opf": package,
            **pages,
            **(extra or {}),
        }
    )
