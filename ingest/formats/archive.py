"""Archives: the files in them, one after another, without unpacking to disk."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, cast

from ingest.members import Budget, Counted, Member, Names, Unread

PACKED = frozenset({".gz", ".bz2", ".xz"})
ARCHIVES = frozenset({".zip", ".tar"})
# What a reader of a damaged archive may meet; RuntimeError stands for methods of compression that are not known.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, RuntimeError)

_IGNORED = frozenset({"__MACOSX", "__pycache__", "node_modules"})
_ENCRYPTED = 1
_UTF8_NAME = 0x800


_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


def unpacked(stream: BinaryIO, kind: str, budget: Budget) -> BinaryIO:
    """What is in a file that is merely compressed; reading it may raise what DAMAGE names, and TooBig."""
    inner: BinaryIO = _OPENERS[kind](stream)
    return cast("BinaryIO", io.BufferedReader(Counted(inner, budget), 1 << 16))


def name_inside(name: str) -> str:
    """The name of the file in a compressed one: `notes.txt` for `notes.txt.gz`."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.tar" if suffix.lower() in {"tgz", "tbz2", "tbz", "txz"} else stem


def members(stream: BinaryIO, kind: str, source: str, budget: Budget) -> Iterator[Member | Unread]:
    """The files in an archive in their order, encrypted ones as Unread.

    Links, devices, folders, hidden files and the litter of operating systems are left out. A member of a tar has to be
    read before the next one is asked for. Raises what DAMAGE names at a damaged place, TooBig at a limit.
    """
    return _zipped(stream, source, budget) if kind == ".zip" else _tarred(stream, budget)


def unpacked_size(data: bytes) -> int:
    """What the parts of a zip-based document unpack to, in bytes: no reader gets more than is said here."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return sum(info.file_size for info in archive.infolist())


def _zipped(stream: BinaryIO, source: str, budget: Budget) -> Iterator[Member | Unread]:
    names = Names()
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if info.is_dir() or _is_ignored(info.filename):
                continue
            budget.count_member()
            name = names.harmless(_true_name(info))
            if info.flag_bits & _ENCRYPTED:
                yield Unread(f"{source}/{name}", "it is encrypted; unpack the archive with its password")
            else:
                yield Member(name, partial(_opened, archive, info, budget))


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> BinaryIO:
    inner = cast("BinaryIO", archive.open(info))
    return cast("BinaryIO", io.BufferedReader(Counted(inner, budget), 1 << 16))


def _true_name(info: zipfile.ZipInfo) -> str:
    """A member's name; old programs write UTF-8 without saying so."""
    if info.flag_bits & _UTF8_NAME:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tarred(stream: BinaryIO, budget: Budget) -> Iterator[Member | Unread]:
    names = Names()
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all that it has passed
            if not info.isreg() or _is_ignored(info.name):
                continue
            budget.count_member()
            inner = archive.extractfile(info)
            if inner is not None:
                yield Member(names.harmless(info.name), partial(cast, "BinaryIO", inner))


def _is_ignored(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return any(part in _IGNORED or (part.startswith(".") and part not in {".", ".."}) for part in parts)
