"""The values that pass between the rooms: frozen, and each able to say where it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rag.display import as_text, one_line, printable
from rag.display_html import html_frame, html_note, html_passage, html_source, html_text
from rag.display_markdown import markdown_line, markdown_source, markdown_text

_PLACES_SHOWN = 3

Box = tuple[float, float, float, float]  # left, top, right, bottom on a page, in points from its top left corner


def enclosing(boxes: Sequence[Box | None]) -> Box | None:
    """The smallest box that holds all of them, None where there are none or one is not known."""
    known = [box for box in boxes if box is not None]
    if not known or len(known) < len(boxes):
        return None
    lefts, tops, rights, bottoms = zip(*known, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def location(source: str, page: int | None) -> str:
    """The same string in terminal, JSON and logs: `manual.pdf p. 12`."""
    return f"{source} p. {page}" if page else source


class Kind(StrEnum):
    """What a piece of a document is, as far as its format says so."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    ROW = "row"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Piece:
    """A block of a document's text that should not be cut without need.

    The piece is `document.text[start:end]`, in Unicode code points. `page` counts from 1 and is a page, slide or
    sheet; None where the format has none. `headings` is the path of headings above it, outermost first, and for a
    heading includes itself. `table_header` is the header row of the table that a ROW belongs to. `box` is where on
    the page it stands, None where the format does not say.
    """

    start: int
    end: int
    kind: Kind = Kind.PARAGRAPH
    page: int | None = None
    headings: tuple[str, ...] = ()
    table_header: str = ""
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed source: the text that every offset refers to, and its pieces in reading order.

    Pieces are in ascending order, do not overlap, and together hold all text except white space and a Markdown file's
    front matter. `title` comes from the content, "" where it has none: a file's name is no part of its content, so that
    moving a file changes nothing of what is embedded. `metadata` are plain names and values, to filter by.
    """

    source: str
    text: str
    title: str
    pieces: tuple[Piece, ...]
    parser: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a document, `document.text[start:end]`, that is embedded and found as one.

    `context` is what is embedded and searched in front of the text: title, heading path and table header. `box` holds
    all of its pieces on `page`.
    """

    ordinal: int
    text: str
    start: int
    end: int
    page: int | None
    headings: tuple[str, ...]
    context: str
    box: Box | None = None

    @property
    def searched(self) -> str:
        """The text as it is embedded (after the model's prefix) and as full-text search sees it."""
        return f"{self.context}\n\n{self.text}" if self.context else self.text


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands: `page` counts from 1, `start` and `end` are offsets into the document's text."""

    source: str
    page: int | None
    start: int
    end: int

    @property
    def location(self) -> str:
        """The same string in terminal, JSON and logs: `manual.pdf p. 12`."""
        return location(self.source, self.page)


def also_in(places: Sequence[Place]) -> str:
    """Where a passage stands again, on one line: `also in: manual-2024.pdf p. 3, faq.html and 4 more`."""
    locations = list(dict.fromkeys(one_line(place.location) for place in places))
    more = f" and {len(locations) - _PLACES_SHOWN} more" if len(locations) > _PLACES_SHOWN else ""
    return f"also in: {', '.join(locations[:_PLACES_SHOWN])}{more}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A contiguous slice of a document that a search found, best first in a list of hits.

    `score` lies between 0 and 1 and compares hits of one search only. `similarity` is the cosine between question
    and passage, None where no vector search took place. `also` is where the passage, or a good part of it, stands again
    in the same words. `box` is where on `page` it stands, None where the format does not say; `metadata` is the
    document's.
    """

    source: str
    document_id: str
    title: str
    page: int | None
    headings: tuple[str, ...]
    start: int
    end: int
    text: str
    score: float
    similarity: float | None = None
    also: tuple[Place, ...] = ()
    box: Box | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """The same string in terminal, JSON and logs: `manual.pdf p. 12`."""
        return location(self.source, self.page)

    def to_dict(self) -> dict[str, Any]:
        """The shape of a hit in `rag search --json` and `rag ask --json`, which scripts may rely on."""
        values = asdict(self)
        names = ("source", "page", "headings", "start", "end", "text", "score", "similarity", "also", "box", "metadata")
        return {name: values[name] for name in names}

    def __str__(self) -> str:
        return f"{one_line(self.location)}  {self.score:.2f}\n   {one_line(self.text)}"

    def to_markdown(self, number: int = 1) -> str:
        """An item of a numbered list, with the passage below."""
        notes = [*_notes(self.headings, None, self.also), f"score {self.score:.2f}"]
        return markdown_source(number, self.location, notes, self.text)

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """What a notebook shows: the passage below its place."""
        return html_frame([self.unfolding(unfolded=True)])

    def unfolding(self, number: str = "", *, unfolded: bool = False) -> str:
        """What a notebook shows: a place that unfolds to its passage."""
        notes = [*_notes(self.headings, self.box, self.also), f"score {self.score:.2f}"]
        return html_source(f"{number}{self.location}", "", notes, html_passage(self.text), unfolded=unfolded)


class Hits(list[Hit]):
    """What a search found, best first: a list that shows itself."""

    def __repr__(self) -> str:
        return "\n".join(f"{number}. {hit}" for number, hit in enumerate(self, 1)) or "nothing found"

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return "\n".join(hit.to_markdown(number) for number, hit in enumerate(self, 1)) or "nothing found\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: places that unfold to their passages, the best one unfolded."""
        shown = [hit.unfolding(f"{number}. ", unfolded=number == 1) for number, hit in enumerate(self, 1)]
        return html_frame(shown or [html_note("nothing found")])


