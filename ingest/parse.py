"""Any file into its documents: finds out what it is and hands it to its reader."""

import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from ingest.detect import HEAD_BYTES, ZIPPED, kind_of, marked, suffix_of
from ingest.formats.archive import ARCHIVES, DAMAGE, PACKED, members, name_inside, unpacked, unpacked_size
from ingest.formats.asciidoc import parse_asciidoc
from ingest.formats.attachments import mail_and_attachments, msg_and_attachments
from ingest.formats.blocks import one_line
from ingest.formats.code import LANGUAGES, parse_code
from ingest.formats.elements import parse_docx
from ingest.formats.epub import parse_epub
from ingest.formats.iwork import parse_key, parse_numbers, parse_pages
from ingest.formats.mail import parse_mail
from ingest.formats.mailbox import messages
from ingest.formats.markdown import parse_markdown
from ingest.formats.markup import parse_xml
from ingest.formats.notebook import parse_notebook
from ingest.formats.ocr import IMAGE_SUFFIXES, parse_image
from ingest.formats.opendocument import parse_odp, parse_ods, parse_odt
from ingest.formats.org import parse_org
from ingest.formats.outlook import parse_msg
from ingest.formats.pdf import parse_pdf
from ingest.formats.pictures import Look
from ingest.formats.powerpoint97 import parse_ppt
from ingest.formats.record_files import RECORD_KINDS, record_documents
from ingest.formats.records import parse_csv, parse_json, parse_json_lines
from ingest.formats.rst import parse_rst
from ingest.formats.rtf import parse_rtf
from ingest.formats.sheets import parse_xls, parse_xlsx
from ingest.formats.slides import parse_pptx
from ingest.formats.subtitles import parse_subtitles
from ingest.formats.tex import parse_tex
from ingest.formats.text import looks_binary, parse_text
from ingest.formats.webpage import parse_html
from ingest.formats.word97 import parse_doc
from ingest.members import REST, Budget, Member, Names, ReadOptions, Unread
from rag.errors import EmptyDocument, ParseError, TooBig, UnreadableDocument, UnsupportedFormat
from rag.types import Document

__all__ = ["SUFFIXES", "ReadOptions", "Unread", "parse", "read_all", "supported"]

Reader = Callable[[bytes, str], Document]
OcrReader = Callable[[bytes, str, bool, str, Look | None], Document]
AttachmentReader = Callable[[bytes, str], tuple[Document, list[tuple[str, bytes]]]]

_DEFAULTS = ReadOptions()


def parse(path: Path, source: str) -> Document:
    """Read one file that is one document; `source` is the name it goes by in the document and in messages.

    A mail is read without what is attached to it. Raises UnsupportedFormat, UnreadableDocument (damaged, encrypted, not
    what its name says), EmptyDocument, TooBig, or OSError where the file cannot be opened.
    """
    with path.open("rb") as stream:
        budget = Budget(_DEFAULTS, os.fstat(stream.fileno()).st_size)
        kind, _, inner = _inside(cast("BinaryIO", stream), path.name, source, budget)
        if kind in ARCHIVES or kind == ".mbox":
            raise UnsupportedFormat(f"{source} holds several documents: read it as what it is, an archive")
        return _one(_read(inner, source, budget), kind, source, budget)


def read_all(
    path: Path, source: str, options: ReadOptions = _DEFAULTS, look: Look | None = None
) -> Iterator[Document | Unread]:
    """The documents that a file holds, in order: one for a plain file, named `source`.

    What is inside a file has a source below it: members of an archive and attachments `source/name`, messages of an
    mbox `source/000001`, records `source#id`. A compressed file is what is in it, under its own name. Raises what
    `parse` raises where the file as a whole cannot be read; what cannot be read in it is Unread. `look` tells what
    pictures show.
    """
    with path.open("rb") as stream:
        budget = Budget(options, os.fstat(stream.fileno()).st_size, look)
        yield from _documents(cast("BinaryIO", stream), path.name, source, budget, 0)


def supported(path: Path) -> bool:
    """Whether there is a reader for the file: by its suffix where that is known, else by its first bytes."""
    suffix = suffix_of(path.name)
    if suffix in _NEVER:
        return False
    if suffix in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    kind = marked(head, suffix)
    return kind in SUFFIXES or kind == ".ole" if kind else bool(head) and not looks_binary(head)


