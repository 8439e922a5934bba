"""Apple's Pages: read from the PDF that it keeps in its files for other programs to show."""

import io
import zipfile
from dataclasses import replace

from ingest.pdf import parse_pdf
from rag.errors import UnsupportedFormat
from rag.types import Document

_PREVIEWS = ("QuickLook/Preview.pdf", "preview.pdf")


def parse_pages(data: bytes, source: str) -> Document:
    """A document of Pages, Numbers or Keynote by its own preview, which has its pages and all of its text.

    Raises UnsupportedFormat where there is none: later versions keep a picture of the first page alone, and their own
    format is Apple's secret.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next((name for name in _PREVIEWS if name in archive.namelist()), None)
        if name is None:
            raise UnsupportedFormat(f"{source} keeps its text in a format of Apple's own. Export it as PDF or DOCX.")
        preview = archive.read(name)
    return replace(parse_pdf(preview, source), parser="pages")
