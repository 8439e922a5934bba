"""A question and options → the best passages: filters, the question's vector, other wordings, who judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import rag.errors as errors
from rag.identity import question_vector
from rag.lmstudio.http import Notify
from rag.search.options import Expand, Mode, Rerank, SearchOptions
from rag.search.retrieve import retrieve
from rag.search.select import Selection, select
from rag.settings import Settings
from rag.store.adapter_file import load_adapter
from rag.store.schema import Origin
from rag.store.search import Found
from rag.store.tables import Store
from rag.store.within import held
from rag.types import Hit

if TYPE_CHECKING:
    from rag.lmstudio.chat import ChatModel
    from rag.lmstudio.embeddings import Embedder, FloatMatrix, FloatVector
    from rag.lmstudio.residency import LoadedModel
    from rag.search.cross_encoder import CrossEncoder
    from rag.search.fusion import Judge

NOTHING_SELECTED = "the filter selects no document"


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a search takes besides the store and its options, which the models have been asked for."""

    question: str
    vector: "FloatVector | None"
    others: "Sequence[tuple[str, FloatVector | None]]"
    judge: "Judge | None"


class Searcher:
    """What searches one open knowledge base.

    Models are asked for when a search needs one. It remembers which model its canaries were checked with, the adapter
    that `rag adapt` learnt, and the cross-encoder. Searches may come from several threads.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        notify: Notify,
        *,
        embedder: "Callable[[], Embedder]",
        chat_model: "Callable[[], ChatModel]",
    ) -> None:
        self._store = store
        self._settings = settings
        self._notify = notify
        self._embedder = embedder
        self._chat_model = chat_model
        self._checked: tuple[Origin, LoadedModel] | None = None

    def search(self, question: str, options: SearchOptions) -> list[Hit]:
        """The passages that best fit a question, best first. Raises UsageProblem, ServerError, KnowledgeBaseError."""
        if not question.strip():
            raise errors.UsageProblem("The question is empty.")
        selection = self.selection(options)
        hits = self._retrieved(question, options, selection) if selection is None or selection.documents else []
        if not hits and self._empty(selection):
            self._notify(f"{NOTHING_SELECTED.capitalize()}; `rag ls` lists what there is.")
        return hits

    def selection(self, options: SearchOptions) -> Selection | None:
        """What the filters of the options select; None where they have none. Raises UsageProblem."""
        if not options.where and not options.paths:
            return None  # without reading what a search without filters has no use for
        return select(self._store.rows(), options.where, options.paths)

    def selects_nothing(self, options: SearchOptions) -> bool:
        """Whether there are filters, and no passage that fulfils them."""
        return self._empty(self.selection(options))

    def _empty(self, selection: Selection | None) -> bool:
        return selection is not None and not held(self._store, selection)

    def _retrieved(self, question: str, options: SearchOptions, selection: Selection | None) -> list[Hit]:
        other = self._other_questions(question, options)
        while True:
            made_with = self._store.made_with()
            try:
                ready = self._prepared(question, other, options, made_with)
                hits = retrieve(
                    self._store, question, ready.vector, options, selection, others=ready.others, judge=ready.judge
                )
            except errors.KnowledgeBaseError:
                if self._store.made_with() == made_with:
                    raise
            else:
                if self._store.made_with() == made_with:
                    return hits
            # A rebuild has just put in vectors that this question's cannot be compared with: once more.

    def prepared(self, question: str, options: SearchOptions) -> Prepared:
        """What a search by these options asks models for beforehand. Raises as `search`."""
        other = self._other_questions(question, options)
        return self._prepared(question, other, options, self._store.made_with())

    def _prepared(self, question: str, other: Sequence[str], options: SearchOptions, made_with: Origin) -> Prepared:
        judge = self._judge(question, options.rerank)
        if options.mode is Mode.WORDS:
            return Prepared(question, None, [(words, None) for words in other], judge)
        vector = self._query_vector(question, made_with)
        vectors = map(self._adapted, self._embedder().embed_together((), other)) if other else ()
        return Prepared(question, vector, list(zip(other, vectors, strict=True)), judge)

    def _query_vector(self, question: str, made_with: Origin) -> "FloatVector":
        """The question's vector; the first time with a model, the canaries go along. Raises IdentityMismatch."""
        embedder = self._embedder()
        if self._checked and self._checked[0] == made_with and self._checked[1] is embedder.model:
            vector = embedder.embed_query(question)
        else:
            vector = question_vector(self._store.path, made_with, embedder, question)
            self._checked = (made_with, embedder.model)
        return self._adapted(vector)

    def _adapted(self, vector: "FloatVector") -> "FloatVector":
        return vector if self._adapter is None else self._adapter @ vector

    @cached_property
    def _adapter(self) -> "FloatMatrix | None":
        """What `rag adapt` learnt for question vectors, unless it was for another index."""
        try:
            return load_adapter(self._store.path, self._store.identity)
        except errors.KnowledgeBaseError as exc:
            self._notify(
                f"{exc} Searching without it; `rag adapt` learns one anew, `rag adapt --remove` ends this note."
            )
            return None

    def _other_questions(self, question: str, options: SearchOptions) -> list[str]:
        """What is searched for besides the question."""
        if options.expand is Expand.OFF:
            return []
        from rag.search.rewrite import parts, variants

        rewrite = variants if options.expand is Expand.VARIANTS else parts
        others = rewrite(question, self._chat_model(), seconds=self._settings.rerank_s, notify=self._notify)
        return [other for other in others if other.casefold() != question.strip().casefold()]

    @cached_property
    def _cross_encoder(self) -> "CrossEncoder":
        """What `rerank="cross"` judges with. Raises UsageProblem where the settings name none, or none that works."""
        from rag.search.cross_encoder import CrossEncoder

        if not self._settings.reranker:
            raise errors.UsageProblem(
                "No cross-encoder is set. RAG_RERANKER names a folder with its model.onnx and tokenizer.json."
            )
        return CrossEncoder(Path(self._settings.reranker))

    def _judge(self, question: str, rerank: Rerank) -> "Judge | None":
        """What gives the best candidates their marks."""
        if rerank is Rerank.OFF:
            return None
        from rag.search.rerank import relevance

        def judge(found: Sequence[Found]) -> list[float | None]:
            outlines = self._store.outlines()
            titles = [outlines[chunk.document_id].title if chunk.document_id in outlines else "" for chunk in found]
            passages = [
                f"{' > '.join(dict.fromkeys(filter(None, (title, *chunk.headings))))}\n{chunk.text}"
                for title, chunk in zip(titles, found, strict=True)
            ]
            seconds, notify = self._settings.rerank_s, self._notify
            if rerank is Rerank.CROSS:
                return self._cross_encoder.relevance(question, passages, seconds, notify)
            return relevance(question, passages, self._chat_model(), seconds, notify)

        return judge
