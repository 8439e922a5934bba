"""Every passage embedded anew, by another model or by a changed one, without a file being read again.

What is embedded goes into a journal of its own, so that a run which was killed is gone on with. The index serves with
its former vectors until all new ones are there; then one commit puts them in, with the identity of their model.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

import rag.errors as errors
from rag.identity import SIMILAR, check_lead, made_by
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.batches import Embedded, Embedding, Text
from rag.lmstudio.embeddings import Embedder
from rag.lmstudio.families import estimated_tokens
from rag.location import Remote
from rag.settings import own_folder
from rag.store.journal import Journal
from rag.store.names import digest
from rag.store.schema import CANARY_QUESTION, CANARY_TEXTS, Origin
from rag.store.tables import Store
from rag.store.upkeep import tidy
from rag.store.vectors import passages, replace_vectors
from rag.store.versions import record
from rag.store.write import Writer, write_lock
from rag.tokens import count

_JOURNAL = "rebuild"
_PATIENCE_S = 5.0  # for what is in flight at the end: it has been paid for
_UNDER_WAY = 512  # texts that wait or are in flight: enough for all requests that a server takes at once


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild will do: `chunks` of a knowledge base that `before` made are embedded by `model`."""

    chunks: int
    model: str
    before: str


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far it has come: chunks that have a vector, of how many. `tokens_per_s` by estimate, over this run."""

    done: int
    chunks: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild did, or with `dry_run` would do.

    `embedded` counts texts, of which several chunks may have the same; `kept` counts chunks whose text an interrupted
    rebuild had embedded already. `quantization` and `dimension` are the new ones, None where they are not known.
    """

    chunks: int
    embedded: int
    kept: int
    model: str
    before: str
    quantization: str | None
    dimension: int | None
    seconds: float
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """The shape of the last line of `rag rebuild --json`."""
        return {"event": "report", **asdict(self), "seconds": round(self.seconds, 3)}


def rebuild(
    kb: KnowledgeBase,
    *,
    dry_run: bool = False,
    on_plan: Callable[[RebuildPlan], None] = lambda plan: None,
    on_progress: Callable[[RebuildProgress], None] = lambda progress: None,
) -> RebuildReport:
    """Embed all passages anew by the model that the settings name, else by the one that made the index.

    With the model that made it, this repairs an index whose model has changed. Whatever ends a run, what it has
    embedded is kept and the next one goes on; searches find the former vectors until the end. With `dry_run` nothing is
    asked of the model server. Raises KnowledgeBaseError, as where another process writes to it, ServerError, also where
    the server cannot embed one of the texts, or IdentityMismatch where the model changes while it is used.
    """
    if isinstance(kb.path, Remote):
        raise errors.UsageProblem(
            f"The vectors of {kb.path} cannot be replaced: that commit would be the only one which a writer can make "
            "after it has lost its lease. Ingest into another URL, with RAG_EMBEDDING_MODEL set to the other model."
        )
    began = time.perf_counter()
    store = kb.store
    if dry_run:
        return _foretold(store, kb.settings.embedding_model, on_plan)
    with ExitStack() as stack:
        stack.enter_context(write_lock(kb.path))
        Writer(store).sweep()
        before = store.identity
        settings = replace(kb.settings, chunk_tokens=before.chunk_tokens)
        wanted = kb.settings.embedding_model or before.embedding_model
        embedder = stack.enter_context(closing(Embedder(settings, wanted, kb.notify)))
        made_with = made_by(embedder, before.chunk_tokens)
        identity = made_with[0]
        plan = RebuildPlan(_count(store), identity.embedding_model, before.embedding_model)
        on_plan(plan)
        with closing(_opened(store, made_with)) as journal:
            embedding = _Passages(store, journal, embedder, made_with, plan.chunks, on_progress)
            embedding.run(settings.embed_batch)
        _switch(store, embedder, made_with)
    return RebuildReport(
        chunks=plan.chunks,
        embedded=embedding.embedded,
        kept=embedding.kept,
        model=identity.embedding_model,
        before=plan.before,
        quantization=identity.quantization,
        dimension=identity.dimension,
        seconds=time.perf_counter() - began,
        dry_run=False,
    )


def _foretold(store: Store, wanted: str | None, on_plan: Callable[[RebuildPlan], None]) -> RebuildReport:
    """What a rebuild would do, as far as that is known without the server."""
    before = store.identity
    plan = RebuildPlan(_count(store), wanted or before.embedding_model, before.embedding_model)
    on_plan(plan)
    return RebuildReport(plan.chunks, 0, 0, plan.model, plan.before, None, None, 0.0, dry_run=True)


