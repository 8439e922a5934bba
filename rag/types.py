"""The values that pass between the rooms: frozen, and each able to say where it comes from."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

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


class CitationStatus(StrEnum):
    """What the check of a citation found."""

    VERIFIED = "verified"
    REPAIRED = "repaired"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Citation:
    """The evidence for one or more sentences of an answer: `quote` is the document's text from `start` to `end`.

    `n` is the number in the answer's `[n]` markers, from 1. `stale` is True where the file changed or vanished after
    it was indexed, None where that cannot be known. `also` is where the same words stand again, `box` where on `page`
    the passage stands that holds them, None where the format does not say.
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

    @property
    def location(self) -> str:
        """The same string in terminal, JSON and logs: `manual.pdf p. 12`."""
        return location(self.source, self.page)


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
    the sentences that a strict answer lacks.
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
            "answer": self.text,
            "abstained": self.abstained,
            "reason": self.reason,
            "cut": self.cut.value if self.cut else None,
            "left_out": self.left_out,
            "citations": [
                {
                    "n": c.n,
                    "source": c.source,
                    "page": c.page,
                    "start": c.start,
                    "end": c.end,
                    "quote": c.quote,
                    "status": c.status.value,
                    "stale": c.stale,
                    "also": [asdict(place) for place in c.also],
                    "box": c.box,
                }
                for c in self.citations
            ],
            "model": self.model,
            "usage": self.usage,
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
        }

    def __str__(self) -> str:
        lines = [self.text, *([f"({self.notice})"] if self.notice else [])]
        if self.citations:
            lines.append("")
            lines += [f"[{c.n}] {c.location} ({c.status.value}): “{c.quote}”" for c in self.citations]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the answer and its sources, with the documents' words escaped."""
        lines = [_markdown(self.text), "", *([f"*{_markdown(self.notice)}*", ""] if self.notice else [])]
        for c in self.citations:
            stale = ", changed since it was indexed" if c.stale else ""
            lines.append(f"- \\[{c.n}\\] **{_markdown(c.location)}** ({c.status.value}{stale}): “{_markdown(c.quote)}”")
        if self.abstained and self.reason:
            lines.append(f"*{_markdown(self.reason)}*")
        return "\n".join(lines)


def _markdown(text: str) -> str:
    """Text as Markdown that shows just this text, on one line: documents may hold HTML, links and scripts."""
    escaped = html.escape(" ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", escaped)
