"""A knowledge base's tables, in a folder or a bucket: open, create, and read documents."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import rag.errors as errors
from rag.location import Location, Remote
from rag.store.lance import FTS, LOOP, Session, col, connect, connect_async, lit
from rag.store.objects import explained, has_table, lance_options
from rag.store.schema import (
    DOCUMENTS,
    FORMAT,
    ROOTS,
    Canaries,
    DocumentRow,
    Identity,
    Origin,
    chunks_schema,
    identity_of,
    rows_of,
)

# The words come stemmed and without stop words (rag/words.py): the index has nothing to do but to part them.
WORDS_INDEX = FTS(
    base_tokenizer="whitespace", lower_case=False, stem=False, remove_stop_words=False, ascii_folding=False
)
_ROW_FIELDS = [name.name for name in fields(DocumentRow)]
_TABLES = ("documents", "chunks", "roots")
_FRESH_S = 1.0  # how long a bucket's tables are read as they are: a look for new versions costs three requests or four


@contextmanager
def store_errors(path: Location) -> Iterator[None]:
    """Turn lancedb's errors, which are RuntimeError, ValueError and OSError, into ours, `from` the original."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as exc:
        if isinstance(path, Remote):
            raise explained(path, exc) from None  # a signed URL in it would stand in a traceback
        raise errors.KnowledgeBaseError(f"The knowledge base {path} could not be read or written: {exc}") from exc


class Outline(NamedTuple):
    """What a search needs of every document; `row` is where the table has it."""

    revision: str
    source: str
    title: str
    language: str
    metadata: str  # as it is stored
    row: int


@dataclass(slots=True)
class _Known:
    """What was read of the documents table at one of its versions."""

    version: int
    rows: dict[str, DocumentRow] | None = None
    outlines: tuple[dict[str, Outline], list[str]] | None = None  # and the languages, the commonest first


