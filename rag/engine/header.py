"""Read the header of a GGUF file: its metadata and how many parameters it has, without touching the weights."""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

Scalar = str | int | float | bool

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_MOST_LAYERS = 1024
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_SCALARS = {kind: struct.Struct(code) for kind, code in _FORMATS.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class NotGguf(ValueError):
    """The file is not a GGUF file, or is cut short."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A model file's metadata: scalars, and short arrays of numbers, one per layer; the vocabulary is skipped."""

    metadata: dict[str, Scalar]
    parameters: int
    lists: dict[str, tuple[int, ...]]

    def text(self, key: str) -> str | None:
        """Return the metadata value where it is a string."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """Return the metadata value where it is an integer."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_header(path: Path) -> GgufHeader:
    """Read the header of `path`; about 1 ms for a thousand tokens of vocabulary. Raises NotGguf."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise NotGguf(f"{path} does not start with the GGUF mark")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parse(data)
            except (struct.error, KeyError, IndexError, UnicodeDecodeError) as exc:
                raise NotGguf(f"{path} has a damaged GGUF header") from exc


def _parse(data: mmap.mmap) -> GgufHeader:
    (version,) = _U32.unpack_from(data, 4)
    if version < 2:
        raise NotGguf(f"GGUF version {version} is too old")
    tensors, pairs = _U64.unpack_from(data, 8)[0], _U64.unpack_from(data, 16)[0]
    at = 24
    metadata: dict[str, Scalar] = {}
    lists: dict[str, tuple[int, ...]] = {}
    for _ in range(pairs):
        key, at = _string(data, at)
        (kind,) = _U32.unpack_from(data, at)
        at += 4
        if kind == _STRING:
            metadata[key], at = _string(data, at)
        elif kind == _ARRAY:
            if (numbers := _numbers(data, at)) is not None:
                lists[key] = numbers
            at = _after_array(data, at)
        else:
            scalar = _SCALARS[kind]
            metadata[key] = scalar.unpack_from(data, at)[0]
            at += scalar.size
    parameters = 0
    for _ in range(tensors):
        _, at = _string(data, at)
        (dimensions,) = _U32.unpack_from(data, at)
        parameters += prod(struct.unpack_from(f"<{dimensions}Q", data, at + 4))
        at += 4 + 8 * dimensions + 12
    return GgufHeader(metadata, parameters, lists)


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = _U64.unpack_from(data, at)
    end = at + 8 + length
    if end > len(data):
        raise IndexError(end)
    return data[at + 8 : end].decode("utf-8"), end


def _numbers(data: mmap.mmap, at: int) -> tuple[int, ...] | None:
    kind, length = _U32.unpack_from(data, at)[0], _U64.unpack_from(data, at + 4)[0]
    if kind in (_STRING, _ARRAY) or _FORMATS[kind] in ("<f", "<d") or length > _MOST_LAYERS:
        return None
    return struct.unpack_from(f"<{length}{_FORMATS[kind][1]}", data, at + 12)


def _after_array(data: mmap.mmap, at: int) -> int:
    kind, length = _U32.unpack_from(data, at)[0], _U64.unpack_from(data, at + 4)[0]
    at += 12
    if kind == _ARRAY:
        for _ in range(length):
            at = _after_array(data, at)
        return at
    if kind != _STRING:
        return at + int(length) * _SCALARS[kind].size
    # A vocabulary has 10^5 strings: the loop is kept bare.
    unpack = _U64.unpack_from
    for _ in range(length):
        at += 8 + unpack(data, at)[0]
    return at
