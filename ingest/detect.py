"""What a file is: by its content where that is beyond doubt, by its name where the content leaves a choice.

Kinds are written as suffixes. Names lie in both directions: mail programs send a PDF as `.txt`, web services save HTML
as `.xls`, and half of all configuration files have a suffix of their own.
"""

import re
import tarfile
import zipfile
import zlib
from typing import BinaryIO

import ingest.formats.ole as ole
from ingest.formats.text import head_text, looks_binary
from rag.errors import TooBig, UnreadableDocument

HEAD_BYTES = 4096
_ZIP_TAIL = 66_000
_SEE_ZIP64 = 0xFFFFFFFF
_LONGEST_DIRECTORY = 32 << 20  # some 300,000 files; listing them takes ten times the memory

_APPLE = frozenset({".pages", ".key", ".numbers"})
ZIPPED = _APPLE | {".docx", ".pptx", ".xlsx", ".xlsm", ".epub", ".odt", ".ods", ".odp"}
_OLD_OFFICE = frozenset({".doc", ".xls", ".ppt", ".msg", ".rtf"})
_PACKED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz"})
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"})
_BINARY = ZIPPED | _OLD_OFFICE | _PACKED | _IMAGES | {".pdf"}

_MARKS = (
    (b"{\\rtf", ".rtf"),
    (b"\x1f\x8b\x08", ".gz"),
    (b"\xfd7zXZ\x00", ".xz"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"Rar!\x1a\x07", ".rar"),
    (b"SQLite format 3\x00", ".sqlite"),
    (b"!<arch>\n", ".a"),
    (b"\x7fELF", ".elf"),
)
_OPEN_DOCUMENT = {"text": ".odt", "spreadsheet": ".ods", "presentation": ".odp"}
_MAIL_HEADER = re.compile(
    r"^(?:From|To|Cc|Date|Subject|Received|Return-Path|Message-ID|MIME-Version|Reply-To|Delivered-To|X-[\w-]+):[ \t]",
    re.IGNORECASE | re.MULTILINE,
)
_MBOX = re.compile(r"From \S+.* \d\d:\d\d.*\n(?:>?From .*\n)?[\w-]+:")
_JSON = re.compile(r"""\s*(?:\{\s*["}]|\[\s*[\[{"\]])""")
_JSON_LINES = re.compile(r"\s*(?:\{.*\}[ \t]*\n\s*){2}")
_ROOT = re.compile(r"<(?![?!])(?:\w+:)?([\w-]+)")
_SHEBANG = re.compile(r"#!.*?\b(python|bash|zsh|sh|perl|ruby|node|php)")
_SCRIPTS = {"python": ".py", "perl": ".pl", "ruby": ".rb", "node": ".js", "php": ".php"}


def kind_of(stream: BinaryIO, name: str, source: str) -> str:
    """What a file is, as a suffix: `.bin` for binary data of no known kind, its own for a text of any kind.

    `stream` can be moved and is left at its start. Raises UnreadableDocument for a file whose content is not what its
    name says and no other document either, and for one that is encrypted; TooBig.
    """
    named = suffix_of(name)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if not head and named in _BINARY:
        raise UnreadableDocument(f"{source} is an empty file")
    kind = marked(head, named)
    try:
        if kind == ".zip":
            return _zip_kind(stream, named, source)
        if kind == ".ole":
            return ole.ole_kind(stream, source)
    finally:
        stream.seek(0)
    if kind:
        return kind
    if not looks_binary(head):
        return _text_kind(head, named, source)
    if named == ".tar" and _is_old_tar(head):
        return ".tar"
    if named in _BINARY:
        raise UnreadableDocument(_misnamed(named, source))
    return ".bin" if named in {"", ".bin", ".dat"} else named


def suffix_of(name: str) -> str:
    """The suffix of a name in small letters, "" where it has none."""
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = base.rpartition(".")
    return f".{suffix.lower()}" if dot and stem and suffix and " " not in suffix else ""


