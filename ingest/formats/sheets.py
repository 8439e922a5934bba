"""Spreadsheets: cell values as a reader of the sheet would write them down. The only door to openpyxl and xlrd.

`unstructured` reads sheets through pandas, which takes the texts "N/A", "None" and "null" for empty cells, rounds
numbers to six digits and turns whole numbers in a column with gaps into fractions: not what the cell says.
"""

import io
import posixpath
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ingest.formats.blocks import Blocks
from ingest.formats.grid import put_table, repeats
from ingest.formats.numbers import shown
from ingest.formats.ole import streams
from rag.errors import UnreadableDocument
from rag.types import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

# A sheet may claim a million rows of formatted emptiness, or a merged area over all of it.
_MOST_REPEATED = 10_000
# Numbers of the kinds of cells and of errors in files from before 2007.
_TEXT, _NUMBER, _DATE, _BOOLEAN, _ERROR = 1, 2, 3, 4, 5
_ERRORS = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')


def parse_xlsx(data: bytes, source: str) -> Document:
    """A workbook: one page a sheet, its name as heading, one row a piece; formulas as the values stored with them.

    Comments stand behind the rows of their sheet. Sheets that only a program can make visible are left out.
    Raises EmptyDocument, and whatever openpyxl raises on a damaged file.
    """
    import openpyxl  # type: ignore[import-untyped]

    blocks = Blocks()
    with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as archive:
        # It warns of each extension that it would not keep when writing; nothing is written here.
        warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        try:
            for page, sheet in enumerate(book.worksheets, start=1):
                if sheet.sheet_state == "veryHidden":
                    continue
                # Some programs write a wrong size into the sheet, and openpyxl would stop reading there.
                sheet.reset_dimensions()
                part = str(sheet._worksheet_path)
                merged = _merged(archive, part)
                rows = _filled((_cells(row) for row in sheet.iter_rows()), merged)
                _put_sheet(blocks, sheet.title, rows, list(_comments(archive, part)), page)
            title = book.properties.title
        finally:
            book.close()
    return blocks.document(source, title or "", "xlsx")


def parse_xls(data: bytes, source: str) -> Document:
    """A workbook from before 2007, read as one from after it.

    Raises UnreadableDocument (encrypted, damaged), EmptyDocument, and whatever xlrd raises on a damaged file.
    """
    import xlrd

    if data.startswith(b"\xd0\xcf\x11\xe0"):
        streams(data, source, ())  # says what is wrong with a damaged or encrypted container
    blocks = Blocks()
    try:
        book = xlrd.open_workbook(file_contents=data, formatting_info=True, on_demand=True, logfile=io.StringIO())
    except xlrd.XLRDError as exc:
        if "encrypted" in str(exc):
            raise UnreadableDocument(f"{source} is encrypted; save it without a password") from exc
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc
    for page in range(1, book.nsheets + 1):
        if book._sheet_visibility[page - 1] == 2:
            continue
        sheet = book.sheet_by_index(page - 1)
        merged = {}
        for top, bottom, left, _ in sheet.merged_cells:
            for row in range(top + 1, min(bottom, top + _MOST_REPEATED)):
                merged[row, left] = top
        rows = _filled(([_old_cell(book, cell) for cell in sheet.row(at)] for at in range(sheet.nrows)), merged)
        notes = [(note.author or "", note.text) for _, note in sorted(sheet.cell_note_map.items())]
        _put_sheet(blocks, sheet.name, rows, notes, page)
        book.unload_sheet(page - 1)
    return blocks.document(source, "", "xls")


def _old_cell(book: Any, cell: Any) -> str:
    kind = cell.ctype
    if kind == _TEXT:
        return str(cell.value)
    if kind == _NUMBER:
        return shown(cell.value, _format(book, cell))
    if kind == _DATE:
        return _moment(cell.value, book.datemode)
    if kind == _ERROR:
        return _ERRORS.get(cell.value, "")
    return shown(bool(cell.value)) if kind == _BOOLEAN else ""