def _documents(
    stream: BinaryIO, name: str, source: str, budget: Budget, depth: int, kind: str = ""
) -> Iterator[Document | Unread]:
    """The documents in a stream that can be moved. `depth` counts the archives around it."""
    if not kind:
        kind, name, stream = _inside(stream, name, source, budget)
    if kind in ARCHIVES or kind == ".mbox":
        inside = messages(stream, source, budget) if kind == ".mbox" else members(stream, kind, source, budget)
        some = False
        for found in _each(inside, source, budget, depth):
            some = True
            yield found
        if not some:
            raise EmptyDocument(f"{source} holds no documents")
    elif budget.options.as_records and kind in RECORD_KINDS:
        yield from _guarded(record_documents(stream, kind, source, budget), source)
    elif reader := _WITH_ATTACHMENTS.get(kind):
        data = _read(stream, source, budget)
        try:
            document, attached = reader(data, source)
        except Exception as exc:
            raise _as_parse_error(exc, kind, source) from exc
        yield document
        names = Names()
        sent_along = (Member(names.harmless(each), partial(io.BytesIO, content)) for each, content in attached)
        yield from _each(sent_along, source, budget, depth)
    else:
        yield _one(_read(stream, source, budget), kind, source, budget)


def _each(inside: Iterator[Member | Unread], source: str, budget: Budget, depth: int) -> Iterator[Document | Unread]:
    """The documents in each member; one that cannot be read does not end the others."""
    some = False
    while True:
        try:
            member = next(inside, None)
        except (TooBig, *DAMAGE) as exc:
            if not some and not isinstance(exc, TooBig):
                raise UnreadableDocument(f"{source} is damaged: {one_line(str(exc))[:200]}") from exc
            yield Unread(f"{source}/{REST}", one_line(str(exc)))
            return
        if member is None:
            return
        some = True
        if isinstance(member, Unread):
            yield member
            continue
        inner = f"{source}/{member.name}"
        try:
            budget.check_depth(depth + 1)
            with member.open() as stream:
                whole = io.BytesIO(budget.read(stream))
            yield from _documents(whole, member.name, inner, budget, depth + 1, member.kind)
        except ParseError as exc:
            yield Unread(inner, str(exc), isinstance(exc, UnsupportedFormat))
        except DAMAGE as exc:
            yield Unread(inner, f"it is damaged: {one_line(str(exc))[:200]}")


def _inside(stream: BinaryIO, name: str, source: str, budget: Budget) -> tuple[str, str, BinaryIO]:
    """Kind, name and content of a file, of what is in it where it is merely compressed."""
    kind = kind_of(stream, name, source)
    for _ in range(budget.options.max_depth):
        if kind not in PACKED:
            return kind, name, stream
        stream, name = unpacked(stream, kind, budget), name_inside(name)
        try:
            if marked(stream.read(HEAD_BYTES), suffix_of(name)) in {".zip", ".ole"}:
                stream.seek(0)  # these are read from their end: each look would unpack all of it
                stream = io.BytesIO(budget.read(stream))
            stream.seek(0)
            kind = kind_of(stream, name, source)
        except TooBig as exc:
            raise TooBig(f"{source}: {exc}") from exc
        except DAMAGE as exc:
            raise UnreadableDocument(f"{source} is damaged: {one_line(str(exc))[:200]}") from exc
    raise TooBig(f"{source} is packed more than {budget.options.max_depth} times over; unpack it yourself")


def _read(stream: BinaryIO, source: str, budget: Budget) -> bytes:
    try:
        return budget.read(stream)
    except ParseError as exc:
        raise type(exc)(f"{source}: {exc}") from exc
    except DAMAGE as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        raise UnreadableDocument(f"{source} is damaged: {one_line(str(exc))[:200]}") from exc


def _guarded(records: Iterator[Document | Unread], source: str) -> Iterator[Document | Unread]:
    """Records of a compressed file whose end is missing: what was there stays."""
    some = False
    try:
        for record in records:
            some = True
            yield record
    except (ParseError, *DAMAGE) as exc:
        if not some:
            raise _as_parse_error(exc, "", source) from exc
        yield Unread(f"{source}#rest", f"the file is damaged: {one_line(str(exc))[:200]}")


def _one(data: bytes, kind: str, source: str, budget: Budget) -> Document:
    reader = _READERS.get(kind)
    if with_ocr := _OCR_READERS.get(kind):
        reader = partial(_read_images, with_ocr, budget)
    elif with_pictures := _PICTURED_READERS.get(kind):
        reader = partial(with_pictures, look=budget.look)
    if reader is None and kind not in _BINARY_KINDS and not looks_binary(data[:HEAD_BYTES]):
        reader = parse_text  # a text with a suffix of its own
    if reader is None:
        what = "binary data of no known kind" if kind == ".bin" else f"a {kind} file, and there is no reader for those"
        raise UnsupportedFormat(f"{source} is {what}. Convert it to PDF, DOCX or text first, or leave it out.")
    try:
        if kind in ZIPPED:
            budget.allow(unpacked_size(data))
        return reader(data, source)
    except TooBig as exc:
        raise TooBig(f"{source}: {exc}") from exc
    except Exception as exc:
        raise _as_parse_error(exc, kind, source) from exc


