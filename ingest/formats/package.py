"""The parts of a zip-based document, unpacked within bounds."""

import io
import zipfile
from typing import TYPE_CHECKING

from rag.errors import UnreadableDocument

if TYPE_CHECKING:
    from lxml.etree import _Element

# A part of text of this size is a book of 50,000 pages; a bomb unpacks to more.
_LARGEST_PART = 256 << 20
_LARGEST_ALL = 512 << 20


class Package:
    """A zip-based document in memory: its parts by name. Raises zipfile.BadZipFile where it is damaged."""

    def __init__(self, data: bytes, source: str) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        self._source = source
        self._unpacked = 0
        self.names = frozenset(self._archive.namelist())

    def check_size(self) -> None:
        """Raises UnreadableDocument where a library that unpacks everything would unpack too much."""
        # zipfile never gives out more than the size that the directory claims.
        if sum(entry.file_size for entry in self._archive.infolist()) > 2 * _LARGEST_ALL:
            raise UnreadableDocument(f"{self._source} unpacks to more than {2 * _LARGEST_ALL >> 20} MB")

    def read(self, name: str) -> bytes:
        """A part's content, b"" where there is none of the name.

        Raises UnreadableDocument for what is too large or encrypted, and what zipfile and zlib raise on damage.
        """
        if name not in self.names:
            return b""
        entry = self._archive.getinfo(name)
        if entry.flag_bits & 1:
            raise UnreadableDocument(f"{self._source} is encrypted; save it without a password")
        self._unpacked += entry.file_size
        if entry.file_size > _LARGEST_PART or self._unpacked > _LARGEST_ALL:
            raise UnreadableDocument(f"{self._source} unpacks to more than {_LARGEST_PART >> 20} MB")
        return self._archive.read(entry)

    def xml(self, name: str) -> "_Element | None":
        """A part as an XML tree, None where there is none of the name. Raises lxml.etree.XMLSyntaxError."""
        content = self.read(name)
        return parsed_xml(content) if content.strip() else None


def parsed_xml(content: bytes) -> "_Element":
    """The root of an XML text; entities and addresses in it are left alone. Raises lxml.etree.XMLSyntaxError."""
    from lxml import etree

    return etree.fromstring(
        content,
        etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True),
    )
