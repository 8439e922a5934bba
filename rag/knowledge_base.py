"""KnowledgeBase: the one object people hold."""

import hashlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

import rag.errors as errors
from rag.display_html import html_frame, html_note
from rag.lmstudio.http import Notify, log_notice
from rag.location import Location, location_of
from rag.search.options import SearchKeywords, SearchOptions
from rag.settings import Settings, load_settings, own_folder
from rag.types import Answer, Citation, Hit, Hits, Step

if TYPE_CHECKING:
    from rag.agent import Found
    from rag.answer import Event
    from rag.confidence import Confidence
    from rag.contents import Status
    from rag.display_rows import Rows
    from rag.formed_answer import FormedAnswer
    from rag.lmstudio.chat import ChatModel
    from rag.lmstudio.embeddings import Embedder
    from rag.lmstudio.schemas import Form
    from rag.search.searcher import Searcher
    from rag.store.schema import DocumentRow
    from rag.store.tables import Store
    from rag.store.versions import Version
    from rag.summarizing.summarize import Summarizer, SummaryKeywords
    from rag.summarizing.summary import Summary
    from rag.talk import Talk

T = TypeVar("T")

# On Chroma's 472 questions, 5 passages, recall, precision and IoU of the gold excerpts go from 90.8/4.0/4.0 percent to
# 89.6/8.2/8.2: what is left out is seldom what was wanted.
ANSWER_FLOOR = 0.55

_SUMMARIES = "summaries.jsonl"


