"""Documents for a store, with vectors that no model made."""

import numpy as np

from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.write import NewVersion
from rag.types import Chunk

IDENTITY = Identity("text-embedding-test", "Q8_0", 4, "", "", 200)


def version(source: str, text: str, vector: tuple[float, float, float, float] = (1, 0, 0, 0)) -> NewVersion:
    """A document whose lines are its chunks, all with the same vector."""
    chunks, at = [], 0
    for ordinal, line in enumerate(text.split("\n")):
        chunks.append(Chunk(ordinal, line, at, at + len(line), None, ("Part",), "Title > Part"))
        at += len(line) + 1
    row = DocumentRow(
        id=digest(source),
        source=source,
        root=source.split("/")[0],
        content_hash=digest(text),
        size=len(text),
        mtime_ns=1,
        revision=revision_of(text, chunks),
        title="Title",
        parser="test",
        status="ok",
        error="",
        chunks=0,
        indexed_at=0,
    )
    return NewVersion(row, text, chunks, np.array([vector] * len(chunks), np.float32))
