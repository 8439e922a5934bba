"""How long a search takes in a large knowledge base, beside LanceDB's own two searches of the same tables.

    python -m bench.latency [--rows 200000] [--keep FOLDER]

Vectors and texts are made up, and no model takes part: topics of a few directions each, words as frequent as in prose.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.tables import Store
from rag.store.write import NewVersion, Writer, write_lock
from rag.types import Chunk

Matrix = npt.NDArray[np.float32]

DIMENSION = 384
WORDS = 40_000
CHUNK_WORDS = 130
_CHUNKS = 10  # of a usual document
_HUGE = 5000  # of one document, where there are that many
_TOPICS = 300
_AT_ONCE = 1000  # documents written together


class Synthetic:
    """Texts and vectors that are alike where their topics are: no model, but not noise either."""

    def __init__(self, seed: int = 7) -> None:
        self._rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnoprstuvw"))
        lengths = self._rng.integers(3, 11, WORDS)
        self.words = np.array(["".join(self._rng.choice(letters, length)) for length in lengths])
        frequency = 1 / np.arange(1, WORDS + 1) ** 1.05  # Zipf's law, as in prose
        self._cumulative = np.cumsum(frequency / frequency.sum())
        self._topics = self._rng.normal(size=(_TOPICS, DIMENSION)).astype(np.float32)

    def text(self, words: int) -> str:
        """So many words, the frequent ones frequent."""
        return " ".join(self.words[np.searchsorted(self._cumulative, self._rng.random(words)).clip(0, WORDS - 1)])

    def question(self, words: int = 8) -> str:
        """Some words from the middle of the vocabulary, and the small words between them."""
        rare = self.words[self._rng.integers(30, 5000, words // 2)]
        return " ".join([*rare, *self.text(words - words // 2).split()])

    def vectors(self, count: int) -> Matrix:
        """Unit vectors about one topic, each a little elsewhere."""
        topic = self._topics[self._rng.integers(_TOPICS)] + self._rng.normal(size=DIMENSION) * 0.6
        found = topic + self._rng.normal(size=(count, DIMENSION)) * 0.7
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def documents(self, rows: int) -> Iterator[NewVersion]:
        """Documents of ten chunks each, and one huge one, `rows` chunks in all."""
        left, number = rows, 0
        while left:
            count = min(left, _HUGE if number == 0 and rows > 2 * _HUGE else _CHUNKS)
            yield self._document(number, count)
            left, number = left - count, number + 1

    def _document(self, number: int, count: int) -> NewVersion:
        texts, chunks, at = [self.text(CHUNK_WORDS) for _ in range(count)], [], 0
        for ordinal, text in enumerate(texts):
            chunks.append(Chunk(ordinal, text, at, at + len(text), 1 + ordinal // 3, ("Part",), "Manual > Part"))
            at += len(text) + 1
        whole, source = "\n".join(texts), f"made/{number:06d}.md"
        row = DocumentRow(
            id=digest(source),
            source=source,
            root="made",
            content_hash=digest(whole),
            size=len(whole),
            mtime_ns=1,
            revision=revision_of(whole, chunks),
            title=f"Manual {number}",
            parser="made",
            status="ok",
            error="",
            chunks=0,
            indexed_at=0,
        )
        return NewVersion(row, whole, chunks, self.vectors(count))


def build(path: Path, rows: int) -> Store:
    """A knowledge base of so many chunks, made as `ingest` makes one."""
    identity = Identity("made-up", None, DIMENSION, "", "", 200)
    store = Store.create(path, identity, [])
    with write_lock(path):
        writer, group = Writer(store), []
        for version in Synthetic().documents(rows):
            group.append(version)
            if len(group) == _AT_ONCE:
                writer.put(group)
                group = []
        writer.put(group)
    return store


if __name__ == "__main__":
    import sys

    t = time.time()
    build(Path(sys.argv[1]), int(sys.argv[2]))
    print(time.time() - t)
