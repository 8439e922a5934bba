"""Vectors that were paid for but are not in the tables yet, kept in plain files: a killed run embeds nothing twice.

Each vector is appended as it comes, without waiting for the disk. What a crash tears is found by its checksum and left
out: the worst that can happen is that a text is embedded again.
"""

import errno
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from rag.store.names import digest
from rag.store.schema import Identity
from rag.store.tables import store_errors

Vector = npt.NDArray[np.float32]

_NAME_BYTES = 16  # of `digest`, as bytes
_CHECK = struct.Struct("<I")
_PER_FILE = 4096  # vectors; a file is deleted when all of its vectors are in the tables


class Journal:
    """The journal of one writer, in a folder below the knowledge base's. Make it within the write lock.

    `found` holds what a former writer left, by the hash of what was embedded.
    """

    def __init__(self, kb: Path, identity: Identity, folder: str = "journal") -> None:
        self._folder = kb / folder
        vectors = (identity.embedding_model, identity.quantization, identity.dimension, identity.document_prefix)
        self._model = digest(*map(str, vectors))
        self._dimension = identity.dimension
        self._file: BinaryIO | None = None
        self._number = 0
        self._in_file = 0
        self._open: dict[str, int] = {}  # hash → number of the file that holds its vector
        self._left: dict[int, int] = {}  # number of a file → vectors in it that are not in the tables
        self.found: Mapping[str, Vector] = _Found(
            sorted(self._folder.glob(f"{self._model[:12]}-*")), identity.dimension
        )

    def __contains__(self, name: str) -> bool:
        """Whether it holds the vector of this hash, of this writer or of a former one."""
        return name in self._open or name in self.found

    def add(self, vectors: Iterable[tuple[str, Vector]]) -> None:
        """Keep vectors until `settled` or `clear`. Raises KnowledgeBaseError, as where the disk is full."""
        record = bytearray()
        with store_errors(self._folder.parent):
            for name, vector in vectors:
                if self._file is None or self._in_file >= _PER_FILE:
                    self._write(record)
                    record = bytearray()
                    self._next_file()
                body = bytes.fromhex(name) + vector.astype(np.float32).tobytes()
                record += body + _CHECK.pack(zlib.crc32(body))
                self._in_file += 1
                if name not in self._open:
                    self._open[name] = self._number
                    self._left[self._number] += 1
            self._write(record)

    def settled(self, names: Iterable[str]) -> None:
        """The vectors of these hashes are in the tables now."""
        for name in names:
            number = self._open.pop(name, None)
            if number is None:
                continue
            self._left[number] -= 1
            if not self._left[number] and number != self._number:
                self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files; what is in the journal stays there for the next writer."""
        self.found = {}
        if self._file is not None:
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """Forget everything: all is in the tables, or will never be."""
        self.close()  # Windows deletes no file that is open
        self._open.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._model[:12]}-{number:06d}"

    def _next_file(self) -> None:
        self.close()
        self._folder.mkdir(exist_ok=True)
        while True:
            self._number += 1
            if not self._path(self._number).exists():
                break
        # Unbuffered: what was written outlives a kill of this process.
        self._file = self._path(self._number).open("wb", buffering=0)
        self._in_file = 0
        self._left[self._number] = 0

    def _write(self, record: bytearray) -> None:
        if record and self._file is not None:
            written = self._file.write(record)
            if written != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Found(Mapping[str, Vector]):
    """Vectors by hash, out of files as they are asked for: a rebuild leaves as many as there are chunks."""

    def __init__(self, files: Sequence[Path], dimension: int) -> None:
        hashes = np.dtype(f"S{_NAME_BYTES}")
        record = np.dtype([("name", hashes), ("vector", "<f4", (dimension,)), ("check", "<u4")])
        whole = [(path, count) for path in files if (count := path.stat().st_size // record.itemsize)]
        self._files = [np.asarray(np.memmap(path, record, "r", shape=(count,))) for path, count in whole]
        places = [
            number * _PER_FILE + at
            for number, records in enumerate(self._files)
            for at, one in enumerate(records)
            if zlib.crc32(one.tobytes()[: -_CHECK.size]) == one["check"]
        ]
        names = np.array([self._record(place)["name"] for place in places], hashes)
        order = np.argsort(names)
        self._names, self._places = names[order], np.array(places, np.int64)[order]

    def __getitem__(self, name: str) -> Vector:
        wanted = np.array(bytes.fromhex(name), self._names.dtype)
        at = int(np.searchsorted(self._names, wanted))
        if at == self._names.size or self._names[at] != wanted:
            raise KeyError(name)
        return np.array(self._record(int(self._places[at]))["vector"])

    def __iter__(self) -> Iterator[str]:
        return (bytes(name).ljust(_NAME_BYTES, b"\0").hex() for name in self._names)

    def __len__(self) -> int:
        return int(self._names.size)

    def _record(self, place: int) -> np.void:
        found: np.void = self._files[place // _PER_FILE][place % _PER_FILE]
        return found
