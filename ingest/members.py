"""What a file may hold more than one of: options of reading, members that could not be read, limits on unpacking."""

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read, and how much of them.

    With any of the three record fields set, a JSON Lines, JSON, CSV or TSV file is one document a record: `record_id`
    names the field with its identity, `record_text` those with its text (empty: all that look like text),
    `record_title` the one with its title; nested fields are dotted. `ocr` False leaves text in images unread.
    `max_document_bytes` bounds one document, `max_bytes` all that one file unpacks to, `max_ratio` the unpacked size
    against the packed one, `max_members` and `max_depth` what is inside a file and inside of that.
    """

    record_id: str | None = None
    record_text: tuple[str, ...] = ()
    record_title: str | None = None
    ocr: bool = True
    max_document_bytes: int = 256 * _MIB
    max_bytes: int = 4096 * _MIB
    max_ratio: int = 200
    max_members: int = 100_000
    max_depth: int = 4

    @property
    def as_records(self) -> bool:
        """Whether tables and lists of objects are to become one document a record."""
        return self.record_id is not None or bool(self.record_text) or self.record_title is not None


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of a file that could not be read: a member, an attachment, a record.

    `unsupported` is True where there is no reader for its kind, as with a file in a folder that is left out for that.
    """

    source: str
    reason: str
    unsupported: bool = False
