"""Changing a knowledge base, so that a crash at any instant leaves each document in its old or its new version.

A document is replaced in three commits: its new chunks are appended under a new revision, its row is switched to that
revision, the chunks of other revisions are swept. Readers count only chunks of the revision that the row names, so the
row is the commit mark. What a crash leaves behind is swept by a later writer.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from filelock import FileLock, Timeout

import rag.errors as errors
from rag.location import Location, Remote
from rag.settings import own_folder
from rag.store.lance import col, lit
from rag.store.lease import Lease, fence, lease_of, machine_name
from rag.store.names import digest, embedded_hash
from rag.store.objects import has_table
from rag.store.schema import DOCUMENTS, ROOTS, DocumentRow
from rag.store.tables import Store, store_errors
from rag.types import Chunk
from rag.words import language_of, terms

T = TypeVar("T")

FAILED, OK = "failed", "ok"
RESTORING = Path("versions") / "restoring"  # below a knowledge base, while an older version is being restored
_BLOCK = 1000


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
def write_lock(path: Location) -> Iterator[Lease | None]:
    """Be the only writer of the knowledge base at `path`, which need not exist yet; in a bucket by the lease given.

    Lance's concurrent merges can leave a key twice, so there is one writer. Raises KnowledgeBaseBusy at once.
    """
    folder = own_folder(path)
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "write.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as exc:
        raise errors.KnowledgeBaseBusy(
            f"Another process is writing to {path}. Wait for it, or end it, and try again."
        ) from exc
    except OSError as exc:
        raise errors.KnowledgeBaseError(f"The knowledge base {folder} is not writable: {exc}") from exc
    try:
        if isinstance(path, Path):
            yield None
            return
        with lease_of(path, machine_name(folder)) as lease:
            if lease.taken_over and has_table(path, "chunks"):
                with store_errors(path):
                    fence(Store.open(path).tables())
            yield lease
    finally:
        lock.release()


class Writer:
    """Changes one store. Make it within `write_lock`, with the lease that it gives.

    Raises KnowledgeBaseError for an older version, KnowledgeBaseBusy where the lease is lost.

    `rows` are all documents by id as this writer left them. Chunks that a crashed writer left do not count for
    readers; they go when their document is written again, or with `sweep`, so that their vectors can be found until
    then. `store` is what is written: in a bucket another than the one that was given, see `Store.for_writing`.
    """

    def __init__(self, store: Store, lease: Lease | None = None) -> None:
        if store.version is not None:
            raise errors.KnowledgeBaseError(
                f"Version {store.version} cannot be changed. Make it the present one with: rag restore {store.version}"
            )
        if isinstance(store.path, Remote):
            assert lease is not None, "a bucket is written to with a lease"
            store = store.for_writing()
            lease.confirm()  # what was opened while it was held is closed by whoever takes it over
        elif (store.path / RESTORING).exists():
            number = (store.path / RESTORING).read_text(encoding="utf-8")
            raise errors.KnowledgeBaseError(
                f"A restore of {store.path} was cut short. Finish it with: rag restore {number} --kb {store.path}"
            )
        self.store = store
        store.index_words()
        self.rows = dict(store.documents())
        self._orphans = self._find_orphans()

    def put(
        self,
        versions: Sequence[NewVersion],
        failures: Sequence[tuple[DocumentRow, str]] = (),
        containers: Sequence[DocumentRow] = (),
    ) -> None:
        """Add or replace documents, and record those that could not be read, in few commits for all of them together.

        `failures` are as for `fail`; `containers` are rows of files whose documents have rows of their own.
        """
        done = [finished(version) for version in versions]
        new = chunk_table(done, self.rows, self.store.chunks_table.schema)
        self.put_written(
            [(version.row, version.text) for version in done],
            lambda: self.store.chunks_table.add(new) if new.num_rows else None,
            failures,
            containers,
        )

    def put_written(
        self,
        documents: Sequence[tuple[DocumentRow, str]],
        commit_chunks: Callable[[], object],
        failures: Sequence[tuple[DocumentRow, str]] = (),
        containers: Sequence[DocumentRow] = (),
    ) -> None:
        """The same for documents whose chunks `commit_chunks` adds: finished rows, and the whole texts."""
        if not documents and not failures and not containers:
            return
        before, now = self.rows, int(time.time())
        new = [row for row, _ in documents if _is_new(row, before)]
        former = {row.id: before[row.id].revision for row in new if row.id in before and before[row.id].revision}
        rows = [replace(row, indexed_at=now) for row, _ in documents]
        texts = [text for _, text in documents]
        kept = self.store.texts(row.id for row, _ in failures if row.id in before and before[row.id].revision)
        for row, error in failures:
            rows.append(self._failed(row, error, now))
            texts.append(kept.get(row.id, ""))
        rows += [replace(row, indexed_at=now) for row in containers]
        texts += [""] * len(containers)
        self._sweep({(row.id, row.revision) for row in new} & self._orphans)
        with store_errors(self.store.path):
            commit_chunks()
            self._put_rows(rows, texts)
            self._remove_chunks({row.id: row.revision for row in new}, former)

    def _remove_chunks(self, current: dict[str, str], former: dict[str, str]) -> None:
        """Delete the chunks of documents' former revisions."""
        for some in _blocks(sorted(former)):
            revisions = [current[id_] for id_ in some]
            self.store.chunks_table.delete(
                col("document_id").isin(some) & (col("revision").isin(revisions) == lit(False))
            )
            for id_ in some:
                # Two documents may have changed places: then the former revision of one is the present one of another.
                if former[id_] in revisions:
                    self.store.chunks_table.delete(
                        (col("document_id") == lit(id_)) & (col("revision") == lit(former[id_]))
                    )

    def fail(self, row: DocumentRow, error: str) -> None:
        """Record that a document could not be read; what was known of it stays searchable."""
        self.put([], [(row, error)])

    def _failed(self, row: DocumentRow, error: str, now: int) -> DocumentRow:
        before = self.rows.get(row.id)
        if before and before.revision:
            return replace(
                before, status=FAILED, error=error, size=row.size, mtime_ns=row.mtime_ns, content_hash=row.content_hash
            )
        return replace(row, status=FAILED, error=error, revision="", chunks=0, indexed_at=now)

    def change_rows(self, rows: Sequence[DocumentRow]) -> None:
        """Change what is known of documents (place, size, time) without touching texts and chunks."""
        for some in _blocks(rows):
            texts = self.store.texts(row.id for row in some)
            with store_errors(self.store.path):
                self._put_rows(some, [texts.get(row.id, "") for row in some])

    def remove(self, document_ids: Iterable[str]) -> None:
        """Remove documents. The rows go first: with them, the documents are gone."""
        ids = sorted(set(document_ids))
        with store_errors(self.store.path):
            for some in _blocks(ids):
                self.store.documents_table.delete(col("id").isin(some))
                for id_ in some:
                    self.rows.pop(id_, None)
            self.store.know(self.rows)
            for some in _blocks(ids):
                self.store.chunks_table.delete(col("document_id").isin(some))

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

    def sweep(self) -> int:
        """Delete the chunks that no document row names: the leavings of a crash. Returns how many there were."""
        return self._sweep(set(self._orphans))

    def _find_orphans(self) -> set[tuple[str, str]]:
        """Pairs of document and revision that have chunks but no row that names them."""
        with store_errors(self.store.path):
            if int(self.store.chunks_table.count_rows()) == sum(row.chunks for row in self.rows.values()):
                return set()  # a row never names chunks that are not there: where the sum is right, there are no others
            present = self.store.chunks_table.search().select(["document_id", "revision"]).to_arrow()
        pairs = present.group_by(["document_id", "revision"]).aggregate([])
        return {
            (id_, revision)
            for id_, revision in zip(pairs["document_id"].to_pylist(), pairs["revision"].to_pylist(), strict=True)
            if id_ not in self.rows or self.rows[id_].revision != revision
        }

    def _sweep(self, orphans: set[tuple[str, str]]) -> int:
        swept = 0
        with store_errors(self.store.path):
            for id_, revision in orphans:
                gone = (col("document_id") == lit(id_)) & (col("revision") == lit(revision))
                swept += int(self.store.chunks_table.delete(gone).num_deleted_rows)
        self._orphans -= orphans
        return swept

    def _put_rows(self, rows: Sequence[DocumentRow], texts: Sequence[str]) -> None:
        """Write rows: those of new documents are appended, which costs a fraction of a merge."""
        new: list[dict[str, object]] = []
        known: list[dict[str, object]] = []
        for row, text in zip(rows, texts, strict=True):
            (known if row.id in self.rows else new).append({**row.to_values(), "text": text})
        table = self.store.documents_table
        if known:
            merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist(known, schema=DOCUMENTS))
        if new:
            table.add(pa.Table.from_pylist(new, schema=DOCUMENTS))
        self.rows |= {row.id: row for row in rows}
        self.store.know(self.rows)


