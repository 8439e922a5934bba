"""Vectors that were paid for but are not in the tables yet, kept in plain files: a killed run embeds nothing twice.

Each vector is appended as it comes, without waiting for the disk. What a crash tears is found by its checksum and left
out: the worst that can happen is that a text is embedded again.
"""

import shutil
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from rag.store.names import digest
from rag.store.schema import Identity

Vector = npt.NDArray[np.float32]

_NAME_BYTES = 16  # of `digest`, as bytes
_CHECK = struct.Struct("<I")
_PER_FILE = 4096  # vectors; a file is deleted when all of its vectors are in the tables


class Journal:
    """The journal of one writer, below the knowledge base's folder. Make it within the write lock.

    `found` holds what a former writer left, by the hash of what was embedded.
    """

    def __init__(self, kb: Path, identity: Identity) -> None:
        self._folder = kb / "journal"
        vectors = (identity.embedding_model, identity.quantization, identity.dimension, identity.document_prefix)
        self._model = digest(*map(str, vectors))
        self._dimension = identity.dimension
        self._file: BinaryIO | None = None
        self._number = 0
        self._in_file = 0
        self._open: dict[str, int] = {}  # hash → number of the file that holds its vector
        self._left: dict[int, int] = {}  # number of a file → vectors in it that are not in the tables
        self.found: Mapping[str, Vector] = dict(self._read())

    def add(self, vectors: Iterable[tuple[str, Vector]]) -> None:
        """Keep vectors until `settled` or `clear`."""
        record = bytearray()
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
        """Close the file; what is in the journal stays there for the next writer."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """Forget everything: all is in the tables, or will never be."""
        self.close()
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
            self._file.write(record)

    def _read(self) -> Iterable[tuple[str, Vector]]:
        """What is in the files of this model and whole."""
        size = _NAME_BYTES + 4 * self._dimension + _CHECK.size
        for path in sorted(self._folder.glob(f"{self._model[:12]}-*")):
            data = path.read_bytes()
            for at in range(0, len(data) - size + 1, size):
                body = data[at : at + size - _CHECK.size]
                if _CHECK.unpack_from(data, at + size - _CHECK.size)[0] == zlib.crc32(body):
                    yield body[:_NAME_BYTES].hex(), np.frombuffer(body, np.float32, offset=_NAME_BYTES)