def _count(store: Store) -> int:
    return sum(row.chunks for row in store.documents().values() if row.revision)


def _opened(store: Store, made_with: Origin) -> Journal:
    """The journal with what an interrupted run left, where its model was the one of today; else an empty one."""
    identity, canaries = made_with
    names = [digest("canary", text) for text in (*CANARY_TEXTS, CANARY_QUESTION)]
    now = np.array(canaries, np.float32)
    journal = Journal(own_folder(store.path), identity, _JOURNAL)
    then = [journal.found[name] for name in names if name in journal.found]
    if len(then) < len(names) or float((np.array(then) * now).sum(axis=1).min()) < SIMILAR:
        journal.clear()
        journal.add(zip(names, now, strict=True))
    return journal


class _Passages:
    """The embedding of all passages into the journal, each text once."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        embedder: Embedder,
        made_with: Origin,
        chunks: int,
        on_progress: Callable[[RebuildProgress], None],
    ) -> None:
        self._store, self._journal, self._embedder, self._made_with = store, journal, embedder, made_with
        self._chunks, self._on_progress = chunks, on_progress
        self._done: queue.SimpleQueue[Embedded | BaseException] = queue.SimpleQueue()
        self._waiting: dict[str, Text] = {}
        self._looked_at = 0
        self._tokens = 0
        self._began = time.monotonic()
        self._writing = threading.Lock()
        self.embedded = 0
        self.kept = 0

    def run(self, batch: int) -> None:
        """Embed them all. Raises ServerError, or IdentityMismatch; what was embedded until then is in the journal."""
        embedding = Embedding(
            self._embedder.embed_documents,
            batch,
            self._keep,
            self._done.put,
            CANARY_TEXTS,
            partial(check_lead, self._store.path, self._made_with, self._embedder),
        )
        try:
            for text in self._missing():
                embedding.add([text])
                while len(self._waiting) >= _UNDER_WAY or not self._done.empty():
                    self._take()
            embedding.flush()
            while self._waiting:
                self._take()
        finally:
            embedding.close(_PATIENCE_S)
        self._tell()

    def _missing(self) -> Iterator[Text]:
        family = self._embedder.family
        for name, searched in chain.from_iterable(passages(self._store)):
            self._looked_at += 1
            if name in self._journal.found:
                self.kept += 1
            elif name not in self._waiting and name not in self._journal:
                whole = family.document_prefix + searched
                text = Text(name, searched, estimated_tokens(whole, count(whole), family))
                self._waiting[name] = text
                yield text

    def _keep(self, done: Embedded) -> None:
        """Write vectors down as they come, in the thread that got them, before it asks for others."""
        with self._writing:
            self._journal.add((name, found) for name, found in done.results.items() if isinstance(found, np.ndarray))
        self._done.put(done)

    def _take(self) -> None:
        """Count the next vectors that have come. Raises what ended the embedding."""
        try:
            done = self._done.get(timeout=0.2)  # not for ever: on Windows Ctrl-C does not end a wait
        except queue.Empty:
            return
        if isinstance(done, BaseException):
            raise done
        for name, found in done.results.items():
            text = self._waiting.pop(name)
            if isinstance(found, errors.ServerError):
                raise errors.ServerError(
                    f"The passage {text.text[:60]!r} could not be embedded: {found} The index is as it was."
                ) from found
        self.embedded += len(done.results)
        self._tokens += done.tokens
        self._tell()

    def _tell(self) -> None:
        seconds = max(time.monotonic() - self._began, 1e-3)
        self._on_progress(RebuildProgress(self._looked_at - len(self._waiting), self._chunks, self._tokens / seconds))


def _switch(store: Store, embedder: Embedder, made_with: Origin) -> None:
    """Put the new vectors in, all at once, and make the indexes."""
    # What an ingest left is of the former model, though it may have the same name.
    Journal(own_folder(store.path), store.identity).clear()
    journal = Journal(own_folder(store.path), made_with[0], _JOURNAL)
    # The model may have been changed while it was used: then the next run begins anew.
    check_lead(store.path, made_with, embedder, embedder.embed_documents(CANARY_TEXTS))
    replace_vectors(store, made_with, lambda names: np.stack([journal.found[name] for name in names]))
    store.index_words()
    tidy(store)
    record(store)
    journal.clear()
