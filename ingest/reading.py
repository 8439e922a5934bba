"""One file, read and cut: what a reading process does for each task."""

import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import rag.errors as errors
from ingest.chunk import sized_chunks
from ingest.filters import read_blocks
from ingest.formats.pictures import Look
from ingest.frames import Answer, FileDone, Job, ReadDocument, Task, UnreadMember
from ingest.parse import Unread, read_all
from rag import tokens
from rag.lmstudio.families import Family, estimated_tokens, family_of
from rag.store.names import embedded_hash, revision_of
from rag.types import Chunk, Document


def read_file(task: Task, job: Job, look: Look | None = None) -> Iterator[Answer]:
    """The documents of one file in order, and its end, which says what went wrong; nothing is raised for a bad file.

    A document whose file changed while it was read is not trusted. `look` tells what pictures show.
    """
    began = before = time.perf_counter()
    path = Path(task.path)
    family = family_of(job.model)
    hashed = error = ""
    try:
        hasher = hashlib.sha256()
        for block in read_blocks(path):
            hasher.update(block)
        hashed = hasher.hexdigest()
        for found in read_all(path, task.source, job.options, look):
            if isinstance(found, Unread):
                yield UnreadMember(found.source, found.reason, found.unsupported)
                continue
            read = _cut(found, job, family, before)
            if not read.chunks:
                raise errors.EmptyDocument(f"{found.source} holds no text")
            if _changed(path, task):
                break
            yield read
            before = time.perf_counter()
        if _changed(path, task):
            error = "the file changed while it was read; run again"
    except errors.ParseError as exc:
        error = str(exc)
    except OSError as exc:
        error = f"the file cannot be read: {exc.strerror or exc}"
    except MemoryError:
        error = f"the reader needed more than {job.megabytes} MB"
    yield FileDone(hashed, error, (time.perf_counter() - began) * 1000)


def _changed(path: Path, task: Task) -> bool:
    now = path.stat()
    return now.st_size != task.size or (now.st_mtime_ns != task.mtime_ns and abs(now.st_mtime_ns) < 2**63)


def _cut(document: Document, job: Job, family: Family, began: float) -> ReadDocument:
    sized = sized_chunks(document, max_tokens=job.chunk_tokens)
    chunks = [chunk for chunk, _ in sized]
    return ReadDocument(
        source=document.source,
        title=document.title,
        parser=document.parser,
        metadata=document.metadata,
        revision=revision_of(document.text, chunks),
        content_hash=hashlib.sha256(document.text.encode()).hexdigest(),
        text=document.text,
        chunks=chunks,
        hashes=[embedded_hash(one) for one in chunks],
        estimates=[_estimate(chunk, size, family) for chunk, size in sized],
        ms=(time.perf_counter() - began) * 1000,
    )


def _estimate(chunk: Chunk, size: int, family: Family) -> int:
    """What `Embedder.fits` would say of the chunk as it is embedded, from counts that are there already."""
    before = f"{family.document_prefix}{chunk.context}\n\n"
    return estimated_tokens(family.document_prefix + chunk.searched, size + _count(before) + 2, family)


_count = lru_cache(maxsize=256)(tokens.count)  # neighbouring chunks stand under the same headings
