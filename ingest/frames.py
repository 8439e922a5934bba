"""What the program and the processes that read files for it say to each other over a pipe.

Answers come from a process that has dealt with hostile files, so they are JSON and never pickle. Texts go over once:
chunks are places in them.
"""

import base64
import os
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import orjson

from ingest.members import ReadOptions
from rag.types import Box, Chunk

_LENGTH = struct.Struct("<Q")
LONGEST_FRAME = 1 << 30


@dataclass(frozen=True, slots=True)
class Job:
    """What holds for all files of a run. `chunk_tokens` bounds a chunk, `model` is the embedding model's key.

    `megabytes` bounds the memory of the process beyond what it takes to start.
    """

    options: ReadOptions
    chunk_tokens: int
    model: str
    megabytes: int


@dataclass(frozen=True, slots=True)
class Task:
    """One file to read, as it was found: its size in bytes and time of change in nanoseconds."""

    path: str
    source: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """One document that a file holds, cut into chunks.

    `hashes` name what is embedded for each chunk, `estimates` are upper bounds for its length in the model's tokens,
    prefix included. `content_hash` is of the text, `ms` how long reading and cutting it took.
    """

    source: str
    title: str
    parser: str
    metadata: dict[str, str]
    revision: str
    content_hash: str
    text: str
    chunks: list[Chunk]
    hashes: list[str]
    estimates: list[int]
    ms: float


@dataclass(frozen=True, slots=True)
class UnreadMember:
    """A part of a file that could not be read. `unsupported` where there is no reader for its kind."""

    source: str
    reason: str
    unsupported: bool


@dataclass(frozen=True, slots=True)
class FileDone:
    """The end of a file: `error` is empty, or why it could not be read to the end. `content_hash` is the file's."""

    content_hash: str
    error: str
    ms: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a file, a JPEG: the reader waits to be told what it shows."""

    data: bytes


Answer = ReadDocument | UnreadMember | FileDone


@dataclass(slots=True)
class Dictionary:
    """Values that repeat, sent once and named by their numbers."""

    values: list[Any] = field(default_factory=list)
    numbers: dict[Any, int] = field(default_factory=dict)

    def number(self, value: Any) -> int:
        """The number of a value."""
        if value not in self.numbers:
            self.numbers[value] = len(self.values)
            self.values.append(value)
        return self.numbers[value]


def packed_job(job: Job) -> bytes:
    """The first message to a process."""
    return orjson.dumps(asdict(job))


def unpacked_job(data: bytes) -> Job:
    """The job that a process is told first."""
    values = orjson.loads(data)
    options = values.pop("options")
    return Job(options=ReadOptions(**{**options, "record_text": tuple(options["record_text"])}), **values)


def packed_task(task: Task) -> bytes:
    """A file to read. Its name may hold bytes that are no text."""
    path = base64.b64encode(os.fsencode(task.path)).decode()
    return orjson.dumps([path, task.source, task.size, task.mtime_ns])


def packed_words(words: str) -> bytes:
    """What a picture shows."""
    return orjson.dumps(words)


def unpacked_task(data: bytes) -> Task | str:
    """A file to read, or what a picture shows."""
    value = orjson.loads(data)
    if isinstance(value, str):
        return value
    path, source, size, mtime_ns = value
    return Task(os.fsdecode(base64.b64decode(path)), source, size, mtime_ns)


def packed(answer: Answer | Picture) -> bytes:
    """An answer as bytes."""
    if isinstance(answer, FileDone):
        return orjson.dumps(["done", answer.content_hash, answer.error, answer.ms])
    if isinstance(answer, UnreadMember):
        return orjson.dumps(["unread", answer.source, answer.reason, answer.unsupported])
    if isinstance(answer, Picture):
        return orjson.dumps(["picture", base64.b64encode(answer.data).decode()])
    headings, contexts = Dictionary(), Dictionary()
    places = [
        (c.start, c.end, c.page, c.box, headings.number(c.headings), contexts.number(c.context)) for c in answer.chunks
    ]
    names = (answer.source, answer.title, answer.parser, answer.metadata, answer.revision, answer.content_hash)
    shared = (headings.values, contexts.values)
    return orjson.dumps(["document", names, answer.text, places, shared, answer.hashes, answer.estimates, answer.ms])


def unpacked(data: bytes) -> Answer | Picture:
    """An answer from its bytes. Raises ValueError, TypeError, KeyError or IndexError where they are none."""
    kind, *values = orjson.loads(data)
    if kind == "done":
        return FileDone(*values)
    if kind == "unread":
        return UnreadMember(*values)
    if kind == "picture":
        return Picture(base64.b64decode(values[0], validate=True))
    if kind != "document":
        raise ValueError(f"an answer of the kind {kind!r}")
    (source, title, parser, metadata, revision, hashed), text, places, shared, hashes, estimates, ms = values
    headings, contexts = shared
    paths = [tuple(path) for path in headings]
    chunks = [
        Chunk(ordinal, text[start:end], start, end, page, paths[path], contexts[context], _box(box))
        for ordinal, (start, end, page, box, path, context) in enumerate(places)
    ]
    return ReadDocument(source, title, parser, metadata, revision, hashed, text, chunks, hashes, estimates, ms)


def _box(values: Sequence[float] | None) -> Box | None:
    if values is None:
        return None
    left, top, right, bottom = values
    return (left, top, right, bottom)


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one frame."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def length_of_next(stream: BinaryIO) -> int | None:
    """The length of the next frame, None at the end of the stream. Raises ValueError where it cannot be one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length: int = _LENGTH.unpack(head)[0]
    if length > LONGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes")
    return length


def receive(stream: BinaryIO, length: int) -> bytes | None:
    """The frame of that length, None where the stream ends before it does."""
    data = stream.read(length)
    return data if len(data) == length else None