BESIDE = "further detail"
STALE = "stale: its file changed or is gone"
IMAGE_DESCRIPTION = "Image description"  # the last heading above what a model wrote of a picture
_DESCRIBED = "in a model's description of an image"


class CitationStatus(StrEnum):
    """What the check of a citation found."""

    VERIFIED = "verified"
    REPAIRED = "repaired"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Citation:
    """The evidence for one or more sentences of an answer: `quote` is the document's text from `start` to `end`.

    `n` is the number in the answer's `[n]` markers, from 1. `stale` is True where the file changed or vanished after
    it was indexed, None where that cannot be known. `beside` is True where the quote says less of the question than
    another sentence of the passages: it supports what was said, but is hardly the place that answers the question.
    `also` is where the same words stand again, `box` where on `page` the passage stands that holds them, None where the
    format does not say.
    """

    n: int
    source: str
    page: int | None
    headings: tuple[str, ...]
    start: int
    end: int
    quote: str
    status: CitationStatus
    stale: bool | None = None
    also: tuple[Place, ...] = ()
    box: Box | None = None
    beside: bool = False

    @property
    def location(self) -> str:
        """The same string in terminal, JSON and logs: `manual.pdf p. 12`."""
        return location(self.source, self.page)

    @property
    def standing(self) -> str:
        """Its status, and what else is to be known of it: `verified, stale: its file changed or is gone`."""
        return ", ".join((self.status.value, *self.caveats))

    @property
    def caveats(self) -> tuple[str, ...]:
        """That it is hardly what was asked, quotes no words of the document's author, or may stand there no more."""
        described = (_DESCRIBED,) if self.headings[-1:] == (IMAGE_DESCRIPTION,) else ()
        return (*((BESIDE,) if self.beside else ()), *described, *((STALE,) if self.stale else ()))

    def to_dict(self) -> dict[str, Any]:
        """The shape of a citation in `rag ask --json`, which scripts may rely on."""
        values = asdict(self)
        names = ("n", "source", "page", "headings", "start", "end", "quote", "status", "stale", "beside", "also", "box")
        return {name: values[name] for name in names}

    def unfolding(self, hits: Sequence[Hit]) -> str:
        """What a notebook shows: a source that unfolds to the quote in the passage that it was found in."""
        return html_source(
            f"[{self.n}] {self.location}",
            self.standing,
            _notes(self.headings, self.box, self.also),
            self._in_surroundings(hits),
        )

    def to_markdown(self) -> str:
        """An item of a numbered list, with the quote below."""
        return markdown_source(
            self.n, f"{self.location} ({self.standing})", _notes(self.headings, None, self.also), self.quote
        )

    def _in_surroundings(self, hits: Sequence[Hit]) -> str:
        for hit in hits:
            start, end = self.start - hit.start, self.end - hit.start
            if hit.source == self.source and 0 <= start < end and hit.text[start:end] == self.quote:
                return html_passage(hit.text, start, end)
        return html_passage(self.quote, 0, len(self.quote))


