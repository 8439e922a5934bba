"""Spreadsheets: cell values as a reader of the sheet would write them down. The only door to openpyxl.

`unstructured` reads sheets through pandas, which takes the texts "N/A", "None" and "null" for empty cells, rounds
numbers to six digits and turns whole numbers in a column with gaps into fractions: not what the cell says.
"""

import datetime
import io
import warnings

from ingest.blocks import Blocks
from rag.types import Document

# Excel shows 15 digits: 0.1 + 0.2 is 0.3 to whoever reads the sheet.
_DIGITS = 15


def parse_xlsx(data: bytes, source: str) -> Document:
    """A workbook: one page a sheet, its name as heading, one row a piece; formulas as the values stored with them.

    Raises EmptyDocument, and whatever openpyxl raises on a damaged file.
    """
    import openpyxl  # type: ignore[import-untyped]

    blocks = Blocks()
    with warnings.catch_warnings():
        # It warns of each extension that it would not keep when writing; nothing is written here.
        warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        try:
            for page, sheet in enumerate(book.worksheets, start=1):
                # Some programs write a wrong size into the sheet, and openpyxl would stop reading there.
                sheet.reset_dimensions()
                rows = [[_shown(value) for value in row] for row in sheet.iter_rows(values_only=True)]
                if any(map(any, rows)):
                    blocks.heading(sheet.title, 1, page)
                    blocks.table(rows, page)
            title = book.properties.title
        finally:
            book.close()
    return blocks.document(source, title or "", "xlsx")


def _shown(value: object) -> str:
    """A cell's value in words: ISO dates, whole numbers without a fraction, truth as the sheet writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 10**_DIGITS else format(value, f".{_DIGITS}g")
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