class KnowledgeBase:
    """Documents that can be searched and asked, in one folder or at an `s3://`, `gs://` or `az://` URL.

    Opens nothing until it is used: it may be made before there is anything at `path`. Safe inside a running event
    loop; searches may come from several threads. Every method raises RagError, as the most specific of its kinds.
    With a `version`, a number or a tag, it is the knowledge base as it was, and nothing in it can be changed.
    """

    def __init__(
        self,
        path: "str | Location | None" = None,
        *,
        version: str | int | None = None,
        settings: Settings | None = None,
        notify: Notify = log_notice,
    ) -> None:
        self.settings = settings or load_settings()
        self.path = location_of(path) if path is not None else self.settings.kb
        self.version = version
        self.notify = notify
        self._embedders: dict[str | None, Embedder] = {}  # by the model that was wanted; a rebuild brings another one

    def __enter__(self) -> "KnowledgeBase":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"KnowledgeBase({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: what it holds, or why that cannot be said."""
        try:
            return self.status()._repr_html_()
        except errors.RagError as exc:
            return html_frame([html_note(str(exc))])

    def close(self) -> None:
        """Close the connections to the model server; they open again when needed."""
        while self._embedders:
            self._embedders.popitem()[1].close()
        if "chat_model" in self.__dict__:
            self.__dict__.pop("chat_model").close()

    @cached_property
    def store(self) -> "Store":
        """The tables. Raises KnowledgeBaseMissing, VersionNotFound."""
        from rag.store.tables import Store

        if self.version is None:
            return Store.open(self.path)
        from rag.store.versions import open_version

        return open_version(self.path, self.version)

    def made(self) -> "Store":
        """The tables, made empty if there are none, for the embedding model that is set or found."""
        from rag.identity import made_by
        from rag.store.tables import Store

        if not self.exists:
            embedder = self.embedder
            made_with = made_by(embedder, self.settings.chunk_tokens)
            self.__dict__["store"] = Store.create(self.path, *made_with)
            self._embedders = {made_with[0].embedding_model: embedder}
        return self.store

    @property
    def exists(self) -> bool:
        """Whether there is a knowledge base at the path."""
        from rag.store.objects import has_table

        return "store" in self.__dict__ or has_table(self.path, "chunks")

    @property
    def embedder(self) -> "Embedder":
        """What turns texts into vectors: the model that the index was made with, else the one that is set.

        Raises IdentityMismatch where the settings name another model than the index.
        """
        from rag.identity import rebuild_command
        from rag.lmstudio.embeddings import Embedder

        wanted = self.settings.embedding_model
        if self.exists:
            made_with = self.store.identity.embedding_model
            if wanted and wanted.lower() != made_with.lower():
                raise errors.IdentityMismatch(
                    f"The knowledge base {self.path} was made with the embedding model {made_with}, not {wanted}. "
                    f"Ask with {made_with}, or have its passages embedded by {wanted}: "
                    f"{rebuild_command(self.path, wanted)}"
                )
            wanted = made_with
        if wanted not in self._embedders:
            self._embedders[wanted] = Embedder(self.settings, wanted, self.notify)
        return self._embedders[wanted]

    @cached_property
    def chat_model(self) -> "ChatModel":
        """What writes answers."""
        from rag.lmstudio.chat import ChatModel

        return ChatModel(self.settings, notify=self.notify)

    @cached_property
    def searcher(self) -> "Searcher":
        """What searches the tables, step by step."""
        from rag.search.searcher import Searcher

        return Searcher(
            self.store,
            self.settings,
            self.notify,
            embedder=lambda: self.embedder,
            chat_model=lambda: self.chat_model,
        )

    def search(self, question: str, **how: Unpack[SearchKeywords]) -> Hits:
        """The passages that best fit a question, best first; `how` are the fields of SearchOptions.

        Changes nothing; by `words` alone, without `expand` and `rerank="llm"`, it needs no model server.
        """
        return Hits(self.search_by(question, self.options(**how)))

    def options(self, **how: Unpack[SearchKeywords]) -> SearchOptions:
        """How to search: what is given here, else what the settings say. Raises UsageProblem."""
        given: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
        return SearchOptions(**{"limit": self.settings.top_k, "rerank": self.settings.rerank, **given})

    def search_by(self, question: str, options: SearchOptions) -> list[Hit]:
        """The passages that best fit a question, best first."""
        return self.searcher.search(question, options)

    @overload
    def ask(
        self,
        question: str,
        *,
        schema: None = ...,
        strict: bool = ...,
        agent: bool = ...,
        **how: Unpack[SearchKeywords],
    ) -> Answer: ...
    @overload
    def ask(
        self, question: str, *, schema: type[T], strict: bool = ..., agent: bool = ..., **how: Unpack[SearchKeywords]
    ) -> "FormedAnswer[T]": ...
    @overload
    def ask(
        self,
        question: str,
        *,
        schema: Mapping[str, Any],
        strict: bool = ...,
        agent: bool = ...,
        **how: Unpack[SearchKeywords],
    ) -> "FormedAnswer[Any]": ...

    def ask(
        self,
        question: str,
        *,
        schema: "Form | None" = None,
        strict: bool = False,
        agent: bool = False,
        **how: Unpack[SearchKeywords],
    ) -> "Answer | FormedAnswer[Any]":
        """The answer with its checked citations, or an abstention; if `strict`, without what no passage supports.

        With a `schema`, a type that pydantic knows or a JSON Schema, it is a FormedAnswer, with citations for each
        field. If `agent`, the model searches several times, for a question with several hops.
        """
        if schema is not None:
            return self._formed(question, schema, strict, agent, how)
        *_, answer = self.ask_stream(question, strict=strict, agent=agent, **how)
        assert isinstance(answer, Answer), "a stream of events ends with an Answer"
        return answer

    def ask_stream(
        self,
        question: str,
        *,
        strict: bool = False,
        agent: bool = False,
        talk: "Talk | None" = None,
        finish: "Callable[[Answer], Answer]" = lambda answer: answer,
        **how: Unpack[SearchKeywords],
    ) -> "Generator[Event, None, None]":
        """What the model says as it says it, and at last the Answer; `answer_stream` tells what an interrupt does.

        `talk` and `finish` are a conversation's: what the model is asked instead, and what becomes of the Answer.
        If `agent`, the steps that it searched in come first.
        """
        from rag.answer import NOT_IN_DOCUMENTS, answer_stream
        from rag.search.searcher import NOTHING_SELECTED

        began = time.perf_counter()
        options = self.options(**(SearchKeywords(floor=ANSWER_FLOOR) | how))
        found = yield from self._found(question, options, agent)
        searched = time.perf_counter() - began
        if not found.hits and self.searcher.selects_nothing(options):
            nothing = Answer(question, NOT_IN_DOCUMENTS, True, (), (), "", NOTHING_SELECTED)
            yield finish(replace(nothing, timings={"search": searched}))
            return

        def finished(answer: Answer) -> Answer:
            usage = found.and_usage(answer.usage)
            timings = {"search": searched, **answer.timings, "total": time.perf_counter() - began}
            citations = tuple(map(self._finished, answer.citations))
            return finish(replace(answer, citations=citations, usage=usage, timings=timings, steps=found.steps))

        answer_tokens = self.settings.answer_tokens
        yield from answer_stream(
            question,
            found.hits,
            self.chat_model,
            answer_tokens=answer_tokens,
            strict=strict,
            talk=talk,
            confidence=self.confidence,
            own_hits=found.own,
            finish=finished,
        )

    def _found(self, question: str, options: SearchOptions, agent: bool) -> "Generator[Step, None, Found]":
        """The passages to answer from; the model looks for them as well if it is an agent, and each step is told."""
        from rag.agent import Found, gathered

        if not agent:
            return Found(self.search_by(question, options))
        return (yield from gathered(question, options, self.search_by, self.chat_model, self.settings, self.notify))

    def _formed(
        self, question: str, schema: "Form", strict: bool, agent: bool, how: SearchKeywords
    ) -> "FormedAnswer[Any]":
        from rag.agent import after_steps
        from rag.forms import form_answer

        began = time.perf_counter()
        options = self.options(**(SearchKeywords(floor=ANSWER_FLOOR) | how))
        found = after_steps(self._found(question, options, agent))
        searched = time.perf_counter() - began
        answer = form_answer(
            question,
            schema,
            found.hits,
            self.chat_model,
            answer_tokens=self.settings.answer_tokens,
            strict=strict,
            hops=agent,
            confidence=self.confidence,
            finish=self._finished,
        )
        timings = {"search": searched, **answer.timings, "total": time.perf_counter() - began}
        return replace(answer, usage=found.and_usage(answer.usage), timings=timings, steps=found.steps)

    def _finished(self, citation: Citation) -> Citation:
        return self._with_staleness(self._with_copies(citation))

    @property
    def confidence(self) -> "Confidence":
        """What decides whether an answer is likely enough to be given. Raises KnowledgeBaseError."""
        from rag.confidence_file import load_confidence

        return load_confidence(self.store.path, self.store.made_with())

    def summarize(
        self, source: str = "", *, where: str = "", paths: Sequence[str] = (), **how: "Unpack[SummaryKeywords]"
    ) -> "Summary":
        """Whole documents in a few sentences with their evidence: what `source` names of what the filters select."""
        *_, summary = self.summarizing(source, where=where, paths=paths, **how).run()
        return cast("Summary", summary)

    def summarizing(
        self, source: str = "", *, where: str = "", paths: Sequence[str] = (), **how: "Unpack[SummaryKeywords]"
    ) -> "Summarizer":
        """The same step by step: its `run` yields each part, what the model says, and at last the Summary."""
        from rag.store.kept import Kept
        from rag.summarizing.summarize import Summarizer, selected

        chosen = selected(self.store, self.documents(where, paths), source)
        kept, finish = Kept(own_folder(self.path) / _SUMMARIES), self._with_staleness
        answer_tokens = self.settings.answer_tokens
        return Summarizer(self.store, chosen, self.chat_model, kept, answer_tokens=answer_tokens, finish=finish, **how)

    def documents(self, where: str = "", paths: Sequence[str] = ()) -> "Rows[DocumentRow]":
        """All documents that the filters select, by source; a file that only holds others, as an archive, is none.

        A condition on headings or pages selects the documents with a passage that fulfils it. Raises UsageProblem.
        """
        from rag.contents import listed
        from rag.search.select import select
        from rag.store.within import held

        rows = self.store.rows()
        if selection := select(rows, where, paths):
            ids = held(self.store, selection)
            rows = [row for row in rows if row.id in ids]
        return listed(sorted(rows, key=lambda row: row.source))

    def text(self, source: str) -> str:
        """The whole text of a document: what every offset in hits and citations counts in."""
        row = self.store.document(source)
        return self.store.texts([row.id])[row.id]

    def remove(self, source: str) -> int:
        """Remove a document, or all below a folder; returns how many. Raises DocumentNotFound where there is none."""
        from rag.store.versions import record
        from rag.store.write import Writer, write_lock

        below = source.rstrip("/") + "/"
        with write_lock(self.path) as lease:
            writer = Writer(self.store, lease)
            everything = writer.rows.values()
            named = {row.id for row in everything if row.source == source or row.source.startswith(below)}
            rows = [row for row in everything if row.id in named or row.part_of in named]
            if not rows:
                raise errors.DocumentNotFound(
                    f"The knowledge base {self.path} has no document {source!r}. `rag ls` lists them."
                )
            writer.remove(row.id for row in rows)
            (own_folder(self.path) / _SUMMARIES).unlink(missing_ok=True)  # what models wrote of it goes as well
            record(self.store)
        self.store.refresh()
        return len(rows)

    def versions(self) -> "list[Version]":
        """What the knowledge base held after each command that changed it, oldest first: a week, and what is tagged."""
        from rag.store.versions import versions

        return versions(self.path)

    def tag(self, name: str, version: str | int | None = None) -> "Version":
        """Name a version, by default the present one, so that it is kept until the name is deleted.

        Raises VersionNotFound, UsageProblem for a name that is taken or no name, KnowledgeBaseBusy.
        """
        from rag.store.tables import Store
        from rag.store.versions import tag
        from rag.store.write import write_lock

        store = Store.open(self.path)  # before the lock, which would make a folder
        with write_lock(self.path):
            return tag(store, name, version)

    def untag(self, name: str) -> None:
        """Delete a tag. Its version goes when it is a week old. Raises VersionNotFound."""
        from rag.store.tables import Store
        from rag.store.versions import untag
        from rag.store.write import write_lock

        with write_lock(Store.open(self.path).path):
            untag(self.path, name)

    def restore(self, version: str | int) -> "Version":
        """Make a version the present one, as a new version. Raises VersionNotFound, KnowledgeBaseBusy."""
        from rag.store.versions import restore

        made = restore(self.path, version)
        self.close()
        self.__dict__.pop("store", None)  # what is open may have been made with another model
        self.__dict__.pop("searcher", None)
        return made

    def status(self) -> "Status":
        """What the knowledge base holds, and how well its index covers it."""
        from rag.contents import Status
        from rag.store.objects import size
        from rag.store.upkeep import coverage

        rows = self.documents()
        return Status(
            path=self.path,
            documents=len(rows),
            failed=sum(row.status == "failed" for row in rows),
            chunks=sum(row.chunks for row in rows),
            bytes=size(self.path),
            identity=self.store.identity,
            coverage=coverage(self.store),
            roots=self.store.roots(),
        )

    def file_of(self, source: str) -> Path | None:
        """Where a source's file lies on this machine, whether or not it is there; None where the root is not known."""
        from rag.store.names import UPLOADS

        root, _, relative = source.partition("/")
        folder = self.store.roots().get(root, own_folder(self.path) / UPLOADS if root == UPLOADS else None)
        return folder / relative if folder is not None else None

    def _with_copies(self, citation: Citation) -> Citation:
        """A citation that says where its quote stands again, of the places where its passage or a part of it does."""
        from rag.search.duplicates import quoted_again

        again = [quoted_again(citation.quote, self.text(place.source), place) for place in citation.also]
        return replace(citation, also=tuple(place for place in again if place is not None))

    def _with_staleness(self, citation: Citation) -> Citation:
        """Flag a citation whose file changed or vanished since. Costs a stat, and a hash where the time differs."""
        row = self.store.document(citation.source)
        if row.part_of:  # a document in a file is as old as the file
            row = self.store.documents().get(row.part_of, row)
        path = self.file_of(row.source)
        if path is None:
            return citation
        try:
            stat = path.stat()
            same = (stat.st_size, stat.st_mtime_ns) == (row.size, row.mtime_ns) or (
                stat.st_size == row.size and hashlib.sha256(path.read_bytes()).hexdigest() == row.content_hash
            )
        except OSError:
            # A root on another machine or an unplugged disk says nothing about the file.
            return replace(citation, stale=True if path.parent.is_dir() else None)
        return replace(citation, stale=not same)
