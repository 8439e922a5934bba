"""Short stable names for texts, chunks and versions. Needs no database: the processes that read files make them."""

import hashlib
from collections.abc import Sequence

from rag.types import Chunk

UPLOADS = "uploads"  # the root of what was uploaded, and the folder in the knowledge base that keeps it


def digest(*parts: str) -> str:
    """A short stable name for a sequence of texts; a separator keeps ("ab", "c") and ("a", "bc") apart."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def revision_of(text: str, chunks: Sequence[Chunk]) -> str:
    """The name of a version: the same for the same text cut into the same chunks."""
    return digest(text, *(f"{chunk.start}-{chunk.end} {chunk.context}" for chunk in chunks))


def embedded_hash(chunk: Chunk) -> str:
    """The name of what is embedded for a chunk; within one index, equal names mean equal vectors."""
    return digest(chunk.searched)
