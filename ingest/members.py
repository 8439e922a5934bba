"""What a file may hold more than one of: options of reading, members that could not be read, limits on unpacking."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

from rag.errors import TooBig

_MIB = 1 << 20
_BLOCK = 1 << 20
_RATIO_COUNTS_FROM = 64 * _MIB  # a page of zeros packs a thousandfold, and harms nobody
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DRIVE = re.compile(r"[A-Za-z]:")
_NAME_CHARS = 200
REST = "(rest)"  # the name of all that could not be read behind a damaged place or a limit


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read, and how much of them.

    With any of the three record fields set, a JSON Lines, JSON, CSV or TSV file is one document a record: `record_id`
    names the field with its identity, `record_text` those with its text (empty: all that look like text),
    `record_title` the one with its title; nested fields are dotted. `ocr` False leaves text in images unread;
    `ocr_languages` names those that it is in, as Tesseract does ("deu+eng"). With `describe_images` a
    model that sees tells what images show.
    `max_document_bytes` bounds one document, `max_bytes` all that one file unpacks to, `max_ratio` the unpacked size
    against the packed one, `max_members` and `max_depth` what is inside a file and inside of that.
    """

    record_id: str | None = None
    record_text: tuple[str, ...] = ()
    record_title: str | None = None
    ocr: bool = True
    ocr_languages: str = ""
    describe_images: bool = False
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


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a file, by its harmless name; `open` gives its content, which can be read once.

    `kind` is what it is, as a suffix, where its container says so.
    """

    name: str
    open: Callable[[], BinaryIO]
    kind: str = ""


class Budget:
    """What one file may still unpack to, with all that is inside it. `packed` is its size in bytes.

    `look` tells what a picture shows, None where nobody does.
    """

    def __init__(self, options: ReadOptions, packed: int, look: Callable[[bytes], str] | None = None) -> None:
        self.options, self.look = options, look
        self._spent = 0
        self._members = 0
        self._most = min(options.max_bytes, max(_RATIO_COUNTS_FROM, packed * options.max_ratio))

    def spend(self, size: int) -> None:
        """Count unpacked bytes. Raises TooBig."""
        self._spent += size
        if self._spent > self._most:
            raise TooBig(f"it unpacks to more than {self._most // _MIB} MiB; unpack it yourself if that is right")

    def allow(self, size: int) -> None:
        """Check what a document will unpack to by its own account. Raises TooBig."""
        if self._spent + size > self._most:
            raise TooBig(f"it unpacks to more than {self._most // _MIB} MiB")

    def count_member(self) -> None:
        """Count one more file inside the file. Raises TooBig."""
        self._members += 1
        if self._members > self.options.max_members:
            raise TooBig(f"it holds more than {self.options.max_members} files; unpack it yourself if that is right")

    def check_depth(self, depth: int) -> None:
        """Refuse files in files in files. Raises TooBig."""
        if depth > self.options.max_depth:
            raise TooBig(f"it lies more than {self.options.max_depth} archives deep; unpack it yourself")

    def read(self, stream: BinaryIO) -> bytes:
        """The whole of one document. Raises TooBig."""
        parts = []
        size = 0
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > self.options.max_document_bytes:
                raise TooBig(f"it is larger than {self.options.max_document_bytes // _MIB} MiB; split it")
            parts.append(block)
        return b"".join(parts)


class Counted(io.RawIOBase):
    """An unpacking stream that takes what it gives from a budget."""

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        super().__init__()
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        # One piece of the packed data at a time: what stands before a damaged place is read.
        block = cast("io.BufferedIOBase", self._stream).read1(len(buffer))
        self._budget.spend(len(block))
        buffer[: len(block)] = block
        return len(block)


class Names:
    """Gives the members of one container names that are harmless and different."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def harmless(self, name: str) -> str:
        """A relative path without `..`, drives, backslashes and control characters; a repeated name is numbered."""
        parts = [_CONTROL.sub(" ", part).strip() for part in name.replace("\\", "/").split("/")]
        parts = [part for part in parts if part not in {"", ".", ".."} and not _DRIVE.fullmatch(part)]
        parts = [part if len(part) <= _NAME_CHARS else f"{part[:100]}…{part[-60:]}" for part in parts]
        wanted = found = "/".join(parts) or "unnamed"
        folder, slash, base = wanted.rpartition("/")
        stem, dot, suffix = base.rpartition(".")
        if not stem:
            stem, dot, suffix = base, "", ""
        number = 2
        while found in self._taken:
            found, number = f"{folder}{slash}{stem} ({number}){dot}{suffix}", number + 1
        self._taken.add(found)
        return found