@dataclass(frozen=True, slots=True)
class Step:
    """What a model that searches by itself did: `action` is `search` or `read`, `words` what it looked for.

    `within` is the document that it read, or the filter that it searched with; `found` counts the passages that were
    new to it. `failed` says why nothing came of it, "" where something did.
    """

    action: str
    words: str
    within: str = ""
    found: int = 0
    failed: str = ""

    def __str__(self) -> str:
        done = "read" if self.action == "read" else "searched"
        where = f" in {self.within}" if self.within else ""
        came = self.failed or f"{self.found} new passage{'' if self.found == 1 else 's'}"
        return printable(f"{done}: {one_line(self.words, 100)}{where} ({came})")


class Cut(StrEnum):
    """Why an answer is not whole."""

    LENGTH = "length"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, what supports it, and what it cost.

    `text` carries `[n]` markers that refer to `citations`. `abstained` is True where the documents do not say, or
    the model gave no answer; `text` then says so, `reason` why, and there are no citations. `timings` are in seconds,
    `usage` in the server's tokens. `cut` is why the model did not end its answer, None where it did; `left_out` counts
    the sentences that a strict answer lacks. `searched` is what was searched for, "" where it was the question: in a
    conversation, the question as it is understood without it. `score` is how likely the documents answer the question,
    0 to 1, whether or not the answer abstains, and `signals` what it is made of (rag.confidence); None where nothing
    was searched for. `steps` are the searches of a model that searched by itself.
    """

    question: str
    text: str
    abstained: bool
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    model: str
    reason: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    cut: Cut | None = None
    left_out: int = 0
    searched: str = ""
    score: float | None = None
    signals: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @property
    def notice(self) -> str:
        """What the text does not tell: that it was cut, or what was left out of it; else ""."""
        told = []
        if self.cut is Cut.LENGTH:
            told.append("The answer was cut at its limit of tokens; RAG_ANSWER_TOKENS allows more.")
        if self.cut is Cut.INTERRUPTED:
            told.append("Interrupted: this is what had been said.")
        if self.left_out:
            told.append(f"Left out, as no passage supports it: {self.left_out} of the sentences.")
        return " ".join(told)

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag ask --json`, which scripts may rely on."""
        return {
            "question": self.question,
            "searched": self.searched or self.question,
            "answer": self.text,
            "abstained": self.abstained,
            "reason": self.reason,
            "score": None if self.score is None else round(self.score, 4),
            "signals": dict(self.signals),
            "cut": self.cut.value if self.cut else None,
            "left_out": self.left_out,
            **origin(self.citations, self.hits, self.model, self.usage, self.timings, self.steps),
        }

    def to_markdown(self) -> str:
        """The answer and a numbered list of its sources with their quotes; the documents' words show as words."""
        parts = [markdown_text(self.text)]
        parts += [f"*{markdown_line(told)}*" for told in (self.notice, self.reason) if told]
        if self.citations:
            parts.append("\n".join(citation.to_markdown() for citation in self.citations))
        return "\n\n".join(parts).rstrip() + "\n"

    def __str__(self) -> str:
        lines = [self.text, *([f"({self.notice})"] if self.notice else [])]
        if self.citations:
            lines.append("")
            lines += [f"[{c.n}] {c.location} ({c.standing}): “{c.quote}”" for c in self.citations]
        return printable("\n".join(lines))

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, and its sources, which unfold to the quote in its surroundings."""
        parts = [html_text(self.text), *(html_note(told) for told in (self.notice, self.reason) if told)]
        if self.abstained and self.hits:
            parts += [html_note("Nearest passages:"), *(hit.unfolding() for hit in self.hits)]
        parts += [citation.unfolding(self.hits) for citation in self.citations]
        return html_frame(parts)


def origin(
    citations: Sequence[Citation],
    hits: Sequence[Hit],
    model: str,
    usage: Mapping[str, int],
    timings: Mapping[str, float],
    steps: Sequence[Step],
) -> dict[str, Any]:
    """What `to_dict` tells of an answer of any kind: what it is made from, and what it cost."""
    return {
        "citations": [citation.to_dict() for citation in citations],
        "hits": [hit.to_dict() for hit in hits],
        "model": model,
        "usage": dict(usage),
        "timings": {name: round(seconds, 4) for name, seconds in timings.items()},
        "steps": [asdict(step) for step in steps],
    }


def _notes(headings: Sequence[str], box: Box | None, also: Sequence[Place]) -> list[str]:
    """What is known of a place beyond its page, a line each."""
    notes = [" > ".join(headings)] if headings else []
    if box:
        left, top, right, bottom = box
        notes.append(f"on the page from {left:.0f}, {top:.0f} to {right:.0f}, {bottom:.0f} points from its top left")
    return [*notes, also_in(also)] if also else notes
