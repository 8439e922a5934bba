"""Changing a knowledge base, so that a crash at any instant leaves each document in its old or its new version.

A document is replaced in three commits: its new chunks are appended under a new revision, its row is switched to that
revision, the chunks of other revisions are swept. Readers count only chunks of the revision that the row names, so the
row is the commit mark. What a crash leaves behind is swept by the next writer.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from filelock import FileLock, Timeout
from lancedb.expr import col, lit

import rag.errors as errors
from rag.store.schema import DOCUMENTS, ROOTS, DocumentRow, digest
from rag.store.tables import Store, store_errors
from rag.types import Chunk

FAILED, OK = "failed", "ok"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A document's new version: the row without what the store computes, its text, its chunks and their vectors.

    `vectors` has the shape (len(chunks), dimension).
    """

    row: DocumentRow
    text: str
    chunks: Sequence[Chunk]
    vectors: npt.NDArray[np.float32]


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Be the only writer of the knowledge base at `path`, which need not exist yet.

    Lance's concurrent merges can leave a key twice, so there is one writer. Raises KnowledgeBaseBusy at once.
    """
    with store_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / "write.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as exc:
        raise errors.KnowledgeBaseBusy(
            f"Another process is writing to {path}. Wait for it, or end it, and try again."
        ) from exc
    except OSError as exc:
        raise errors.KnowledgeBaseError(f"The knowledge base {path} is not writable: {exc}") from exc
    try:
        yield
    finally:
        lock.release()


class Writer:
    """Changes one store. Make it within `write_lock`; it first sweeps what a crashed writer left."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sweep()

    def put(self, versions: Sequence[NewVersion]) -> None:
        """Add or replace documents, in few commits for all of them together."""
        if not versions:
            return
        store = self.store
        now = int(time.time())
        rows = [
            replace(version.row, chunks=len(version.chunks), indexed_at=now, status=OK, error="")
            for version in versions
        ]
        before = store.documents()
        # A version with the revision that stands there already is the same text: only its row changes.
        new = [v for v in versions if v.row.id not in before or before[v.row.id].revision != v.row.revision]
        replaced = [v.row.id for v in new if v.row.id in before and before[v.row.id].revision]
        with store_errors(store.path):
            if any(version.chunks for version in new):
                store.chunks_table.add(_chunk_table(new, store.chunks_table.schema))
            self._put_rows(rows, [version.text for version in versions])
            if replaced:
                current = [v.row.revision for v in new]
                store.chunks_table.delete(
                    col("document_id").isin(replaced) & (col("revision").isin(current) == lit(False))
                )

    def fail(self, row: DocumentRow, error: str) -> None:
        """Record that a document could not be read; what was known of it stays searchable."""
        before = self.store.documents().get(row.id)
        if before and before.revision:
            kept = replace(
                before, status=FAILED, error=error, size=row.size, mtime_ns=row.mtime_ns, content_hash=row.content_hash
            )
            text = self.store.texts([row.id]).get(row.id, "")
        else:
            kept, text = (
                replace(row, status=FAILED, error=error, revision="", chunks=0, indexed_at=int(time.time())),
                "",
            )
        with store_errors(self.store.path):
            self._put_rows([kept], [text])

    def change_rows(self, rows: Sequence[DocumentRow]) -> None:
        """Change what is known of documents (place, size, time) without touching texts and chunks."""
        if not rows:
            return
        texts = self.store.texts(row.id for row in rows)
        with store_errors(self.store.path):
            self._put_rows(rows, [texts.get(row.id, "") for row in rows])

    def remove(self, document_ids: Iterable[str]) -> None:
        """Remove documents. The rows go first: with them, the documents are gone."""
        ids = sorted(set(document_ids))
        if not ids:
            return
        with store_errors(self.store.path):
            self.store.documents_table.delete(col("id").isin(ids))
            self.store.chunks_table.delete(col("document_id").isin(ids))

    def set_root(self, name: str, path: Path) -> None:
        """Remember where the root of this name lies on this machine."""
        with store_errors(self.store.path):
            self.store.roots_table.delete(col("name") == lit(name))
            self.store.roots_table.add(pa.table({"name": [name], "path": [str(path)]}, schema=ROOTS))

    def forget_roots(self, names: Iterable[str]) -> None:
        """Forget roots that hold no documents any more."""
        gone = sorted(set(names))
        if gone:
            with store_errors(self.store.path):
                self.store.roots_table.delete(col("name").isin(gone))

    def vectors_of(self, hashes: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Vectors that the store already holds, by the hash of what was embedded."""
        found: dict[str, npt.NDArray[np.float32]] = {}
        wanted = sorted(set(hashes))
        for begin in range(0, len(wanted), 1000):
            some = wanted[begin : begin + 1000]
            with store_errors(self.store.path):
                table = (
                    self.store.chunks_table.search()
                    .where(col("embedded_hash").isin(some))
                    .select(["embedded_hash", "vector"])
                    .to_arrow()
                )
            for name, vector in zip(table["embedded_hash"].to_pylist(), table["vector"].to_pylist(), strict=True):
                found[name] = np.array(vector, np.float32)
        return found

    def sweep(self) -> int:
        """Delete chunks that no document row names: the leavings of a crash. Returns how many there were."""
        documents = self.store.documents()
        with store_errors(self.store.path):
            present = self.store.chunks_table.search().select(["document_id", "revision"]).to_arrow()
            pairs = set(zip(present["document_id"].to_pylist(), present["revision"].to_pylist(), strict=True))
            orphans = [pair for pair in pairs if pair[0] not in documents or documents[pair[0]].revision != pair[1]]
            return sum(
                int(
                    self.store.chunks_table.delete(
                        (col("document_id") == lit(id_)) & (col("revision") == lit(revision))
                    ).num_deleted_rows
                )
                for id_, revision in orphans
            )

    def _put_rows(self, rows: Sequence[DocumentRow], texts: Sequence[str]) -> None:
        values = [{**asdict(row), "text": text} for row, text in zip(rows, texts, strict=True)]
        table = pa.Table.from_pylist(values, schema=DOCUMENTS)
        self.store.documents_table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
            table
        )


def revision_of(text: str, chunks: Sequence[Chunk]) -> str:
    """The name of a version: the same for the same text cut into the same chunks."""
    return digest(text, *(f"{chunk.start}-{chunk.end} {chunk.context}" for chunk in chunks))


def embedded_hash(chunk: Chunk) -> str:
    """The name of what is embedded for a chunk; within one index, equal names mean equal vectors."""
    return digest(chunk.searched)


def _chunk_table(versions: Sequence[NewVersion], schema: pa.Schema) -> pa.Table:
    columns: dict[str, list[object]] = {name: [] for name in schema.names if name != "vector"}
    for version in versions:
        id_, revision = version.row.id, version.row.revision
        for chunk in version.chunks:
            row = {
                "id": digest(id_, str(chunk.start), str(chunk.end), chunk.text),
                "document_id": id_,
                "revision": revision,
                "ordinal": chunk.ordinal,
                "text": chunk.text,
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "headings": list(chunk.headings),
                "context": chunk.context,
                "searched": chunk.searched,
                "embedded_hash": embedded_hash(chunk),
            }
            for name, value in row.items():
                columns[name].append(value)
    dimension = schema.field("vector").type.list_size
    vectors = np.concatenate([version.vectors.reshape(-1, dimension) for version in versions]).astype(np.float32)
    arrays = [
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension)
        if name == "vector"
        else pa.array(columns[name], schema.field(name).type)
        for name in schema.names
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
