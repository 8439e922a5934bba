"""A summary as a value: its checked sentences, and which parts of the documents they cite."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rag.display import as_text, one_line
from rag.display_html import html_frame, html_note
from rag.display_markdown import markdown_line
from rag.types import Answer, Citation, CitationStatus, location

_PARTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Part:
    """What was read at once: `document.text[start:end]`, from `page` and under `headings` where it begins.

    `sentences` is how many the model wrote of it, None where it was not read; `supported` counts those that it
    supports. `cited` says whether the summary cites it.
    """

    source: str
    page: int | None
    headings: tuple[str, ...]
    start: int
    end: int
    sentences: int | None = None
    supported: int = 0
    cited: bool = False

    @property
    def name(self) -> str:
        """Where it begins: `manual.pdf p. 12, Safety > Gloves`."""
        under = f", {' > '.join(self.headings)}" if self.headings else ""
        return one_line(location(self.source, self.page) + under, 100)

    def holds(self, citation: Citation) -> bool:
        """Whether the citation's quote stands in it."""
        return citation.source == self.source and self.start <= citation.start < self.end


@dataclass(frozen=True, slots=True)
class Summary:
    """Documents in a few sentences.

    `answer` has them with their citations, as an answer has; its `question` says what was summarised, its `hits` are
    the passages that are cited. `sentences` and `supported` count what the summary says, and what of it is supported.
    """

    answer: Answer
    parts: tuple[Part, ...]
    sentences: int
    supported: int

    @property
    def text(self) -> str:
        """The sentences, with `[n]` markers that refer to `citations`."""
        return self.answer.text

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The evidence: exact slices of the documents."""
        return self.answer.citations

    @property
    def coverage(self) -> float:
        """The share of the parts that the summary cites, 0 to 1."""
        return sum(part.cited for part in self.parts) / len(self.parts) if self.parts else 0.0

    @property
    def told_coverage(self) -> str:
        """Which parts are cited, and which are not, on one line."""
        cited = sum(part.cited for part in self.parts)
        told = [f"{self.supported} of {self.sentences} sentences supported; {cited} of {len(self.parts)} parts cited"]
        told += _listed("not cited", [part for part in self.parts if part.sentences is not None and not part.cited])
        told += _listed("not read", [part for part in self.parts if part.sentences is None])
        return "; ".join(told) + "."

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag summarize --json`, which scripts may rely on: that of an answer, and the parts."""
        values = self.answer.to_dict()
        return {
            "summary_of": values.pop("question"),
            "summary": values.pop("answer"),
            **values,
            "sentences": self.sentences,
            "supported": self.supported,
            "coverage": round(self.coverage, 4),
            "parts": [asdict(part) for part in self.parts],
        }

    def to_markdown(self) -> str:
        """The summary and a numbered list of its sources with their quotes."""
        return f"{self.answer.to_markdown()}\n*{markdown_line(self.told_coverage)}*\n"

    def __str__(self) -> str:
        return f"{self.answer}\n\n({self.told_coverage})"

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """What a notebook shows: the summary, and its sources, which unfold to the quote in its surroundings."""
        return html_frame([self.answer._repr_html_(), html_note(self.told_coverage)])


def summary_of(answer: Answer, parts: Sequence[Part], sentences: int, supported: int) -> Summary:
    """A summary that knows which of its parts it cites: as evidence, not as the nearest words to what has none."""
    evidence = [citation for citation in answer.citations if citation.status is not CitationStatus.UNVERIFIED]
    cited = tuple(replace(part, cited=any(map(part.holds, evidence))) for part in parts)
    return Summary(answer, cited, sentences, supported)


def _listed(what: str, parts: Sequence[Part]) -> list[str]:
    if not parts:
        return []
    more = f" and {len(parts) - _PARTS_SHOWN} more" if len(parts) > _PARTS_SHOWN else ""
    return [f"{what}: {'; '.join(part.name for part in parts[:_PARTS_SHOWN])}{more}"]
