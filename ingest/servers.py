"""The servers that embed for a run: one, or several that take turns."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import rag.errors as errors
from ingest.flow import Server
from rag.identity import check_lead
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.embeddings import Embedder, FloatMatrix
from rag.lmstudio.http import Notify
from rag.location import Location
from rag.store.schema import CANARY_TEXTS, Origin


class Servers:
    """Several servers with the same model. A request goes to the one that has had the least so far.

    A server is asked for the canaries before anything else: one that makes other vectors than the index holds ends the
    run. One that does not answer any more is left out, until none is left. Safe to share between threads.
    """

    def __init__(
        self, embedders: Sequence[Embedder], check: Callable[[Embedder], None], notify: Notify, first: int = 0
    ) -> None:
        self._embedders = [*embedders[first % len(embedders) :], *embedders[: first % len(embedders)]]
        self._check, self._notify = check, notify
        self._given = [0] * len(embedders)
        self._checked: set[int] = set()
        self._lost: set[int] = set()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str], estimates: Sequence[int] | None = None) -> FloatMatrix:
        """Unit vectors, a row a text. Raises ServerError, ServerUnreachable where no server answers any more."""
        while True:
            at = self._next(len(texts))
            try:
                if at not in self._checked:
                    self._check(self._embedders[at])
                    self._checked.add(at)
                return self._embedders[at].embed_documents(texts, estimates)
            except errors.ServerUnreachable as exc:
                with self._lock:
                    is_news = at not in self._lost
                    self._lost.add(at)
                    if len(self._lost) == len(self._embedders):
                        raise
                if is_news:
                    self._notify(f"{exc} The run goes on with {len(self._embedders) - len(self._lost)} of its servers.")

    def close(self) -> None:
        """Close the connections."""
        for embedder in self._embedders:
            embedder.close()

    def _next(self, texts: int) -> int:
        with self._lock:
            answering = [at for at in range(len(self._embedders)) if at not in self._lost]
            at = min(answering or [0], key=lambda at: self._given[at])
            self._given[at] += texts
            return at


def checked(path: Location, made_with: Origin) -> Callable[[Embedder], None]:
    """What raises IdentityMismatch for a server that makes other vectors than the index at `path` holds."""
    return lambda embedder: check_lead(path, made_with, embedder, embedder.embed_documents(CANARY_TEXTS))


@contextmanager
def embedding_server(into: KnowledgeBase, hosts: Sequence[str]) -> Iterator[Server]:
    """What embeds for a run in this process: the knowledge base's own server, or those at `hosts`.

    The first request to the own one shows whether it makes vectors as when the index was made, and in order.
    """
    made_with, settings = into.store.made_with(), into.settings
    model = made_with[0].embedding_model
    if not hosts:
        embedder = into.embedder
        check = partial(check_lead, into.path, made_with, embedder)
        yield Server(model, embedder.embed_documents, settings.embed_batch, CANARY_TEXTS, check)
        return
    embedders = [Embedder(replace(settings, host=host), model, into.notify) for host in hosts]
    with closing(Servers(embedders, checked(into.path, made_with), into.notify)) as servers:
        yield Server(model, servers.embed, settings.embed_batch)