def _moment(days: float, mode: int) -> str:
    from xlrd.xldate import XLDateError, xldate_as_datetime

    try:
        moment = xldate_as_datetime(days, mode)
    except (XLDateError, ValueError, OverflowError):
        return shown(days)
    return shown(moment.time() if 0 <= days < 1 else moment)


def _format(book: Any, cell: Any) -> str:
    index = cell.xf_index
    if index is None or not 0 <= index < len(book.xf_list):
        return ""
    found = book.format_map.get(book.xf_list[index].format_key)
    return found.format_str if found else ""


def _put_sheet(blocks: Blocks, name: str, rows: list[list[str]], comments: list[tuple[str, str]], page: int) -> None:
    if comments or any(map(any, rows)):
        blocks.heading(name, 1, page)
        put_table(blocks, rows, page)
        for author, text in comments:
            blocks.add(f"{author}: {text}" if author and not text.startswith(author) else text, page=page)


def _cells(row: tuple[Any, ...]) -> list[str]:
    return [shown(cell.value, getattr(cell, "number_format", "")) for cell in row]


def _filled(rows: Iterator[list[str]], merged: dict[tuple[int, int], int]) -> list[list[str]]:
    """The rows, with the value of a cell that is merged downwards in each row that it spans."""
    filled: list[list[str]] = []
    for number, cells in enumerate(rows):
        filled.append(cells)
        for column in range(len(cells) if merged else 0):
            top = merged.get((number, column))
            if top is None or cells[column] or column >= len(filled[top]):
                continue
            if repeats(filled[top][column]):
                cells[column] = filled[top][column]
    return filled


def _merged(archive: zipfile.ZipFile, part: str) -> dict[tuple[int, int], int]:
    """For each cell below the first row of a merged area, in its first column, that first row; all counted from 0."""
    merged: dict[tuple[int, int], int] = {}
    for left, top, _, bottom in _MERGED.findall(_read(archive, part)):
        column = 0
        for letter in left:
            column = 26 * column + letter - 64
        first, last = int(top) - 1, int(bottom) - 1
        for row in range(first + 1, min(last, first + _MOST_REPEATED) + 1):
            if len(merged) > 100 * _MOST_REPEATED:
                return merged
            merged[row, column - 1] = first
    return merged


def _comments(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str]]:
    """Author and text of a sheet's comments; a conversation once, not as the notice that older programs get."""
    related = _related(archive, part)
    people = {
        person.get("id", ""): person.get("displayName", "")
        for name in archive.namelist()
        if name.startswith("xl/persons/")
        for person in _parsed(_read(archive, name)).iter("{*}person")
    }
    threads = [name for kind, name in related if kind.endswith("/threadedComment")]
    spoken = set()
    for name in threads:
        for comment in _parsed(_read(archive, name)).iter("{*}threadedComment"):
            spoken.add(comment.get("ref"))
            text = "".join(node.text or "" for node in comment.iter("{*}text"))
            yield people.get(comment.get("personId", ""), ""), text
    for name in (name for kind, name in related if kind.endswith("/comments")):
        root = _parsed(_read(archive, name))
        authors = [author.text or "" for author in root.iter("{*}author")]
        for comment in root.iter("{*}comment"):
            if comment.get("ref") not in spoken:
                number = comment.get("authorId", "")
                author = authors[int(number)] if number.isdecimal() and int(number) < len(authors) else ""
                yield author, "".join(node.text or "" for node in comment.iter("{*}t"))


def _related(archive: zipfile.ZipFile, part: str) -> list[tuple[str, str]]:
    """Kind and name of each part that this one refers to."""
    folder, name = posixpath.split(part.lstrip("/"))
    relations = _read(archive, f"{folder}/_rels/{name}.rels")
    return [
        (node.get("Type", ""), posixpath.normpath(posixpath.join("/" + folder, node.get("Target", ""))).lstrip("/"))
        for node in (_parsed(relations).iter("{*}Relationship") if relations else ())
        if node.get("TargetMode") != "External"
    ]


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name.lstrip("/"))
    except KeyError:
        return b""


def _parsed(data: bytes) -> "_Element":
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    return etree.fromstring(data, parser) if data else etree.Element("none")