def _blocks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """A thousand at a time: a filter of a hundred thousand names takes minutes to plan."""
    return (values[begin : begin + _BLOCK] for begin in range(0, len(values), _BLOCK))


def finished(version: NewVersion) -> NewVersion:
    """A document that was read, with its row as it will stand but for its time."""
    spoken = language_of(version.text)
    row = replace(version.row, chunks=len(version.chunks), status=OK, error="", language=spoken)
    return replace(version, row=row)


def _is_new(row: DocumentRow, before: Mapping[str, DocumentRow]) -> bool:
    """Whether a document's chunks are to be written. A revision that stands there already has the same ones."""
    return row.id not in before or before[row.id].revision != row.revision


def chunk_table(versions: Sequence[NewVersion], before: Mapping[str, DocumentRow], schema: pa.Schema) -> pa.Table:
    """The chunks of finished versions as the table holds them, but for those that stand there `before`, by id."""
    columns: dict[str, list[object]] = {name: [] for name in schema.names if name != "vector"}
    dimension = schema.field("vector").type.list_size
    matrices = [np.zeros((0, dimension), np.float32)]
    for version in versions:
        if not _is_new(version.row, before):
            continue
        id_, revision = version.row.id, version.row.revision
        matrices.append(version.vectors.reshape(-1, dimension))
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
                "box": list(chunk.box) if chunk.box else None,
                "headings": list(chunk.headings),
                "context": chunk.context,
                "searched": chunk.searched,
                "words": terms(chunk.searched, version.row.language),
                "embedded_hash": embedded_hash(chunk),
            }
            for name, value in row.items():
                columns[name].append(value)
    vectors = np.concatenate(matrices).astype(np.float32)
    arrays = [
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension)
        if name == "vector"
        else pa.array(columns[name], schema.field(name).type)
        for name in schema.names
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
