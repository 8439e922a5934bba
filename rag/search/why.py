"""Why a document's passage is among the results of a question, or at which stage it was lost.

The stages are those of a search and an answer, gone through with the same functions: what is told is what happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Unpack

import numpy as np

import rag.errors as errors
from rag.answer import room_for
from rag.display import as_text, one_line, printable, text_table
from rag.display_html import html_frame, html_grid, html_passage, html_source, html_text
from rag.display_markdown import markdown_line, markdown_table
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase
from rag.packing import packed
from rag.search.fusion import Judge
from rag.search.naming import Absent, Unread, named
from rag.search.options import Mode, Rerank, SearchKeywords, SearchOptions
from rag.search.retrieve import Candidates, Choice, chosen, hits, joined
from rag.search.searcher import Prepared
from rag.search.select import Selection, chunk_test
from rag.store.rank import Rank, vector_ranks, word_ranks
from rag.store.schema import DocumentRow
from rag.store.search import Found

Group = tuple[list[Found], float]

_MOST_PASSAGES = 100  # how far it is looked for a limit that would let the passage in
_SAME_WORDS = 0.6  # of the words asked for; a chunk that has fewer is not the one that was meant


class Stage(StrEnum):
    """Where a passage can be lost, in this order."""

    INDEX = "index"
    READING = "reading"
    FILTER = "filter"
    SEARCH = "search"
    COPY = "copy"
    RERANK = "rerank"
    FLOOR = "floor"
    LIMIT = "limit"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Step:
    """What a stage did with the passage: kept it or not, and in words how."""

    stage: Stage
    kept: bool
    message: str


@dataclass(frozen=True, slots=True)
class Passage:
    """The chunk that is followed through the stages: `document.text[start:end]`, its number in the document from 1."""

    id: str
    number: int
    page: int | None
    headings: tuple[str, ...]
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a document's passage.

    `vector` and `words` are its places among all `chunks` of the knowledge base, None where that search took no part or
    no word of the question is in it; `fused` is its place among those that both searches handed on. `shown_as` is the
    number of the passage that it is in, from 1, None where it was lost. `advice` says what can be done.
    """

    question: str
    source: str
    chunks: int
    steps: tuple[Step, ...]
    advice: str
    passage: Passage | None = None
    vector: Rank | None = None
    words: Rank | None = None
    fused: Rank | None = None
    shown_as: int | None = None

    @property
    def lost_at(self) -> Stage | None:
        """The first stage that did not keep it; None where all did."""
        return next((step.stage for step in self.steps if not step.kept), None)

    @property
    def heading(self) -> str:
        """What is followed: `manual.pdf, p. 12, passage 31, Safety > Gloves`; the source where no passage is."""
        if self.passage is None:
            return self.source
        page = f", p. {self.passage.page}" if self.passage.page else ""
        under = f", {one_line(' > '.join(self.passage.headings), 80)}" if self.passage.headings else ""
        return f"{self.source}{page}, passage {self.passage.number}{under}"

    def table(self) -> list[tuple[str, str, str]]:
        """Its places in both searches, and each stage: what it is, whether it was kept or LOST, and how."""
        rows: list[tuple[str, str, str]] = []
        if self.passage is not None:
            for name, rank, missing in (
                ("by vector", self.vector, "took no part"),
                ("by words", self.words, "took no part, or none of the question's words is in it"),
            ):
                place = f"number {rank.rank} of {self.chunks}, {rank.score:.3f}" if rank else missing
                rows.append((name, "", place))
        return rows + [(step.stage.value, "kept" if step.kept else "LOST", step.message) for step in self.steps]

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag why --json`, which scripts may rely on."""
        return {**asdict(self), "lost_at": self.lost_at}

    def __str__(self) -> str:
        return f"{one_line(self.heading)}\n{text_table(('', '', ''), self.table())}\n\n{printable(self.advice)}"

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        table = markdown_table(("stage", "", ""), self.table())
        return f"**{markdown_line(self.heading)}**\n\n{table}\n{markdown_line(self.advice)}\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: the stages, what can be done, and the passage, which unfolds."""
        parts = [html_grid(("stage", "", ""), self.table()), html_text(self.advice)]
        if self.passage is not None:
            parts.insert(0, html_source(self.heading, "", [], html_passage(self.passage.text)))
        return html_frame(parts)


@dataclass(frozen=True, slots=True)
class _Search:
    """The search that is explained."""

    base: KnowledgeBase
    ready: Prepared
    options: SearchOptions
    selection: Selection | None

    def choice(self, limit: int) -> Choice:
        """What the search decides where so many passages are wanted."""
        options, ready = replace(self.options, limit=limit), self.ready
        return chosen(
            self.base.store,
            ready.question,
            ready.vector,
            options,
            self.selection,
            others=ready.others,
            judge=ready.judge,
        )


def why(
    base: KnowledgeBase,
    question: str,
    file: str,
    *,
    text: str = "",
    answer: bool = True,
    unread: Unread = lambda _file, _root: "",
    **how: Unpack[SearchKeywords],
) -> Explanation:
    """At which stage a passage of a document was lost on the way to an answer, or to a search's results.

    `file` is the document's source, its file, or the end of either. `text` are words of the passage that is meant;
    without them it is the one that came furthest. `answer` False explains a search, with neither the answer's floor nor
    its context. `unread` tells of a file why an ingest of its folder leaves it out. `how` is as for a search. Raises
    UsageProblem where several documents are called `file`.
    """
    if not question.strip():
        raise errors.UsageProblem("The question is empty.")
    options = base.options(**((SearchKeywords(floor=ANSWER_FLOOR) if answer else SearchKeywords()) | how))
    total = sum(row.chunks for row in base.documents())
    row = named(base.store, base.documents(), file, unread)
    if isinstance(row, Absent):
        return Explanation(question, file, total, (Step(Stage.INDEX, False, row.reason),), row.advice)
    step, advice = _indexed(row)
    begun = Explanation(question, row.source, total, (step,), advice)
    return _read(base, row, begun, text, answer, options) if step.kept else begun


def _indexed(row: DocumentRow) -> tuple[Step, str]:
    if row.chunks:
        former = f"; its present version could not be read: {row.error}" if row.status != "ok" else ""
        return Step(Stage.INDEX, True, f"{row.chunks} passages are searchable{former}"), ""
    reason = f"it could not be read: {row.error}" if row.error else "it holds no text"
    return Step(Stage.INDEX, False, reason), "Mend that, then `ingest` its folder again."


def _read(
    base: KnowledgeBase, row: DocumentRow, begun: Explanation, text: str, answer: bool, options: SearchOptions
) -> Explanation:
    """Follow a document that is in the index."""
    chunks = [
        Passage(c["id"], number, c["page"], tuple(c["headings"]), c["start"], c["end"], c["text"])
        for number, c in enumerate(base.store.chunk_rows(row.id), 1)
    ]
    if text.strip():
        meant = _with_words(chunks, text)
        if meant is None:
            message = "no passage of the document has those words: they were not read, or read otherwise"
            advice = (
                "Look at what was read with KnowledgeBase.text(source); words in images need OCR (lmstudio-rag[ocr])."
            )
            return _lost(begun, Stage.READING, message, advice)
        chunks = [meant]
    ready = base.searcher.prepared(begun.question, options)
    ready = replace(ready, judge=ready.judge and _once(ready.judge))
    search = _Search(base, ready, options, base.searcher.selection(options))
    ids = [chunk.id for chunk in chunks]
    near = vector_ranks(base.store, ready.vector, ids) if ready.vector is not None else {}
    worded = word_ranks(base.store, begun.question, ids) if options.mode is not Mode.VECTOR else {}
    choice = search.choice(options.limit)
    found = choice.found
    places = {chunk.id: Rank(at, round(score, 6)) for at, (chunk, score) in enumerate(found.ranked, 1)}
    shown = {each.id: Rank(at, score) for at, (group, score) in enumerate(choice.groups, 1) for each in group}
    repeats = {copy.id: each for each, copies in choice.copies.items() for copy in copies}
    shown |= {id_: shown[each] for id_, each in repeats.items() if each in shown}
    chunk = min(chunks, key=lambda each: _order(each.id, shown, places, near, worded))
    fused = places.get(chunk.id)
    begun = replace(begun, passage=chunk, vector=near.get(chunk.id), words=worded.get(chunk.id), fused=fused)
    if not _is_selected(search.selection, row, chunk):
        return _lost(begun, Stage.FILTER, "--where or --path leaves it out", "Ask without that filter, or a wider one.")
    if fused is None:
        return _not_found(begun, search, found, chunk.id)
    begun = _kept(begun, Stage.SEARCH, f"number {fused.rank} of {len(found.ranked)} that the searches found")
    stands = repeats.get(chunk.id, chunk.id)
    if stands != chunk.id:
        begun = _kept(begun, Stage.COPY, "another passage says the same and stands for both: `also in` names this one")
    at = _group_of(stands, choice.groups)
    if options.rerank is not Rerank.OFF or options.diversity:
        begun = _ordered_anew(begun, search, choice, stands)
        if begun.lost_at:
            return begun
    if at is None:
        score = next((score for each, score in choice.ranked if each.id == stands), places[stands].score)
        return _left_out(begun, search, choice.ranked[0][1], stands, score)
    begun = _kept(begun, Stage.FLOOR, _above(options))
    begun = _kept(begun, Stage.LIMIT, _standing(stands, at, choice.groups))
    begun = replace(begun, shown_as=at + 1, advice="Nothing was lost.")
    return _packed(begun, search, choice, chunk) if answer else begun


def _order(id_: str, *rankings: Mapping[str, Rank]) -> tuple[float, ...]:
    """What came furthest comes first: by its place among the passages, in the fusion, else the better in a search."""
    shown, fused, *searches = (ranking[id_].rank if id_ in ranking else float("inf") for ranking in rankings)
    return shown, fused, min(searches)


def _with_words(chunks: Sequence[Passage], text: str) -> Passage | None:
    """The chunk that has a text in it, or most of its words; None where none has enough of them."""
    wanted = text.lower().split()
    whole = " ".join(wanted)
    for chunk in chunks:
        if whole in " ".join(chunk.text.lower().split()):
            return chunk
    shares = [len(set(wanted) & set(chunk.text.lower().split())) / len(set(wanted)) for chunk in chunks]
    best = int(np.argmax(shares))
    return chunks[best] if shares[best] >= _SAME_WORDS else None


def _is_selected(selection: Selection | None, row: DocumentRow, chunk: Passage) -> bool:
    if selection is None:
        return True
    if row.id not in selection.documents:
        return False
    left = selection.documents[row.id]
    return left is None or chunk_test(left)(chunk.headings, chunk.page)


def _lost(begun: Explanation, stage: Stage, message: str, advice: str) -> Explanation:
    return replace(begun, steps=(*begun.steps, Step(stage, False, message)), advice=advice)


def _kept(begun: Explanation, stage: Stage, message: str) -> Explanation:
    return replace(begun, steps=(*begun.steps, Step(stage, True, message)))


def _not_found(begun: Explanation, search: _Search, found: Candidates, id_: str) -> Explanation:
    asked = search.options.mode
    pools = [
        f"{what} took its best {len(pool)}"
        for what, pool, mode in (("by vector", found.near, Mode.WORDS), ("by words", found.worded, Mode.VECTOR))
        if asked is not mode
    ]
    message = f"neither search found it near enough: {', '.join(pools)}"
    if len(pools) == 1:
        message = f"it is not among the best: {pools[0]}"
    advice = "Ask with words that stand in the passage"
    if begun.words is None and asked is not Mode.VECTOR:
        advice += "; now none of the question's does"
    if enough := _enough(search, id_):
        advice = f"-n {enough} lets it in. {advice}"
    return _lost(begun, Stage.SEARCH, message, f"{advice}.")


def _once(judge: Judge) -> Judge:
    """A judge that is asked for each chunk once, however many limits are tried: its marks may take seconds."""
    marks: dict[str, float | None] = {}

    def remembered(found: Sequence[Found]) -> list[float | None]:
        new = [chunk for chunk in found if chunk.id not in marks]
        if new:
            marks.update(zip((chunk.id for chunk in new), judge(new), strict=True))
        return [marks[chunk.id] for chunk in found]

    return remembered


def _ordered_anew(begun: Explanation, search: _Search, choice: Choice, id_: str) -> Explanation:
    """What a judge and the wish for diversity did to a chunk's place."""
    options = search.options
    who = " and ".join(
        name
        for name, takes_part in (
            (f"--rerank {options.rerank}", options.rerank is not Rerank.OFF),
            (f"--diversity {options.diversity:g}", options.diversity > 0),
        )
        if takes_part
    )
    before, after = (
        next((at for at, (chunk, _) in enumerate(ranked, 1) if chunk.id == id_), None)
        for ranked in (choice.unlike, choice.ranked)
    )
    if before is None:
        return begun  # it came too far behind to be looked at once more
    message = f"{who} puts it from place {before} to {after}" if after else f"{who} leaves it out, from place {before}"
    was_in = _group_of(id_, joined(choice.unlike, options.limit, options.floor)) is not None
    if was_in and _group_of(id_, choice.groups) is None:
        return _lost(begun, Stage.RERANK, message, f"Ask without {who}, or for more passages (-n).")
    return _kept(begun, Stage.RERANK, message)


def _left_out(begun: Explanation, search: _Search, best: float, id_: str, score: float) -> Explanation:
    """What a search found and no passage was made of."""
    options = search.options
    enough = _enough(search, id_)
    if enough is None and score < options.floor * best:
        message = f"its score {score:.2f} is less than {options.floor:g} times the best one, {best:.2f}"
        advice = "`rag search` has no floor and may show it. Ask more narrowly, with words that stand in it."
        return _lost(begun, Stage.FLOOR, message, advice)
    message = f"{options.limit} passages were wanted, and others are better"
    advice = f"-n {enough} lets it in." if enough else "Ask more narrowly, with words that stand in it."
    return _lost(_kept(begun, Stage.FLOOR, _above(options)), Stage.LIMIT, message, advice)


def _enough(search: _Search, id_: str) -> int | None:
    """A number of passages that lets a chunk in, at most about twice the least; None where there is none."""
    more = 1
    while search.options.limit + more <= _MOST_PASSAGES:
        limit = search.options.limit + more
        if _group_of(id_, search.choice(limit).groups) is not None:
            return limit
        more *= 2
    return None


def _above(options: SearchOptions) -> str:
    return f"it scores more than {options.floor:g} times what the best one does" if options.floor else "none is set"


def _group_of(id_: str, groups: Sequence[Group]) -> int | None:
    return next((at for at, (group, _) in enumerate(groups) if any(member.id == id_ for member in group)), None)


def _standing(id_: str, at: int, groups: Sequence[Group]) -> str:
    others = [str(member.ordinal + 1) for member in groups[at][0] if member.id != id_]
    beside = f", joined with the document's passage {' and '.join(others)} beside it" if others else ""
    return f"it is number {at + 1} of {len(groups)} passages{beside}"


def _packed(begun: Explanation, search: _Search, choice: Choice, chunk: Passage) -> Explanation:
    """Whether the passage fits into the chat model's context."""
    base, question = search.base, search.ready.question
    passages = hits(base.store, choice.groups, choice.copies, base.store.outlines())
    try:
        room = room_for(question, passages, base.chat_model, answer_tokens=base.settings.answer_tokens)
    except errors.ServerError as exc:
        return _kept(begun, Stage.CONTEXT, f"not looked at: {exc}")
    shown = packed(question, passages, room)
    wanted = passages[(begun.shown_as or 1) - 1]
    there = next((hit for hit in shown if (hit.document_id, hit.start) == (wanted.document_id, wanted.start)), None)
    if there and there.end >= chunk.end:
        return _kept(begun, Stage.CONTEXT, f"{len(shown)} of {len(passages)} passages fit into {room} tokens")
    cut = "is cut off by it" if there and there.end > chunk.start else "comes behind it"
    message = f"the chat model's context has room for {room} tokens, and the passage {cut}"
    advice = "Load the chat model with a larger context (RAG_CHAT_CONTEXT), or ask for fewer passages."
    return _lost(replace(begun, shown_as=None), Stage.CONTEXT, message, advice)