class Store:
    """The tables of one knowledge base; safe to share between threads that read.

    Always sees the newest version, in a bucket a second later, unless it was opened at an older one, which `version`
    names then and which cannot be changed.
    """

    def __init__(
        self,
        path: Location,
        db: Any,
        session: Session,
        documents: Any,
        chunks: Any,
        roots: Any,
        version: str | None = None,
        follows: bool = False,
    ) -> None:
        self.path, self.version = path, version
        self._session = session
        self._db, self.documents_table, self.chunks_table, self.roots_table = db, documents, chunks, roots
        self._known = _Known(0)
        self._made: tuple[int, Origin] | None = None
        self._roots: tuple[int, dict[str, Path]] | None = None
        self._reading: tuple[int, Any] | None = None
        self._follows, self._looked, self._looking = follows, time.monotonic(), threading.Lock()
        self._refuse_other_formats()

    @property
    def identity(self) -> Identity:
        """What the vectors depend on."""
        return self.made_with()[0]

    def made_with(self) -> Origin:
        """The identity and the canaries' vectors. A rebuild changes both: they are read anew with each new version."""
        with store_errors(self.path):
            self._look()
            version = int(self.chunks_table.version)
            if self._made is None or self._made[0] != version:
                found = identity_of(self.chunks_table.schema)
                if found is None:
                    raise errors.KnowledgeBaseError(f"{self.path} holds a `chunks` that lmstudio-rag did not make.")
                self._made = (version, found)
            return self._made[1]

    def replace_chunks(self, rows: pa.RecordBatchReader) -> None:
        """Commit a new version of the chunks table with these rows and their schema, the identity in it, alone."""
        with store_errors(self.path):
            self._db.create_table("chunks", data=rows, schema=rows.schema, mode="overwrite")

    def index_words(self) -> None:
        """Make the full-text index where there is none: in a new table, after a rebuild, after a crash in one.

        Searches until then scan the words, which come stemmed: slower, and with the same results.
        """
        with store_errors(self.path):
            if not self.chunks_table.index_stats("words_idx"):
                self.chunks_table.create_index("words", config=WORDS_INDEX)

    def _refuse_other_formats(self) -> None:
        found = self.identity.format
        if found > FORMAT:
            raise errors.IdentityMismatch(
                f"{self.path} was written by a newer lmstudio-rag (format {found}, this one reads {FORMAT}). Update it."
            )
        if found < FORMAT:
            raise errors.IdentityMismatch(
                f"{self.path} was written by an older lmstudio-rag (format {found}, this one reads {FORMAT}). "
                "Ingest into a new --kb."
            )

    @classmethod
    def open(cls, path: Location, version: str | None = None) -> "Store":
        """An existing knowledge base; opening changes nothing. Raises KnowledgeBaseMissing.

        With a `version` the folder is that of an older one, as rag/store/versions.py keeps them.
        """
        if not has_table(path, "chunks"):
            raise errors.KnowledgeBaseMissing(
                f"There is no knowledge base at {path}. Make one with: ingest PATH --kb {path}"
            )
        return cls._opened(path, version, follows=isinstance(path, Remote))

    @classmethod
    def _opened(cls, path: Location, version: str | None = None, *, follows: bool) -> "Store":
        with store_errors(path):
            db, session = _connected(path)
            documents, chunks, roots = (db.open_table(name) for name in _TABLES)
            store = cls(path, db, session, documents, chunks, roots, version, follows)
        store.refresh()
        return store

    @classmethod
    def create(cls, path: Location, identity: Identity, canaries: Canaries) -> "Store":
        """A new, empty knowledge base. The chunks table is made last: with it, the place counts as one."""
        if isinstance(path, Remote):
            cls._create_in_bucket(path, identity, canaries)
            return cls.open(path)
        if path.exists() and not path.is_dir():
            raise errors.KnowledgeBaseError(f"{path} is a file; a knowledge base is a folder.")
        with store_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            db, session = _connected(path)
            documents = db.create_table("documents", schema=DOCUMENTS, mode="overwrite")
            roots = db.create_table("roots", schema=ROOTS, mode="overwrite")
            chunks = db.create_table("chunks", schema=chunks_schema(identity, canaries), mode="create")
        store = cls(path, db, session, documents, chunks, roots)
        store.index_words()
        return store

    @staticmethod
    def _create_in_bucket(path: Remote, identity: Identity, canaries: Canaries) -> None:
        """The same without replacing anything: by now another writer may have made and filled it."""
        with store_errors(path):
            db, _ = _connected(path)
            db.create_table("documents", schema=DOCUMENTS, mode="create", exist_ok=True)
            db.create_table("roots", schema=ROOTS, mode="create", exist_ok=True)
            db.create_table("chunks", schema=chunks_schema(identity, canaries), mode="create")

    def for_writing(self) -> "Store":
        """The tables as one writer leaves them. In a bucket they never follow what another one commits.

        A commit onto a state that another writer has closed fails then, instead of coming after it.
        """
        return Store._opened(self.path, follows=False) if isinstance(self.path, Remote) else self

    def refresh(self) -> None:
        """In a bucket, see the newest versions from now on; elsewhere every read does that."""
        if not self._follows:
            return
        with store_errors(self.path), self._looking:
            self._look_anew()

    def _look(self) -> None:
        if self._follows and time.monotonic() - self._looked > _FRESH_S and self._looking.acquire(blocking=False):
            try:
                self._look_anew()
            finally:
                self._looking.release()

    def _look_anew(self) -> None:
        """Documents and chunks as they were at one moment: one was the same before and after a look at the other."""
        while True:
            chunks = int(self.chunks_table.version)
            self.documents_table.checkout_latest()
            documents = int(self.documents_table.version)
            self.chunks_table.checkout_latest()
            if int(self.chunks_table.version) == chunks:
                break
            self.documents_table.checkout_latest()
            if int(self.documents_table.version) == documents:
                break
        self.roots_table.checkout_latest()
        self._looked = time.monotonic()

    def tables(self) -> tuple[Any, Any, Any]:
        """The three tables: what is committed to the chunks counts with what is committed to the documents then."""
        return self.chunks_table, self.documents_table, self.roots_table

    def open_table(self, name: str) -> Any:
        """A table of its own to be set to another version."""
        return self._db.open_table(name)

    def asynchronous_chunks(self) -> Any:
        """What gives the chunks table at its newest version, at which it stays, for asynchronous reading."""
        if isinstance(self.path, Path):
            return self._asynchronous.open_table("chunks")
        return self._asynchronous_at(self._asynchronous, int(self.chunks_table.version))

    async def _asynchronous_at(self, db: Any, version: int) -> Any:
        """The table as it was opened when it had this version: to open one in a bucket takes several requests."""
        known = self._reading
        if known is None or known[0] != version:
            self._reading = known = (version, await db.open_table("chunks"))
        return known[1]

    @cached_property
    def _asynchronous(self) -> Any:
        return LOOP.run(connect_async(str(self.path), storage_options=lance_options(self.path), session=self._session))

    def documents(self) -> dict[str, DocumentRow]:
        """All documents by id, without their texts. Kept until the table has a new version."""
        with store_errors(self.path):
            known = self._known_now()
            if known.rows is None:
                found = self.documents_table.search().select(_ROW_FIELDS).to_arrow()
                known.rows = rows_of(found)
            return known.rows

    def know(self, rows: Mapping[str, DocumentRow]) -> None:
        """Take these for all documents as they stand now, by id: whoever has written them need not read them."""
        with store_errors(self.path):
            self._known_now().rows = dict(rows)

    def rows(self) -> list[DocumentRow]:
        """The documents that a reader is shown; not those of which nothing has been written yet."""
        return [row for row in self.documents().values() if row.revision or row.status != "ok"]

    def outlines(self) -> dict[str, Outline]:
        """All documents by id, as a search needs them: in a tenth of the time. Kept as well."""
        return self._outlined()[0]

    def _outlined(self) -> tuple[dict[str, Outline], list[str]]:
        with store_errors(self.path):
            known = self._known_now()
            if known.outlines is None:
                names = ["revision", "source", "title", "language", "metadata"]
                table = self.documents_table.search().with_row_id(True).select(["id", *names]).to_arrow()
                columns = (table[name].to_pylist() for name in (*names, "_rowid"))
                outlines = dict(zip(table["id"].to_pylist(), map(Outline, *columns), strict=True))
                counts = Counter(outline.language for outline in outlines.values() if outline.revision)
                known.outlines = outlines, [language for language, _ in counts.most_common()]
            return known.outlines

    def _known_now(self) -> _Known:
        self._look()
        version, known = int(self.documents_table.version), self._known
        if known.version != version:
            self._known = known = _Known(version)
        return known

    def languages(self) -> list[str]:
        """The languages of the documents, the commonest first."""
        return self._outlined()[1]

    def document(self, source: str) -> DocumentRow:
        """The document of a source. Raises DocumentNotFound."""
        for row in self.documents().values():
            if row.source == source:
                return row
        raise errors.DocumentNotFound(
            f"The knowledge base {self.path} has no document {source!r}. `rag ls` lists them."
        )

    def texts(self, document_ids: Iterable[str]) -> dict[str, str]:
        """The whole texts of some documents by id."""
        wanted = set(document_ids)
        if not wanted:
            return {}
        found = {}
        outlines = self._known.outlines[0] if self._known.outlines else {}
        with store_errors(self.path):
            if places := [outlines[id_].row for id_ in wanted if id_ in outlines]:
                found = _texts(self.documents_table.take_row_ids(places))
            # Rows move when a table is compacted.
            if missed := sorted(wanted - found.keys()):
                found |= _texts(self.documents_table.search().where(col("id").isin(missed)))
        return {id_: found[id_] for id_ in wanted if id_ in found}

    def chunk_rows(self, document_id: str) -> list[dict[str, Any]]:
        """The current chunks of one document in order, as rows without vectors."""
        document = self.documents().get(document_id)
        if document is None:
            return []
        fields = [name for name in self.chunks_table.schema.names if name != "vector"]
        wanted = (col("document_id") == lit(document_id)) & (col("revision") == lit(document.revision))
        with store_errors(self.path):
            rows: list[dict[str, Any]] = self.chunks_table.search().where(wanted).select(fields).to_arrow().to_pylist()
        return sorted(rows, key=lambda row: int(row["ordinal"]))

    def roots(self) -> dict[str, Path]:
        """The folders that were ingested: name to path on the machine that did it last."""
        with store_errors(self.path):
            self._look()
            version = int(self.roots_table.version)
            if self._roots is None or self._roots[0] != version:
                rows = self.roots_table.search().to_arrow().to_pylist()
                self._roots = (version, {row["name"]: Path(row["path"]) for row in rows})
            return dict(self._roots[1])


def _texts(query: Any) -> dict[str, str]:
    table = query.select(["id", "text"]).to_arrow()
    return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))


def _connected(path: Location) -> tuple[Any, Session]:
    # In a folder each read looks for a new version first, so that a service sees what an ingest has just committed.
    interval = timedelta(0) if isinstance(path, Path) else None
    session = Session()  # what is cached of the indexes, for both ways to read
    options = lance_options(path)
    return connect(str(path), read_consistency_interval=interval, storage_options=options, session=session), session