def marked(head: bytes, named: str) -> str:
    """The kind that the first bytes give away, "" where they do not; `.zip` and `.ole` hold several kinds."""
    if head.lstrip().startswith(b"%PDF-"):
        return ".pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ".zip"
    if head.startswith(ole.MARK):
        return ".ole"
    for mark, kind in _MARKS:
        if head.startswith(mark):
            return kind
    if head[257:262] == b"ustar":
        return ".tar"
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return ".bz2"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return ".bmp"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    # Something may stand before a PDF's mark. A text may quote it, and an archive may hold a PDF as it is.
    if b"%PDF-" in head[:1024] and (named in _BINARY or not named):
        return ".pdf"
    return ""


def _is_old_tar(head: bytes) -> bool:
    """Whether a tar of the kind without a mark starts here, by the checksum of its first header, or an empty one."""
    block = head[: tarfile.BLOCKSIZE]
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return len(block) == tarfile.BLOCKSIZE and not any(block)
    return True


def _text_kind(head: bytes, named: str, source: str) -> str:
    """What a text is. A name that says it is text is believed."""
    if named and named not in _BINARY:
        return named
    found = _sniffed(head_text(head))
    if named in {".doc", ".rtf", ".msg", ".xls"}:
        # Programs save web pages, mail and tables under these names, and Office opens them without a word.
        return found or (".csv" if named == ".xls" else ".txt")
    if named in _BINARY and found not in {".html", ".xml", ".eml"}:
        raise UnreadableDocument(_misnamed(named, source))
    return found or ".txt"


def _sniffed(text: str) -> str:
    """The kind of a text without a name to go by, "" for plain text."""
    start = text.lstrip()
    if start[:1] == "<":
        if start[:9].lower() == "<!doctype":
            return ".html" if start[9:].lstrip()[:4].lower() == "html" else ".xml"
        root = _ROOT.search(start)
        if root and root[1].lower() in {"html", "head", "body"}:
            return ".html"
        if start.startswith("<?xml"):
            return ".xml"
    if _MBOX.match(text):
        return ".mbox"
    if _JSON.match(start):
        return ".jsonl" if _JSON_LINES.match(start) else ".json"
    if shebang := _SHEBANG.match(text):
        return _SCRIPTS.get(shebang[1], ".sh")
    lines = start[:2000].split("\n\n", 1)[0]
    if len(_MAIL_HEADER.findall(lines)) >= 3 and _MAIL_HEADER.match(start):
        return ".eml"
    return ""


def _misnamed(named: str, source: str) -> str:
    return f"{source} is not a {named} file, whatever its name says: it seems damaged or misnamed"


def _directory_size(stream: BinaryIO) -> int:
    """How many bytes the list of a zip's files takes, 0 where there is none to be found."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _ZIP_TAIL))
    tail = stream.read(_ZIP_TAIL)
    stream.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 16 > len(tail):
        return 0
    found = int.from_bytes(tail[at + 12 : at + 16], "little")
    large = tail.rfind(b"PK\x06\x06")
    return int.from_bytes(tail[large + 40 : large + 48], "little") if found == _SEE_ZIP64 and large >= 0 else found


def _zip_kind(stream: BinaryIO, named: str, source: str) -> str:
    """Which of the zip-based kinds it is."""
    if _directory_size(stream) > _LONGEST_DIRECTORY:
        raise TooBig(f"{source} is a zip of too many files to list; unpack it yourself")
    try:
        with zipfile.ZipFile(stream) as archive:
            names = set(archive.namelist())
            kind = ""
            if "mimetype" in names:
                with archive.open("mimetype") as member:
                    kind = member.read(100).decode("ascii", "replace").strip()
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, zlib.error) as exc:
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc
    if kind == "application/epub+zip" or ("META-INF/container.xml" in names and not kind):
        return ".epub"
    if kind.startswith("application/vnd.oasis.opendocument."):
        return _OPEN_DOCUMENT.get(kind.rpartition(".")[2].removesuffix("-template"), ".odf")
    if "xl/workbook.bin" in names:
        return ".xlsb"
    if "[Content_Types].xml" in names:
        for part, suffix in (("word/", ".docx"), ("ppt/", ".pptx"), ("xl/", ".xlsx")):
            if any(name.startswith(part) for name in names):
                return suffix
    apple = {"Index/Document.iwa", ".iwpv2", ".iwph"}, {"index.xml", "index.apxl"}
    if names & apple[0] or (names & apple[1] and "buildVersionHistory.plist" in names):
        return named if named in _APPLE else ".pages"
    return ".zip"
