"""Office files from before 2007 and Outlook's messages: the streams in them. The only door to olefile."""

import io
from collections.abc import Iterable
from typing import BinaryIO

from rag.errors import UnreadableDocument

MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STREAMS = {
    "worddocument": ".doc",
    "workbook": ".xls",
    "book": ".xls",
    "powerpoint document": ".ppt",
    "__properties_version1.0": ".msg",
}


def ole_kind(stream: BinaryIO, source: str) -> str:
    """`.doc`, `.xls`, `.ppt` or `.msg`, or `.ole` for anything else in this container.

    Raises UnreadableDocument for an encrypted Office file and for a damaged one.
    """
    import olefile

    try:
        with olefile.OleFileIO(stream) as ole:
            names = {path[0].lower() for path in ole.listdir()}
    except (OSError, ValueError, IndexError, KeyError, TypeError, RecursionError, OverflowError) as exc:
        raise UnreadableDocument(f"{source} is a damaged Office file: {exc}") from exc
    if "encryptedpackage" in names:
        raise UnreadableDocument(f"{source} is encrypted; save it without a password")
    return next((kind for name, kind in _STREAMS.items() if name in names), ".ole")


def streams(data: bytes, source: str, names: Iterable[str]) -> dict[str, bytes]:
    """The streams of these names that stand at the top of the file, those that it has.

    Raises UnreadableDocument for a damaged container, and for an encrypted one.
    """
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as ole:
            entries = [entry for entry in ole.direntries if entry and entry.entry_type != olefile.STGTY_STORAGE]
            # Small streams count twice: they stand in one that belongs to the root.
            if sum(entry.size for entry in entries) > 3 * len(data):
                # Chains of sectors that run in circles: olefile would read gigabytes out of kilobytes.
                raise UnreadableDocument(f"{source} is a damaged Office file: its streams are longer than the file")
            if ole.exists("EncryptedPackage"):
                raise UnreadableDocument(f"{source} is encrypted; save it without a password")
            return {name: ole.openstream(name).read() for name in names if ole.exists(name)}
    except (OSError, ValueError, IndexError, KeyError, TypeError, RecursionError, OverflowError) as exc:
        raise UnreadableDocument(f"{source} is a damaged Office file: {exc}") from exc