def _read_images(reader: OcrReader, budget: Budget, data: bytes, source: str) -> Document:
    return reader(data, source, budget.options.ocr, budget.options.ocr_languages, budget.look)


def _as_parse_error(exc: Exception, kind: str, source: str) -> Exception:
    if isinstance(exc, ParseError | MemoryError):
        return exc
    why = f"{type(exc).__name__}: {one_line(str(exc))[:200]}"
    return UnreadableDocument(f"{source} cannot be read as {kind or 'records'}: it seems damaged ({why})")


_READERS: dict[str, Reader] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".mdx": parse_markdown,
    ".rmd": parse_markdown,
    ".qmd": parse_markdown,
    ".rst": parse_rst,
    ".rest": parse_rst,
    ".org": parse_org,
    ".adoc": parse_asciidoc,
    ".asciidoc": parse_asciidoc,
    ".tex": parse_tex,
    ".latex": parse_tex,
    ".ltx": parse_tex,
    ".txt": parse_text,
    ".text": parse_text,
    ".log": parse_text,
    ".html": parse_html,
    ".htm": parse_html,
    ".xhtml": parse_html,
    ".xml": parse_xml,
    ".nxml": parse_xml,
    ".xsl": parse_xml,
    ".xslt": parse_xml,
    ".xsd": parse_xml,
    ".rss": parse_xml,
    ".atom": parse_xml,
    ".opml": parse_xml,
    ".dbk": parse_xml,
    ".docbook": parse_xml,
    ".dita": parse_xml,
    ".fodt": parse_xml,
    ".svg": parse_xml,
    ".csv": parse_csv,
    ".tsv": parse_csv,
    ".tab": parse_csv,
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    ".json": parse_json,
    ".geojson": parse_json,
    ".ipynb": parse_notebook,
    ".vtt": parse_subtitles,
    ".srt": parse_subtitles,
    **{suffix: partial(parse_code, language=language) for suffix, language in LANGUAGES.items()},
    ".xlsx": parse_xlsx,
    ".xlsm": parse_xlsx,
    ".epub": parse_epub,
    ".odt": parse_odt,
    ".odp": parse_odp,
    ".ods": parse_ods,
    ".msg": parse_msg,
    ".doc": parse_doc,
    ".ppt": parse_ppt,
    ".xls": parse_xls,
    ".rtf": parse_rtf,
    ".pages": parse_pages,
    ".key": parse_key,
    ".numbers": parse_numbers,
    ".eml": parse_mail,
    ".mht": parse_mail,
    ".mhtml": parse_mail,
}
# These readers take who tells what pictures show; what may be scanned, also whether to read images, in which languages.
_PICTURED_READERS = {".docx": parse_docx, ".pptx": parse_pptx}
_OCR_READERS: dict[str, OcrReader] = {".pdf": parse_pdf, **dict.fromkeys(IMAGE_SUFFIXES, parse_image)}
# Read these with what is attached to them; the reader gives the document, and names and contents in order.
_WITH_ATTACHMENTS: dict[str, AttachmentReader] = {
    ".eml": mail_and_attachments,
    ".mht": mail_and_attachments,
    ".mhtml": mail_and_attachments,
    ".msg": msg_and_attachments,
}
SUFFIXES = (
    frozenset(_READERS)
    | frozenset(_OCR_READERS)
    | frozenset(_PICTURED_READERS)
    | PACKED
    | ARCHIVES
    | {".tgz", ".tbz2", ".txz", ".mbox", ".docm", ".dotx", ".pptm"}
)
# Kinds that are told by their content and are never text, whether or not there is a reader for them here.
_BINARY_KINDS = frozenset(
    ".bin .zip .tar .7z .rar .sqlite .a .elf .ole .odf .xlsb .pages .key .numbers .doc .xls .ppt .msg .rtf .ods .odp "
    ".png .jpg .gif .bmp .tif .webp".split()
)
# Not worth a look in a folder: programs, music, films, and texts that nobody wrote; named by themselves they are read.
_NEVER = frozenset(
    ".exe .dll .so .dylib .o .a .lib .pyc .pyo .class .jar .war .whl .apk .iso .img .dmg .msi .deb .rpm .mp3 .mp4 .m4a "
    ".m4v .mkv .avi .mov .wav .flac .ogg .webm .wmv .ttf .otf .woff .woff2 .eot .ico .icns .psd .npy .npz .parquet "
    ".gguf .safetensors .pt .pth .onnx .pkl .db .sqlite .lance .bin .dat .svg .map .lock".split()
)
